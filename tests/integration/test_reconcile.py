"""`snacks reconcile` on real servers: each kind of damage, found and put right while the actors run."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests import oracle
from tests.fresh import remade
from tests.given import EPOCH, item, payment, place
from tests.repairing import (
    actors,
    captured,
    changed,
    collection,
    documents,
    fresh,
    history,
    shown,
    written,
)
from tests.sql import sql
from tests.waiting import until

from snacks.cdc import CDC_TOPICS, connector, topics
from snacks.cdc.keys import row_of
from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.platform import Platform
from snacks.repair import RepairError
from snacks.repair.comparison import Report
from snacks.repair.partition import partition_of
from snacks.repair.reconcile import reconcile
from snacks.repair.sample import Drift
from snacks.tables import Tables

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def given(lab: Platform) -> Settings:
    return await fresh(lab.settings)


def order(order_id: str, **columns: Any) -> tuple[Any, ...]:
    return item(order_id, **columns), place(order_id), payment(order_id)


async def assert_equal(settings: Settings) -> None:
    """MongoDB holds what MySQL says, told by an oracle of its own."""
    host, port = settings.mysql
    left = await oracle.expected(
        host, port, settings.mysql_user, settings.mysql_password, settings.mysql_database
    )
    assert oracle.differences(left, await oracle.stored(settings.mongo, settings.mongo_database)) == []


async def repaired(settings: Settings, differing: int) -> Report:
    """Repair; then everything agrees, and comparing again finds nothing."""
    found = await reconcile(settings, repair=True)
    assert (found.differing, found.repaired, found.remaining) == (differing, differing, 0)
    await assert_equal(settings)
    assert (await reconcile(settings, repair=False)).differing == 0
    return found


async def test_orders_that_agree_are_left_alone(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), *order("kit-2"), item("kit-3"))
        await shown(given, {"kit-1", "kit-2"})
        before = len(await history(given))
        found = await repaired(given, 0)
        assert found.orders == 3
        assert len(await history(given)) == before


async def test_a_check_reports_and_changes_nothing(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"))
        await shown(given, {"kit-1"})
        async with collection(given) as orders:
            await orders.update_one({"_id": "kit-1"}, {"$set": {"customerOrder.items.0.quantity": 9}})
        found = await reconcile(given, repair=False)
        assert (found.differing, found.repaired, found.remaining) == (1, 0, 1)
        (one,) = found.differences
        assert (one.where, one.field, one.expected, one.found) == ("document", "items[0].quantity", "2", "9")
        assert (await documents(given))["kit-1"]["customerOrder"]["items"][0]["quantity"] == 9


async def test_a_document_that_was_deleted_by_hand_comes_back_as_it_was(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"))
        await shown(given, {"kit-1"})
        before, published = await documents(given), len(await history(given))
        async with collection(given) as orders:
            await orders.delete_one({"_id": "kit-1"})
        await repaired(given, 1)
        assert await documents(given) == before
        assert len(await history(given)) == published


async def test_a_document_that_was_edited_by_hand_is_put_right(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), *order("kit-2"))
        await shown(given, {"kit-1", "kit-2"})
        async with collection(given) as orders:
            await orders.update_one({"_id": "kit-1"}, {"$set": {"customerOrder.orderStatus": "SHIPPED"}})
            edit = {"revision": 5_000, "customerOrder.payment": None}
            await orders.update_one({"_id": "kit-2"}, {"$set": edit})
        await repaired(given, 2)
        await changed(
            given, item("kit-2", quantity=7), at=EPOCH + 1
        )  # and later changes still pass the guard

        async def seven() -> bool:
            quantity: int = (await documents(given))["kit-2"]["customerOrder"]["items"][0]["quantity"]
            return quantity == 7

        await until(seven)


async def test_a_repair_says_its_place_in_the_binlog(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"))
        await shown(given, {"kit-1"})
        await sql(given, "UPDATE item_detail SET quantity = 7")
        await repaired(given, 1)
    last = json.loads((await history(given, CDC_TOPICS[0]))[-1].value)
    assert last["__repair"]
    assert last["__source_file"].startswith("binlog.")
    assert last["__source_pos"] > 0


async def test_a_stray_document_goes(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), item("kit-2"))
        await shown(given, {"kit-1"})
        async with collection(given) as orders:
            await orders.insert_one({"_id": "stray", "revision": 900, "customerOrder": {"orderId": "stray"}})
            await orders.insert_one({"_id": "kit-2", "customerOrder": {"orderId": "kit-2"}})
        await repaired(given, 2)
        assert set(await documents(given)) == {"kit-1"}


async def test_a_truncated_table_is_followed(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), *order("kit-2"))
        await shown(given, {"kit-1", "kit-2"})
        await sql(given, "TRUNCATE payment")
        await repaired(given, 2)
        assert {one["customerOrder"]["orderStatus"] for one in (await documents(given)).values()} == {
            "PENDING"
        }
        await sql(given, "TRUNCATE item_detail")
        await sql(given, "TRUNCATE shipping_location")
        await repaired(given, 2)
        assert await documents(given) == {}
        last = {record.key: record.value for record in await history(given)}
        assert set(last.values()) == {None}


async def test_a_row_whose_tombstone_was_lost_leaves_its_order(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), item("kit-1", item_id="2"), *order("kit-2"))
        await shown(given, {"kit-1", "kit-2"})
        await sql(given, "DELETE FROM item_detail WHERE item_id = '2'")
        await sql(given, "DELETE FROM payment WHERE order_id = 'kit-2'")
        await repaired(given, 2)
        assert len((await documents(given))["kit-1"]["customerOrder"]["items"]) == 1


async def test_a_snapshot_after_deletes_leaves_no_ghosts(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), *order("kit-2"))
        await shown(given, {"kit-1", "kit-2"})
        for table in ("item_detail", "payment"):
            await sql(given, f"DELETE FROM {table} WHERE order_id = 'kit-1'")
        await captured(given, *order("kit-2"), at=EPOCH + 5, position=10)  # what is left, said again
        await repaired(given, 1)
        assert set(await documents(given)) == {"kit-2"}


async def test_c7_records_that_the_topic_lost_below_the_checkpoint_are_put_right_from_mysql(
    given: Settings,
) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), *order("kit-2"))
        await shown(given, {"kit-1", "kit-2"})
    await changed(given, item("kit-1", quantity=7), item("kit-3"), place("kit-3"), at=EPOCH + 1, position=5)
    await lost(given, CDC_TOPICS[0])
    async with actors(given):
        found = await repaired(given, 2)
        assert {one.order_id for one in found.differences} == {"kit-1", "kit-3"}


async def lost(settings: Settings, topic: str) -> None:
    """The topic, without all of its records so far."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        sources = [TopicPartition(topic, number) for number in range(settings.partitions)]
        await admin.delete_records({source: RecordsToDelete(-1) for source in sources})
    finally:
        await admin.close()


