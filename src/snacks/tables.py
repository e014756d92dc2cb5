"""The command side's three tables in MySQL or MariaDB: each command is one transaction.

All commands on an order lock its item rows first, so they pass one after the other. The isolation is
READ COMMITTED: a statement after the lock sees what the one before committed, and looking for rows that
are not there locks no gaps, so that orders never wait for other orders.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import asyncmy
import msgspec
import structlog
from asyncmy import errors

from snacks.config import Settings
from snacks.domain.commands import OrderFacts, Write, decide
from snacks.domain.order import ROWS, ItemDetail, Payment, Row
from snacks.domain.requests import Command, CreateOrder, Refused
from snacks.domain.values import ItemStatus

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 3.0
PING_TIMEOUT = 2.0
DEADLINE = 10.0
"""Seconds that a command may take: waiting for a connection, for locks, and all its attempts."""
LOCK_WAIT = 3
"""Seconds that one statement waits for a lock; then the command is tried again."""
ATTEMPTS = 20
RECYCLE = 600
"""Seconds after which an idle connection is replaced, below every usual `wait_timeout`."""

MIGRATION_LOCK = "snacks.schema_version"
MIGRATION_WAIT = 30
COLLATIONS = ("utf8mb4_0900_bin", "utf8mb4_nopad_bin")
"""Byte for byte and without padding, in MySQL and in MariaDB. (utf8mb4_bin pads with spaces.)"""

SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
AGAIN = frozenset({1213, 1205, 1062, 1053, 1927, 2006, 2013, 4031})
"""Deadlock, lock wait, a row that another command inserted first; and a connection that died: shutdown,
killed (MariaDB), gone, lost, idle too long. From the start, the command is decided anew."""


class Unavailable(Exception):  # noqa: N818  (a state, named like one)
    """MySQL is away, overloaded or too slow. Whether a command was written is then not known."""


class _Again(Exception):  # noqa: N818  (a state, named like one)
    """Nothing was written; the same command may succeed if it is tried again."""


class Tables:
    """The tables of one database; owns the connections. Before `open` all its methods raise Unavailable."""

    def __init__(self, settings: Settings) -> None:
        host, port = settings.mysql
        self._size = settings.mysql_pool
        self._turns = asyncio.Semaphore(self._size)  # first come, first served, as asyncmy's pool is not
        self._arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "user": settings.mysql_user,
            "password": settings.mysql_password,
            "database": settings.mysql_database,
            "connect_timeout": CONNECT_TIMEOUT,
            "autocommit": True,  # commands begin their own; a question needs none
            # asyncmy sends "SET sql_mode=" and this text: one statement sets both. The mode is ours
            # whatever the server's is: its NO_BACKSLASH_ESCAPES or ANSI_QUOTES never matter.
            "sql_mode": f"'{SQL_MODE}', SESSION innodb_lock_wait_timeout={LOCK_WAIT}",
            "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        }
        self._pool: Any = None

    async def open(self) -> None:
        """Apply the schema, then let commands in. May be called again after it failed.

        Raises:
            Unavailable: MySQL is away, or another process is applying the schema.
        """
        async with _available(MIGRATION_WAIT + DEADLINE):
            connection = await asyncmy.connect(**self._arguments)
            try:
                await _migrate(connection)
            finally:
                connection.close()
        if self._pool is None:  # minsize 0: connections are made when needed, a restart of MySQL is no event
            self._pool = await asyncmy.create_pool(0, self._size, pool_recycle=RECYCLE, **self._arguments)

    async def close(self) -> None:
        """Close every connection; commands under way end first, or are cut after the deadline."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
            try:
                async with asyncio.timeout(DEADLINE):
                    await pool.wait_closed()
            except TimeoutError:
                pool.terminate()

    async def execute(self, command: Command) -> None:
        """Decide and write the command in one transaction. The order id must be set.

        Raises:
            Refused: the order does not allow it; nothing is written.
            Unavailable: see there.
        """
        async with _available(DEADLINE):
            for attempt in range(ATTEMPTS):
                try:
                    async with self._connection() as connection:
                        await _transaction(connection, command)
                except _Again:
                    await asyncio.sleep(random.uniform(0, min(0.25, 0.005 * 2**attempt)))  # noqa: S311  (spreads)
                else:
                    return
            raise Unavailable(f"not written in {ATTEMPTS} attempts")

    async def facts(self, order_id: str) -> OrderFacts:
        """What the tables say of the order now, without waiting for a command under way."""
        async with _available(DEADLINE), self._connection() as connection, connection.cursor() as cursor:
            return await _facts(cursor, order_id, lock=False)

    async def counts(self) -> dict[str, int]:
        """Rows per table."""
        async with _available(DEADLINE), self._connection() as connection, connection.cursor() as cursor:
            counted = ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in ROWS)  # noqa: S608  (ours)
            await cursor.execute(f"SELECT {counted}")
            return dict(zip(ROWS, await cursor.fetchone(), strict=True))

    async def ping(self) -> None:
        """Raises Unavailable if MySQL does not answer within two seconds."""
        async with _available(PING_TIMEOUT), self._connection() as connection, connection.cursor() as cursor:
            await cursor.execute("SELECT 1")

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        """A connection of the pool. It goes back only if its state is known: rolled back, or at rest."""
        if self._pool is None:
            raise Unavailable("the tables are not open yet")
        async with self._turns, self._pool.acquire() as connection:
            try:
                yield connection
            except (Refused, _Again):
                try:
                    await connection.rollback()  # asyncmy closes the connection if this is cancelled
                except errors.Error:
                    connection.close()
                raise
            except BaseException:  # cancelled, lost, a defect: nobody knows what the server still sends
                connection.close()
                raise


