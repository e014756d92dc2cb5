"""The command tables on a real MySQL: the schema, and commands that race.

Everything happens in a database of its own, which change data capture does not watch.
"""

import asyncio
import random
from uuid import uuid4

import pytest
from msgspec.structs import replace
from tests.commanding import become, create, fresh_database, opened, outcome, pay, ship_to
from tests.sql import connected, query

from snacks import tables as tables_module
from snacks.domain.requests import Command
from snacks.tables import Tables, Unavailable

COLUMNS = """
item_detail.order_id varchar(64) bin
item_detail.item_id varchar(64) bin
item_detail.item_name varchar(255) bin
item_detail.item_status enum('REQUESTED','FULFILLED','SHIPPED') bin
item_detail.price decimal(11,2)
item_detail.currency enum('USD') bin
item_detail.quantity int
payment.order_id varchar(64) bin
payment.payment_type varchar(64) bin
payment.credit_card_type varchar(64) bin
payment.credit_card_number varchar(19) bin
payment.amount decimal(11,2)
payment.currency enum('USD') bin
shipping_location.order_id varchar(64) bin
shipping_location.customer_name varchar(255) bin
shipping_location.customer_address varchar(255) bin
shipping_location.zip_code varchar(32) bin
shipping_location.latitude double
shipping_location.longitude double
"""


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


# ── the schema ───────────────────────────────────────────────────────────────────────────────────


async def test_the_tables_are_the_contract_s(tables, root, own):
    found = await query(
        root,
        "SELECT table_name, column_name, column_type, collation_name, is_nullable"
        " FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name <> 'schema_version' ORDER BY table_name, ordinal_position",
        own.mysql_database,
    )
    lines = [
        f"{table}.{column} {kind.replace('int(11)', 'int')}" + " bin" * bool(collation)
        for table, column, kind, collation, _ in found
    ]
    assert lines == COLUMNS.split("\n")[1:-1]
    assert {nullable for *_, nullable in found} == {"NO"}
    assert {collation for _, _, _, collation, _ in found} - {None} <= set(tables_module.COLLATIONS)


async def test_the_schema_is_applied_once_however_many_processes_start(platform, settings):
    async with fresh_database(settings) as own:
        several = [Tables(own) for _ in range(5)]
        await asyncio.gather(*(one.open() for one in several))
        await several[0].open()
        async with connected(own) as connection:
            versions = await query(connection, "SELECT version FROM schema_version ORDER BY version")
        assert [version for (version,) in versions] == [version for version, _ in tables_module.migrations()]
        for one in several:
            await one.close()


async def test_a_schema_that_was_cut_in_its_middle_is_completed(platform, settings):
    async with fresh_database(settings) as own:
        async with connected(own) as connection:
            await query(connection, "CREATE TABLE shipping_location (order_id VARCHAR(64) PRIMARY KEY)")
        async with opened(own) as tables:
            assert await tables.counts() == {"item_detail": 0, "shipping_location": 0, "payment": 0}


async def test_a_schema_that_another_process_applies_for_too_long_is_waited_for_and_then_said(
    own, monkeypatch
):
    monkeypatch.setattr(tables_module, "MIGRATION_WAIT", 0)
    async with connected(own) as other:
        await query(other, "SELECT GET_LOCK(%s, 1)", tables_module.MIGRATION_LOCK)
        with pytest.raises(Unavailable, match="another process"):
            await Tables(own).open()


# ── races ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("same_items", [True, False])
async def test_of_concurrent_creates_of_one_order_exactly_one_is_written(tables, same_items):
    for _ in range(25):
        order_id = uuid4().hex
        commands = [create(order_id, "2" if same_items else str(n), f"m{n}") for n in range(6)]
        outcomes = await asyncio.gather(*(outcome(tables, command) for command in commands))
        assert sorted(map(str, outcomes)) == ["None"] + ["orderId already exists"] * 5
        winner = commands[outcomes.index(None)]
        assert set((await tables.facts(order_id)).items) == {item.item_id for item in winner.items}


async def test_creating_many_orders_at_once_makes_none_wait_or_fail(tables):
    ids = [uuid4().hex for _ in range(100)]
    assert set(await asyncio.gather(*(outcome(tables, create(one)) for one in ids))) == {None}


async def test_nobody_overtakes_those_who_wait_for_a_connection(own):
    turns = []

    async def asks(tables: Tables, name: str) -> None:
        for _ in range(10):
            await tables.ping()
            turns.append(name)

    async with opened(replace(own, mysql_pool=1)) as tables:
        await asyncio.gather(*(asks(tables, name) for name in "abcde"))
    assert turns == list("abcde" * 10)


async def test_first_payments_and_places_at_once_leave_one_row_of_each(tables, root):
    for _ in range(20):
        order_id = uuid4().hex
        await tables.execute(create(order_id))
        commands: list[Command] = [pay(order_id, card_type=f"card {n}") for n in range(5)]
        commands += [ship_to(order_id, f"name {n}") for n in range(5)]
        assert set(await asyncio.gather(*(outcome(tables, command) for command in commands))) == {None}
        for table in ("payment", "shipping_location"):
            assert len(await query(root, f"SELECT * FROM {table} WHERE order_id = %s", order_id)) == 1


async def test_hammering_a_few_orders_breaks_no_rule(tables):
    chance = random.Random(7)
    ids = [uuid4().hex for _ in range(4)]
    await asyncio.gather(*(tables.execute(create(one, "1", "2", "3", price="0.01")) for one in ids))

    async def client() -> None:
        for _ in range(40):
            one = chance.choice(ids)
            commands: list[Command] = [pay(one, "0.09"), pay(one, "0.08"), ship_to(one)]
            commands += [become(one, "FULFILLED"), become(one, "SHIPPED")]
            await outcome(tables, chance.choice(commands))

    await asyncio.gather(*(client() for _ in range(16)))
    for one in ids:
        order = await tables.facts(one)
        statuses = {item.item_status.name for item in order.items.values()}
        assert len(statuses) == 1
        assert order.has_payment or statuses == {"REQUESTED"}
        assert order.has_shipping_location or statuses != {"SHIPPED"}


async def test_after_shipped_nothing_changes_whoever_comes_at_the_same_time(tables, root):
    for number in range(60):
        order_id = uuid4().hex
        for command in (create(order_id, "1", "2"), pay(order_id, "0.42"), ship_to(order_id)):
            await tables.execute(command)
        if number % 2:
            await tables.execute(become(order_id, "FULFILLED"))
        shipped, fulfilled, paid, placed = await asyncio.gather(
            outcome(tables, become(order_id, "SHIPPED")),
            outcome(tables, become(order_id, "FULFILLED")),
            outcome(tables, pay(order_id, "0.42", card_type="late")),
            outcome(tables, ship_to(order_id, "late")),
        )
        order = await tables.facts(order_id)
        assert order.shipped == (shipped is None)
        assert shipped is None or "before it was FULFILLED" in shipped
        assert fulfilled is None or "cannot go back" in fulfilled
        ((card_type,),) = await query(
            root, "SELECT credit_card_type FROM payment WHERE order_id = %s", order_id
        )
        ((name,),) = await query(
            root, "SELECT customer_name FROM shipping_location WHERE order_id = %s", order_id
        )
        assert (card_type == "late", name == "late") == (paid is None, placed is None)
        if order.shipped:
            assert "is shipped" in str(await outcome(tables, pay(order_id, "0.42")))