async def test_rows_that_were_never_captured_make_their_order(given: Settings) -> None:
    async with actors(given):
        await written(given, *order("kit-1", item_status="FULFILLED"), *order("ünï€😀"))
        await repaired(given, 2)
        assert set(await documents(given)) == {"kit-1", "ünï€😀"}


async def test_a_status_that_was_set_back_in_mysql_goes_back(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1", item_status="SHIPPED"))
        await shown(given, {"kit-1"})
        await written(given, item("kit-1"))
        await repaired(given, 1)
        assert (await documents(given))["kit-1"]["customerOrder"]["orderStatus"] == "PAID"


async def test_an_aggregate_topic_that_was_lost_is_written_again(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), *order("kit-2"))
        await shown(given, {"kit-1", "kit-2"})
    await remade(given, AGGREGATES)
    async with actors(given):
        await repaired(given, 2)
        assert {record.key for record in await history(given)} == {b"kit-1", b"kit-2"}


async def test_one_order_alone_can_be_repaired(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), *order("kit-2"))
        await shown(given, {"kit-1", "kit-2"})
        async with collection(given) as orders:
            await orders.delete_many({})
        found = await reconcile(given, repair=True, order_id="kit-2")
        assert (found.orders, found.repaired) == (1, 1)
        assert set(await documents(given)) == {"kit-2"}