@asynccontextmanager
async def _available(deadline: float) -> AsyncGenerator[None]:
    """Turns whatever says that MySQL cannot be used, and the deadline, into Unavailable."""
    try:
        async with asyncio.timeout(deadline):
            yield
    except TimeoutError:
        reason = f"no answer within {deadline:g} s"
    except (errors.OperationalError, errors.InternalError, errors.InterfaceError, OSError) as error:
        reason = str(error)
    else:
        return
    log.warning("mysql cannot be used", reason=reason)
    raise Unavailable(reason)


# ── one command ──────────────────────────────────────────────────────────────────────────────────


async def _transaction(connection: Any, command: Command) -> None:
    order_id = command.order_id or ""
    try:
        await connection.begin()
        async with connection.cursor() as cursor:
            facts = await _facts(cursor, order_id, lock=True)
            await _write(cursor, order_id, decide(command, facts), facts)
            # Two new orders with one id and different items collide on no key: look again, locking.
            # One of the two then waits for the other, or both do and one is told to start again.
            if isinstance(command, CreateOrder):
                facts = await _facts(cursor, order_id, lock=True)
                if len(facts.items) != len(command.items):
                    raise _Again
    except errors.MySQLError as error:
        if isinstance(error, errors.InternalError) or error.args[0] in AGAIN:
            raise _Again from error
        raise
    # Not above: if the answer to COMMIT is lost, it is not known whether the command is written, and
    # trying again could answer "already exists" to the one who created the order.
    await connection.commit()


async def _facts(cursor: Any, order_id: str, *, lock: bool) -> OrderFacts:
    await cursor.execute(FACTS + " FOR UPDATE" * lock, (order_id,))
    found = await cursor.fetchall()
    rows = {
        item_id: msgspec.convert(dict(zip(_columns(ItemDetail), row, strict=True)), ItemDetail)
        for item_id, *row, _, _ in found
    }
    return (
        OrderFacts(rows, *(bool(flag) for flag in found[0][-2:])) if found else OrderFacts({}, False, False)
    )


