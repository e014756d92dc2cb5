"""The truth: an order's rows in MySQL, from one consistent snapshot, in the order of their ids."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncmy
from asyncmy import errors
from msgspec import Struct

from snacks.cdc import Undecodable
from snacks.cdc.columns import COLUMNS, KEYS
from snacks.cdc.quick import file_number
from snacks.config import Settings
from snacks.domain.order import ROWS, Position, Row
from snacks.repair.errors import RepairError

CONNECT_TIMEOUT = 5.0
QUERY_TIMEOUT = 120.0
"""Seconds that one question may take: the longest counts the rows of a table."""

Key = tuple[str, str]
"""A row of an order: the table, and the item id (empty but for items)."""


class Rows(Struct):
    """An order's rows. `problem`: one of them cannot be read, and why; then the order is left alone."""

    rows: dict[Key, Row]
    problem: str = ""


class Moment(Struct, frozen=True):
    """When a snapshot was taken: milliseconds since 1970 UTC, and a place in the binlog not after it.

    `position` is None where the user may not ask for it (MySQL's REPLICATION CLIENT).
    """

    at: int
    position: Position | None


class Snapshot:
    """MySQL as it was at one moment. Made by `snapshot`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.moment = Moment(0, None)

    async def count(self) -> int:
        """About how many orders there are: for a percentage."""
        ((orders,),) = await self._ask("SELECT COUNT(DISTINCT order_id) FROM item_detail")
        return int(orders)

    async def nth(self, after: str, number: int) -> str | None:
        """An id such that few rows lie between; None if there are fewer than `number` rows after it."""
        found = []
        for table in ROWS:
            query = f"SELECT order_id FROM {table} WHERE order_id > %s ORDER BY order_id LIMIT 1 OFFSET %s"  # noqa: S608  (ours)
            found += [row[0] for row in await self._ask(query, [after, number])]
        return min(found, default=None)

    async def between(self, after: str, last: str | None) -> dict[str, Rows]:
        """The orders with an id above `after`, up to and with `last` (None: to the end)."""
        if last is None:
            return await self._read("order_id > %s", [after])
        return await self._read("order_id > %s AND order_id <= %s", [after, last])

    async def of(self, order_ids: Sequence[str]) -> dict[str, Rows]:
        """These orders; one that has no rows is absent."""
        if not order_ids:
            return {}
        return await self._read(f"order_id IN ({', '.join(['%s'] * len(order_ids))})", list(order_ids))

    async def _read(self, where: str, values: list[Any]) -> dict[str, Rows]:
        orders: dict[str, Rows] = {}
        for table in ROWS:
            columns = [*KEYS[table], *(column.name for column in COLUMNS[table])]
            query = f"SELECT {', '.join(columns)} FROM {table} WHERE {where}"  # noqa: S608  (ours)
            for found in await self._ask(query, values):
                _add(orders.setdefault(found[0], Rows({})), table, found)
        return orders

    async def _ask(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        async with _within(QUERY_TIMEOUT), self._connection.cursor() as cursor:
            await cursor.execute(query, tuple(values))
            return list(await cursor.fetchall())

    async def begin(self) -> None:
        """Take the snapshot. The position is asked for before it: what is read may be newer, never older."""
        await self._ask("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        position = await self._position()
        ((at,),) = await self._ask("SELECT FLOOR(UNIX_TIMESTAMP(NOW(3)) * 1000)")
        await self._ask("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        self.moment = Moment(int(at), position)

    async def _position(self) -> Position | None:
        for question in ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"):  # from MySQL 8.2 on; before
            try:
                found = await self._ask(question)
            except (errors.ProgrammingError, errors.OperationalError):
                continue
            number = file_number(found[0][0]) if found else None
            return None if number is None else (number, int(found[0][1]))
        return None


def _add(order: Rows, table: str, found: tuple[Any, ...]) -> None:
    keys = len(KEYS[table])
    item_id = found[1] if keys > 1 else ""
    try:
        values = [
            column.read(column.name, value)
            for column, value in zip(COLUMNS[table], found[keys:], strict=True)
        ]
    except Undecodable as error:
        order.problem = f"{table} in MySQL: {error}"
        return
    order.rows[table, item_id] = ROWS[table](*values)


@asynccontextmanager
async def snapshot(settings: Settings) -> AsyncIterator[Snapshot]:
    """One consistent snapshot, on a connection of its own.

    Raises:
        RepairError: MySQL does not answer.
    """
    host, port = settings.mysql
    try:
        async with _within(CONNECT_TIMEOUT):  # asyncmy's own bound ends before the server's greeting
            connection = await asyncmy.connect(
                host=host,
                port=port,
                user=settings.mysql_user,
                password=settings.mysql_password,
                database=settings.mysql_database,
                autocommit=True,
            )
        try:
            taken = Snapshot(connection)
            await taken.begin()
            yield taken
        finally:
            connection.close()
    except (errors.MySQLError, OSError, TimeoutError) as error:
        raise RepairError(f"MySQL at {host}:{port} cannot be read: {error}") from error


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Bounds a question to MySQL. Raises TimeoutError that says so: a bare one has no text."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