async def test_orders_that_change_all_the_time_are_not_reported(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"))
        await shown(given, {"kit-1"})
        end = asyncio.Event()

        async def change() -> None:
            number = 0
            while not end.is_set():
                number += 1
                await changed(given, item("kit-1", quantity=number), at=EPOCH + number, position=number)

        changing = asyncio.create_task(change())
        try:
            for _ in range(5):
                found = await reconcile(given, repair=True)
                assert (found.differing, found.differences) == (0, [])
        finally:
            end.set()
            await changing
        await repaired(given, 0)


async def test_a_row_that_cannot_be_read_is_told_and_left_alone(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"))
        await shown(given, {"kit-1"})
        await sql(given, "UPDATE item_detail SET quantity = -1")
        found = await reconcile(given, repair=True)
        assert (found.unreadable, found.differing) == (1, 0)
        assert "kit-1: item_detail in MySQL: quantity" in "".join(found.notes)


async def test_without_the_actors_a_repair_says_what_to_start(given: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr("snacks.repair.reader.STANDSTILL", 0.3)
    async with actors(given):
        await changed(given, *order("kit-1"))
        await shown(given, {"kit-1"})
    async with collection(given) as orders:
        await orders.delete_many({})
    with pytest.raises(RepairError, match="is the app running"):
        await reconcile(given, repair=True)


async def test_the_sampled_check_counts_drifted_orders_until_they_are_repaired(given: Settings) -> None:
    async with actors(given):
        await changed(given, *order("kit-1"), *order("kit-2"), item("kit-3"))
        await shown(given, {"kit-1", "kit-2"})
        drift = Drift(given)
        assert (await drift.check()).orders_drifted == 0
        assert drift.status.checked == 3
        async with collection(given) as orders:
            await orders.delete_one({"_id": "kit-1"})
            await orders.update_one({"_id": "kit-2"}, {"$set": {"customerOrder.orderStatus": "SHIPPED"}})
        assert (await drift.check()).orders == ["kit-1", "kit-2"]
        await repaired(given, 2)
        assert (await drift.check()).orders_drifted == 0


async def test_debezium_puts_an_order_where_we_compute_it(platform: Platform) -> None:
    settings = platform.settings
    tables = Tables(settings)
    await tables.open()
    await tables.close()
    await topics.ensure(settings)
    await connector.apply(settings)
    mark = uuid4().hex[:8]
    letters = "aé€😀ß中z9- ~"
    ids = {
        f"{mark}-{number}-{''.join(letters[number % n] for n in range(1, 1 + number % 12))}"
        for number in range(200)
    }
    values = ", ".join(
        f"('{order_id}', 'CREDIT', 'Visa', '****-****-****-4242', 1, 'USD')" for order_id in ids
    )
    await sql(settings, f"INSERT INTO payment VALUES {values}")
    found: dict[str, int] = {}
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(CDC_TOPICS[2], number) for number in range(settings.partitions)])

        async def all_there() -> bool:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    row = row_of("payment", record.key)
                    if row is not None and row[0] in ids:
                        found[row[0]] = record.partition
            return len(found) == len(ids)

        await until(all_there)
    await sql(settings, "DELETE FROM payment WHERE order_id LIKE %s", f"{mark}%")
    assert found == {order_id: partition_of(order_id, settings.partitions) for order_id in ids}
