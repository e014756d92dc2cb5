"""`snacks reconcile` on real servers: what it reports, and documents put right while the actors run."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace
from tests.given import EPOCH, item
from tests.repairing import actors, changed, collection, documents, history, order, repaired, shown
from tests.sql import sql
from tests.waiting import until

from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.repair import RepairError
from snacks.repair.partition import partition_of
from snacks.repair.reconcile import reconcile
from snacks.repair.sample import Drift

pytestmark = pytest.mark.timeout(180)


async def test_orders_that_agree_are_left_alone(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), *order("kit-2"), item("kit-3"))
        await shown(empty, {"kit-1", "kit-2"})
        before = len(await history(empty))
        found = await repaired(empty, 0)
        assert found.orders == 3
        assert len(await history(empty)) == before


async def test_a_check_reports_and_changes_nothing(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"))
        await shown(empty, {"kit-1"})
        async with collection(empty) as orders:
            await orders.update_one({"_id": "kit-1"}, {"$set": {"customerOrder.items.0.quantity": 9}})
        found = await reconcile(empty, repair=False)
        assert (found.differing, found.repaired, found.remaining) == (1, 0, 1)
        (one,) = found.differences
        assert (one.where, one.field, one.expected, one.found) == ("document", "items[0].quantity", "2", "9")
        assert (await documents(empty))["kit-1"]["customerOrder"]["items"][0]["quantity"] == 9


async def test_a_document_that_was_deleted_by_hand_comes_back_as_it_was(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"))
        await shown(empty, {"kit-1"})
        before, published = await documents(empty), len(await history(empty))
        async with collection(empty) as orders:
            await orders.delete_one({"_id": "kit-1"})
        await repaired(empty, 1)
        assert await documents(empty) == before
        assert len(await history(empty)) == published


async def test_a_document_that_was_edited_by_hand_is_put_right(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), *order("kit-2"))
        await shown(empty, {"kit-1", "kit-2"})
        async with collection(empty) as orders:
            await orders.update_one({"_id": "kit-1"}, {"$set": {"customerOrder.orderStatus": "SHIPPED"}})
            edit = {"revision": 5_000, "customerOrder.payment": None}
            await orders.update_one({"_id": "kit-2"}, {"$set": edit})
        await repaired(empty, 2)
        await changed(
            empty, item("kit-2", quantity=7), at=EPOCH + 1
        )  # and later changes still pass the guard

        async def seven() -> bool:
            quantity: int = (await documents(empty))["kit-2"]["customerOrder"]["items"][0]["quantity"]
            return quantity == 7

        await until(seven)


async def test_aggregates_that_are_garbage_are_told_and_put_right(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"))
        await shown(empty, {"kit-1"})
        async with AIOKafkaProducer(bootstrap_servers=empty.kafka) as producer:
            for key in ("kit-1", "stray", "\udcff"):
                name, where = key.encode("utf-8", "surrogateescape"), partition_of(key, empty.partitions)
                await producer.send_and_wait(AGGREGATES, b"garbage", name, partition=where)
        found = await repaired(empty, 2)
        assert {(one.order_id, one.where, one.found) for one in found.differences} == {
            ("kit-1", "topic", "garbage"),
            ("stray", "topic", "garbage"),
        }
        last = {record.key: record.value for record in await history(empty)}
        assert last[b"stray"] is None


async def test_a_stray_document_goes(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), item("kit-2"))
        await shown(empty, {"kit-1"})
        async with collection(empty) as orders:
            await orders.insert_one({"_id": "stray", "revision": 900, "customerOrder": {"orderId": "stray"}})
            await orders.insert_one({"_id": "kit-2", "customerOrder": {"orderId": "kit-2"}})
        await repaired(empty, 2)
        assert set(await documents(empty)) == {"kit-1"}


async def test_one_order_alone_can_be_repaired(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), *order("kit-2"))
        await shown(empty, {"kit-1", "kit-2"})
        async with collection(empty) as orders:
            await orders.delete_many({})
        found = await reconcile(empty, repair=True, order_id="kit-2")
        assert (found.orders, found.repaired) == (1, 1)
        assert set(await documents(empty)) == {"kit-2"}


async def test_orders_that_change_all_the_time_are_not_reported(empty: Settings) -> None:
    calm = replace(empty, reconcile_settle=0.5)  # longer than `changed` takes from a row to its record
    async with actors(empty):
        await changed(empty, *order("kit-1"))
        await shown(empty, {"kit-1"})
        end = asyncio.Event()

        async def change() -> None:
            number = 0
            while not end.is_set():
                number += 1
                await changed(empty, item("kit-1", quantity=number), at=EPOCH + number, position=number)

        changing = asyncio.create_task(change())
        try:
            for _ in range(5):
                found = await reconcile(calm, repair=True)
                assert (found.differing, found.differences) == (0, [])
        finally:
            end.set()
            await changing
        await repaired(empty, 0)


async def test_a_row_that_cannot_be_read_is_told_and_left_alone(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"))
        await shown(empty, {"kit-1"})
        await sql(empty, "UPDATE item_detail SET quantity = -1")
        found = await reconcile(empty, repair=True)
        assert (found.unreadable, found.differing) == (1, 0)
        assert "kit-1: item_detail in MySQL: quantity" in "".join(found.notes)


async def test_without_the_actors_a_repair_says_what_to_start(empty: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr("snacks.repair.reader.STANDSTILL", 3.0)
    async with actors(empty):
        await changed(empty, *order("kit-1"))
        await shown(empty, {"kit-1"})
    async with collection(empty) as orders:
        await orders.delete_many({})
    with pytest.raises(RepairError, match="is the app running"):
        await reconcile(empty, repair=True)


async def test_the_sampled_check_counts_drifted_orders_until_they_are_repaired(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), *order("kit-2"), item("kit-3"))
        await shown(empty, {"kit-1", "kit-2"})
        drift = Drift(empty)
        assert (await drift.check()).orders_drifted == 0
        assert drift.status.checked == 3
        async with collection(empty) as orders:
            await orders.delete_one({"_id": "kit-1"})
            await orders.update_one({"_id": "kit-2"}, {"$set": {"customerOrder.orderStatus": "SHIPPED"}})
        assert (await drift.check()).orders == ["kit-1", "kit-2"]
        await repaired(empty, 2)
        assert (await drift.check()).orders_drifted == 0