async def _write(cursor: Any, order_id: str, write: Write, facts: OrderFacts) -> None:
    if isinstance(write, ItemStatus):
        await cursor.execute(
            "UPDATE item_detail SET item_status = %s WHERE order_id = %s", (write.value, order_id)
        )
    elif isinstance(write, dict):
        # In the order of the key, as locking reads walk: one that meets the first row waits for all.
        rows = [(order_id, item_id, *_values(row)) for item_id, row in sorted(write.items())]
        await _insert(cursor, "item_detail", ("order_id", "item_id", *_columns(ItemDetail)), rows)
    else:
        is_payment = isinstance(write, Payment)
        table = "payment" if is_payment else "shipping_location"
        columns = _columns(type(write))
        if facts.has_payment if is_payment else facts.has_shipping_location:
            assignments = ", ".join(f"{column} = %s" for column in columns)
            query = f"UPDATE {table} SET {assignments} WHERE order_id = %s"  # noqa: S608  (names of ours)
            await cursor.execute(query, (*_values(write), order_id))
        else:
            await _insert(cursor, table, ("order_id", *columns), [(order_id, *_values(write))])


async def _insert(cursor: Any, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    places = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * len(rows))
    query = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {places}"  # noqa: S608  (names of ours)
    await cursor.execute(query, [value for row in rows for value in row])


def _columns(kind: type[Row]) -> tuple[str, ...]:
    return kind.__struct_fields__


# One statement instead of three. It takes the item rows first, as every command does, and then, locking, the
# latest of the others. An order without items is none, whatever else is there.
FACTS = (
    f"SELECT i.item_id, {', '.join(f'i.{column}' for column in _columns(ItemDetail))},"  # noqa: S608  (names of ours)
    " s.order_id IS NOT NULL, p.order_id IS NOT NULL FROM item_detail i"
    " LEFT JOIN shipping_location s ON s.order_id = i.order_id"
    " LEFT JOIN payment p ON p.order_id = i.order_id WHERE i.order_id = %s"
)


def _values(row: Row) -> tuple[Any, ...]:
    return tuple(
        value.value if isinstance(value, StrEnum) else value for value in msgspec.structs.astuple(row)
    )


# ── the schema ───────────────────────────────────────────────────────────────────────────────────


def migrations() -> list[tuple[int, list[str]]]:
    """Version and statements of each part of `tables.sql`, in order; `{collation}` is still to be put in."""
    _, *parts = re.split(r"(?m)^-- version (\d+)$", Path(__file__).with_suffix(".sql").read_text("utf-8"))
    return [
        (int(version), [statement.strip() for statement in text.split(";") if statement.strip()])
        for version, text in zip(parts[::2], parts[1::2], strict=True)
    ]


async def _migrate(connection: Any) -> None:
    """Apply the versions that the database has not had. Only one process at a time does.

    MySQL commits after each DDL statement, so a version may be cut in its middle: its statements are
    such (`IF NOT EXISTS`) that they can be applied again.
    """
    async with connection.cursor() as cursor:
        await cursor.execute("SET sql_notes = 0")  # "already exists" is no news
        # The lock ends with the connection.
        await cursor.execute("SELECT GET_LOCK(%s, %s)", (MIGRATION_LOCK, MIGRATION_WAIT))
        if await cursor.fetchone() != (1,):
            raise Unavailable("another process is applying the schema")
        await cursor.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY KEY,"
            " applied TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        await cursor.execute("SELECT version FROM schema_version")
        done = {version for (version,) in await cursor.fetchall()}
        await cursor.execute(
            "SELECT collation_name FROM information_schema.collations WHERE collation_name IN (%s, %s)",
            COLLATIONS,
        )
        found = await cursor.fetchone()
        if found is None:
            raise Unavailable(f"the database is too old: it has no {' or '.join(COLLATIONS)}")
        (collation,) = found
        for version, statements in migrations():
            if version in done:
                continue
            for statement in statements:
                await cursor.execute(statement.replace("{collation}", collation))
            await cursor.execute("INSERT INTO schema_version (version) VALUES (%s)", (version,))
            log.info("schema applied", version=version)
