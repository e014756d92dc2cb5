"""The command tables on a MySQL that locks, kills, cuts and goes away.

Everything happens in a database of its own, which change data capture does not watch.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
from asyncmy.errors import OperationalError
from msgspec.structs import replace
from tests.commanding import become, create, fresh_database, opened, outcome, pay, ship_to
from tests.sql import connected, query
from tests.waiting import until

from snacks import tables as tables_module
from snacks.config import Settings
from snacks.domain.values import ItemStatus
from snacks.tables import Tables, Unavailable


@pytest.fixture(scope="module")
async def own(platform, settings):
    async with fresh_database(settings) as own:
        yield own


@pytest.fixture(scope="module")
async def tables(own):
    async with opened(own) as tables:
        yield tables


@pytest.fixture
async def root(own):
    async with connected(own) as connection:
        yield connection


@pytest.fixture
async def holder(own):
    """A client that holds locks: nothing is committed unless it says so."""
    async with connected(own, autocommit=False) as connection:
        yield connection


@pytest.fixture
def order_id():
    return uuid4().hex


async def sessions(root: Any, own: Settings) -> list[int]:
    """The ids of the connections to our database, but for root's own."""
    found = await query(
        root,
        "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()",
        own.mysql_database,
    )
    return [number for (number,) in found]


POLL = 0.15
"""InnoDB keeps its list of transactions as long as somebody reads it more often than every 0.1 seconds."""


async def waiting(root: Any) -> set[Any]:
    """The transactions that wait for a lock now; ask no more often than every POLL seconds."""
    found = await query(
        root, "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    )
    return {number for (number,) in found}


# ── locks ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_deadlock_is_tried_again_and_not_shown(tables, holder, root, order_id):
    for command in (create(order_id), pay(order_id)):
        await tables.execute(command)
    for number in range(20):  # the more it has written, the less InnoDB wants to undo it
        insert = (
            "INSERT INTO payment SELECT %s, payment_type, 'V', '', 1, 'USD' FROM payment WHERE order_id = %s"
        )
        await query(holder, insert, f"{order_id}-{number}", order_id)
    await query(holder, "UPDATE payment SET payment_type = 'X' WHERE order_id = %s", order_id)
    task = asyncio.create_task(tables.execute(become(order_id, "FULFILLED")))
    await until(lambda: waiting(root), every=POLL)
    # The command holds the items and waits for the payment: now each waits for the other.
    await query(holder, "SELECT * FROM item_detail WHERE order_id = %s FOR UPDATE", order_id)
    assert not task.done()
    await holder.commit()
    await task
    assert (await tables.facts(order_id)).items["1"].item_status is ItemStatus.FULFILLED


async def test_a_lock_that_is_held_long_is_waited_for_again(own, holder, root, order_id, monkeypatch):
    monkeypatch.setattr(tables_module, "LOCK_WAIT", 1)
    async with opened(own) as tables:
        await tables.execute(create(order_id))
        await query(holder, "SELECT * FROM item_detail WHERE order_id = %s FOR UPDATE", order_id)
        task = asyncio.create_task(tables.execute(pay(order_id)))
        first = await until(lambda: waiting(root), every=POLL)

        async def another() -> set[Any]:
            return await waiting(root) - set(first)

        await until(another, every=POLL)
        await holder.rollback()
        await task
        assert (await tables.facts(order_id)).has_payment


async def test_a_command_that_takes_too_long_is_given_up_and_leaves_nothing(
    tables, holder, root, order_id, monkeypatch
):
    await tables.execute(create(order_id))
    await query(holder, "SELECT * FROM item_detail WHERE order_id = %s FOR UPDATE", order_id)
    with monkeypatch.context() as patch:
        patch.setattr(tables_module, "DEADLINE", 0.2)
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            await tables.execute(pay(order_id))
    await holder.rollback()
    assert not (await tables.facts(order_id)).has_payment
    await tables.execute(pay(order_id))
    assert (await tables.facts(order_id)).has_payment


async def test_looking_for_an_order_that_is_not_there_makes_no_other_order_wait(tables, order_id):
    async with tables._connection() as connection, connection.cursor() as cursor:
        await connection.begin()
        await tables_module._facts(cursor, f"{order_id}-a", lock=True)
        async with asyncio.timeout(2):
            await tables.execute(create(f"{order_id}-b"))
        await connection.rollback()


# ── connections ──────────────────────────────────────────────────────────────────────────────────


async def test_a_cancelled_command_writes_nothing(tables, holder, root, order_id):
    await tables.execute(create(order_id))
    await query(holder, "SELECT * FROM item_detail WHERE order_id = %s FOR UPDATE", order_id)
    task = asyncio.create_task(tables.execute(pay(order_id)))
    await until(lambda: waiting(root), every=POLL)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await holder.rollback()
    await tables.execute(become(order_id, "REQUESTED"))  # behind whatever the server still did for the first
    assert not (await tables.facts(order_id)).has_payment


async def test_no_answer_carries_another_order_whoever_is_cancelled(tables, own):
    chance = random.Random(3)
    ids = [uuid4().hex for _ in range(30)]
    await asyncio.gather(*(tables.execute(create(one, one)) for one in ids))

    async def ask() -> None:
        for _ in range(20):
            one = chance.choice(ids)
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.choice([0.0005, 0.002, 0.01, 5])):
                    assert list((await tables.facts(one)).items) == [one]
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.choice([0.0005, 0.002, 0.01, 5])):
                    await tables.execute(pay(one))

    await asyncio.gather(*(ask() for _ in range(20)))
    assert tables._pool.size <= own.mysql_pool
    assert [list((await tables.facts(one)).items) for one in ids] == [[one] for one in ids]


