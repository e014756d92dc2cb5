"""`snacks reconcile` on real servers: what the topics lost or never had is put right from MySQL's rows."""

import json
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests.fresh import remade
from tests.given import EPOCH, item, place
from tests.repairing import actors, captured, changed, documents, history, order, repaired, shown, written
from tests.sql import sql
from tests.waiting import until

from snacks.cdc import CDC_TOPICS, connector, topics
from snacks.cdc.keys import row_of
from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.platform import Platform
from snacks.repair.partition import partition_of
from snacks.tables import Tables

pytestmark = pytest.mark.timeout(180)


async def test_a_repair_says_its_place_in_the_binlog(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"))
        await shown(empty, {"kit-1"})
        await sql(empty, "UPDATE item_detail SET quantity = 7")
        await repaired(empty, 1)
    last = json.loads((await history(empty, CDC_TOPICS[0]))[-1].value)
    assert last["__repair"]
    assert last["__source_file"].startswith("binlog.")
    assert last["__source_pos"] > 0


async def test_a_truncated_table_is_followed(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), *order("kit-2"))
        await shown(empty, {"kit-1", "kit-2"})
        await sql(empty, "TRUNCATE payment")
        await repaired(empty, 2)
        assert {one["customerOrder"]["orderStatus"] for one in (await documents(empty)).values()} == {
            "PENDING"
        }
        await sql(empty, "TRUNCATE item_detail")
        await sql(empty, "TRUNCATE shipping_location")
        await repaired(empty, 2)
        assert await documents(empty) == {}
        last = {record.key: record.value for record in await history(empty)}
        assert set(last.values()) == {None}


async def test_a_row_whose_tombstone_was_lost_leaves_its_order(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), item("kit-1", item_id="2"), *order("kit-2"))
        await shown(empty, {"kit-1", "kit-2"})
        await sql(empty, "DELETE FROM item_detail WHERE item_id = '2'")
        await sql(empty, "DELETE FROM payment WHERE order_id = 'kit-2'")
        await repaired(empty, 2)
        assert len((await documents(empty))["kit-1"]["customerOrder"]["items"]) == 1


async def test_a_snapshot_after_deletes_leaves_no_ghosts(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), *order("kit-2"))
        await shown(empty, {"kit-1", "kit-2"})
        for table in ("item_detail", "payment"):
            await sql(empty, f"DELETE FROM {table} WHERE order_id = 'kit-1'")
        await captured(empty, *order("kit-2"), at=EPOCH + 5, position=10)  # what is left, said again
        await repaired(empty, 1)
        assert set(await documents(empty)) == {"kit-2"}


async def test_c7_records_that_the_topic_lost_below_the_checkpoint_are_put_right_from_mysql(
    empty: Settings,
) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), *order("kit-2"))
        await shown(empty, {"kit-1", "kit-2"})
    await changed(empty, item("kit-1", quantity=7), item("kit-3"), place("kit-3"), at=EPOCH + 1, position=5)
    await lost(empty, CDC_TOPICS[0])
    async with actors(empty):
        found = await repaired(empty, 2)
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


async def test_rows_that_were_never_captured_make_their_order(empty: Settings) -> None:
    async with actors(empty):
        await written(empty, *order("kit-1", item_status="FULFILLED"), *order("ünï€😀"))
        await repaired(empty, 2)
        assert set(await documents(empty)) == {"kit-1", "ünï€😀"}


async def test_a_status_that_was_set_back_in_mysql_goes_back(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1", item_status="SHIPPED"))
        await shown(empty, {"kit-1"})
        await written(empty, item("kit-1"))
        await repaired(empty, 1)
        assert (await documents(empty))["kit-1"]["customerOrder"]["orderStatus"] == "PAID"


async def test_an_aggregate_topic_that_was_lost_is_written_again(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, *order("kit-1"), *order("kit-2"))
        await shown(empty, {"kit-1", "kit-2"})
    await remade(empty, AGGREGATES)
    async with actors(empty):
        await repaired(empty, 2)
        assert {record.key for record in await history(empty)} == {b"kit-1", b"kit-2"}


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
