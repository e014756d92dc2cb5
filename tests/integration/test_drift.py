"""The schema changes while orders flow: the real database, the real Debezium, the real actors.

Each database has servers of its own here, since these tests change the tables. What each drift means is
settled in docs/domain.md and docs/dead-letters.md. Cases A11, A14, A15, A27, A28.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.conftest import settings_for
from tests.folding import everything
from tests.living import DRIFT_OFFSET, World, living
from tests.sql import connected, query

from snacks.cdc import CDC_TOPICS, decode
from snacks.domain.order import Position, RowChange
from snacks.letters import Letters
from snacks.platform import running
from snacks.repair.rows import snapshot

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
async def world(request: pytest.FixtureRequest, tmp_path_factory: Any) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp(f"drift-{request.param}")
    settings = settings_for(DRIFT_OFFSET, folder, SNACKS_DB=request.param)
    async with running(settings), living(settings) as one:
        yield one


async def test_a_snapshot_lies_in_the_binlog_between_the_changes_before_and_after_it(world: World) -> None:
    await world.order()  # it may be in Debezium's first snapshot, whose place is where streaming begins
    before = await world.order()
    async with snapshot(world.settings) as taken:
        moment = taken.moment
    after = await world.order()
    found: dict[str, Position] = {}
    for _, body in await everything(world.settings, CDC_TOPICS[0]):
        change = decode("item_detail", None, body, 0)
        if isinstance(change, RowChange) and change.position is not None:
            found[change.order_id] = change.position
    assert moment.position is not None
    assert found[before] < moment.position <= found[after]


async def test_a14_an_added_column_changes_nothing_and_the_others_go_on(world: World) -> None:
    order = await world.order()
    await world.sql("ALTER TABLE item_detail ADD COLUMN note VARCHAR(20) DEFAULT 'sweet', ADD meta JSON")
    try:
        await world.sql(f"UPDATE item_detail SET quantity = 3, note = 'sour' WHERE order_id = '{order}'")
        found = await world.shows(order, lambda one: one["items"][0]["quantity"] == 3)
        assert set(found["items"][0]) == {"itemId", "itemName", "itemStatus", "price", "quantity"}
        await world.order()
    finally:
        await world.sql("ALTER TABLE item_detail DROP COLUMN note, DROP COLUMN meta")


async def test_a_dropped_column_keeps_its_value_and_new_rows_are_set_aside_until_it_is_back(
    world: World,
) -> None:
    known, new = await world.order(), f"kit-{uuid4().hex[:8]}"
    await world.sql("ALTER TABLE shipping_location DROP COLUMN zip_code")
    try:
        await world.sql(
            f"UPDATE shipping_location SET customer_name = 'Eve' WHERE order_id = '{known}'",
            f"INSERT INTO item_detail VALUES ('{new}', '1', 'Gold Fish', 'REQUESTED', 1, 'USD', 1)",
            f"INSERT INTO shipping_location VALUES ('{new}', 'Bob', '1 St', 1, 2)",
        )
        found = await world.shows(known, lambda one: one["shippingLocation"]["customerName"] == "Eve")
        assert found["shippingLocation"]["zipCode"] == "00501"
        one = await world.letter(new)
        assert (one.letter.code, "zip_code" in one.letter.reason) == ("partial-row", True)
        assert world.host.status().ready
    finally:
        await world.sql(
            "ALTER TABLE shipping_location ADD zip_code VARCHAR(32) NOT NULL DEFAULT '00000'"
            " AFTER customer_address"
        )
    edited = (one.letter.value or "").replace('"Bob"', '"Bob","zip_code":"00000"')
    await Letters(world.settings).replay(one.id, edited.encode())
    found = await world.shows(new, lambda one: one["shippingLocation"])
    assert found["shippingLocation"]["zipCode"] == "00000"


async def test_a15_a_renamed_column_is_kept_for_known_rows_and_named_for_new_ones(world: World) -> None:
    known, new = await world.order(), f"kit-{uuid4().hex[:8]}"
    await world.sql("ALTER TABLE item_detail RENAME COLUMN item_name TO title")
    try:
        await world.sql(
            f"UPDATE item_detail SET title = 'Other', quantity = 5 WHERE order_id = '{known}'",
            f"INSERT INTO item_detail VALUES ('{new}', '1', 'Gold Fish', 'REQUESTED', 1, 'USD', 1)",
        )
        found = await world.shows(known, lambda one: one["items"][0]["quantity"] == 5)
        assert found["items"][0]["itemName"] == "Apple Rings"
        assert "item_name" in (await world.letter(new)).letter.reason
        assert world.host.status().ready
    finally:
        await world.sql("ALTER TABLE item_detail RENAME COLUMN title TO item_name")


async def test_a11_an_enum_that_is_reordered_while_running_counts_by_name(world: World) -> None:
    order = await world.order()
    for words in ("'SHIPPED','REQUESTED','FULFILLED'", "'REQUESTED','FULFILLED','SHIPPED'"):
        before = (await world.documents.get(order) or {})["items"][0]["itemStatus"]
        await world.sql(
            f"ALTER TABLE item_detail MODIFY item_status ENUM({words}) NOT NULL DEFAULT 'REQUESTED'"
        )
        after = "FULFILLED" if before == "REQUESTED" else "SHIPPED"
        await world.sql(f"UPDATE item_detail SET quantity = quantity + 1 WHERE order_id = '{order}'")
        kept = await world.shows(order, lambda one: one["items"][0]["quantity"] > 2)
        assert kept["items"][0]["itemStatus"] == before
        await world.sql(f"UPDATE item_detail SET item_status = '{after}' WHERE order_id = '{order}'")
        await world.shows(order, partial(_has_status, after))


def _has_status(status: str, order: Any) -> bool:
    return bool(order["items"][0]["itemStatus"] == status)


async def test_an_alter_in_the_middle_of_a_stream_of_updates_loses_none(world: World) -> None:
    orders = [await world.order() for _ in range(3)]

    async def updates(order: str) -> None:
        async with connected(world.settings) as connection:
            for number in range(100):
                await query(
                    connection, f"UPDATE item_detail SET quantity = {number + 3} WHERE order_id = '{order}'"
                )

    working = asyncio.gather(*map(updates, orders))
    for _ in range(5):
        await world.sql("ALTER TABLE item_detail ADD extra INT", "ALTER TABLE item_detail DROP extra")
    await working
    for order in orders:
        await world.shows(order, lambda one: one["items"][0]["quantity"] == 102)
        assert await Letters(world.settings).of_order(order, 10) == []


async def test_a27_ghost_tables_are_ignored_and_the_renamed_table_is_captured(world: World) -> None:
    order, ghost = await world.order(), f"kit-{uuid4().hex[:8]}"
    await world.sql(
        "CREATE TABLE _item_detail_gho LIKE item_detail",
        "ALTER TABLE _item_detail_gho ADD COLUMN colour VARCHAR(9) NULL",
        "CREATE TABLE _item_detail_ghc (id INT PRIMARY KEY, hint VARCHAR(9))",
        "INSERT INTO _item_detail_ghc VALUES (1, 'x')",
        "INSERT INTO _item_detail_gho SELECT item_detail.*, NULL FROM item_detail",
        f"INSERT INTO _item_detail_gho VALUES ('{ghost}', '1', 'Ghost', 'REQUESTED', 1, 'USD', 1, NULL)",
        "RENAME TABLE item_detail TO _item_detail_del, _item_detail_gho TO item_detail",
    )
    try:
        await world.sql(f"UPDATE item_detail SET quantity = 9, colour = 'red' WHERE order_id = '{order}'")
        found = await world.shows(order, lambda one: one["items"][0]["quantity"] == 9)
        assert len(found["items"]) == 1
        await world.order()  # Debezium goes on, also with rows that are new
        told = str(await everything(world.settings, CDC_TOPICS[0]))
        assert ghost not in told
        assert "Ghost" not in told
    finally:
        await world.sql(
            "ALTER TABLE item_detail DROP COLUMN colour",
            "DROP TABLE _item_detail_del",
            "DROP TABLE _item_detail_ghc",
            f"DELETE FROM item_detail WHERE order_id = '{ghost}'",
        )


async def test_a28_the_same_tables_of_another_database_never_reach_an_order(world: World) -> None:
    order, stranger = await world.order(), f"kit-{uuid4().hex[:8]}"
    await world.sql(
        "CREATE DATABASE `other-db`",
        "CREATE TABLE `other-db`.item_detail LIKE item_detail",
        f"INSERT INTO `other-db`.item_detail VALUES ('{stranger}', '1', 'Other', 'REQUESTED', 1, 'USD', 1)",
        f"INSERT INTO `other-db`.item_detail VALUES ('{order}', '2', 'Other', 'REQUESTED', 1, 'USD', 1)",
        f"UPDATE item_detail SET quantity = 4 WHERE order_id = '{order}'",
    )
    found = await world.shows(order, lambda one: one["items"][0]["quantity"] == 4)
    assert len(found["items"]) == 1
    assert stranger not in str(await everything(world.settings, CDC_TOPICS[0]))