async def test_connections_that_were_killed_do_not_show(tables, root, own, order_id):
    await tables.execute(create(order_id))
    for _ in range(3):
        await asyncio.gather(*(tables.facts(order_id) for _ in range(own.mysql_pool)))
        for number in await sessions(root, own):
            with suppress(OperationalError):  # it may have ended since it was listed
                await query(root, f"KILL {number}")
        assert set(await asyncio.gather(*(outcome(tables, pay(order_id)) for _ in range(20)))) == {None}


async def test_connections_that_were_idle_too_long_do_not_show(own, root, order_id):
    async with opened(own) as tables:
        await tables.execute(create(order_id))
        async with tables._connection() as connection:
            await connection.query("SET SESSION wait_timeout = 1")
        before = set(await sessions(root, own))
        await query(root, "SELECT 1")

        async def gone() -> set[int]:
            return before - set(await sessions(root, own))

        await until(gone)
        assert await outcome(tables, pay(order_id)) is None


@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES,ANSI_QUOTES", "", "PAD_CHAR_TO_FULL_LENGTH"])
async def test_the_server_s_sql_mode_does_not_matter(own, root, order_id, mode):
    odd = ["O'Brien\\", "x'); DROP TABLE payment;-- ", "\\", '"', "\\'", "a\x00b", "%s", "n" * 255]
    ((before,),) = await query(root, "SELECT @@GLOBAL.sql_mode")
    await query(root, "SET GLOBAL sql_mode = %s", mode)
    try:
        async with opened(own) as tables:
            await tables.execute(create(order_id))
            for name in odd:
                await tables.execute(ship_to(order_id, name))
                ((stored,),) = await query(
                    root, "SELECT customer_name FROM shipping_location WHERE order_id = %s", order_id
                )
                assert stored == name
    finally:
        await query(root, "SET GLOBAL sql_mode = %s", before)


async def test_before_open_and_after_close_and_without_a_server_mysql_is_unavailable(own, unused_tcp_port):
    away = Tables(replace(own, mysql_port=unused_tcp_port))
    with pytest.raises(Unavailable):
        await away.open()
    closed = Tables(own)
    await closed.open()
    await closed.close()
    for one in (away, closed, Tables(own)):
        for ask in (
            one.ping,
            one.counts,
            lambda one=one: one.execute(pay("a")),
            lambda one=one: one.facts("a"),
        ):
            with pytest.raises(Unavailable):
                await ask()
        await one.close()


# ── cuts ─────────────────────────────────────────────────────────────────────────────────────────


class Cuts:
    """A way to MySQL that cuts a connection, `times` times, once MySQL has done what holds the word."""

    def __init__(self, own: Settings) -> None:
        self._own = own
        self.word = b""
        self.times = 0

    @asynccontextmanager
    async def tables(self) -> AsyncIterator[Tables]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            async with opened(replace(self._own, mysql_host=host, mysql_port=port)) as tables:
                await tables.ping()  # so that there is a connection in the pool
                yield tables

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_upstream = await asyncio.open_connection(*self._own.mysql)

        async def answers() -> None:
            while data := await upstream.read(65536):
                writer.write(data)

        answering = asyncio.create_task(answers())
        while data := await reader.read(65536):
            to_upstream.write(data)
            if self.times and self.word in data:
                self.times -= 1
                answering.cancel()
                await asyncio.wait({answering})
                await upstream.read(65536)  # MySQL has done it; its answer goes nowhere
                break
        answering.cancel()
        writer.close()
        to_upstream.close()


@pytest.mark.parametrize("word", [b"BEGIN", b"FOR UPDATE", b"INSERT INTO"])
async def test_a_connection_that_is_lost_before_the_commit_does_not_show(own, order_id, word):
    cuts = Cuts(own)
    async with cuts.tables() as tables:
        cuts.word, cuts.times = word, 2
        await tables.execute(create(order_id))
        assert cuts.times == 0
        assert list((await tables.facts(order_id)).items) == ["1"]


async def test_if_the_answer_to_a_commit_is_lost_there_is_one_order_unchanged(own, order_id):
    cuts = Cuts(own)
    async with cuts.tables() as tables:
        cuts.word, cuts.times = b"COMMIT", 1
        with pytest.raises(Unavailable):
            await tables.execute(create(order_id))
        assert cuts.times == 0
        assert await outcome(tables, create(order_id, "2")) == "orderId already exists"
        assert list((await tables.facts(order_id)).items) == ["1"]
