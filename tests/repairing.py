"""A system without Debezium, for tests of repair: MySQL and the CDC records are written separately."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from pymongo import AsyncMongoClient

from snacks.actors import OrderHost
from snacks.cdc import CDC_TOPICS
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS
from snacks.config import Settings
from snacks.repair.comparison import Report
from snacks.repair.partition import partition_of
from snacks.repair.reconcile import reconcile
from snacks.tables import Tables
from tests import folding, oracle
from tests.fresh import fresh_topics
from tests.given import item, payment, place, value
from tests.sql import sql
from tests.waiting import until

TABLES = ("item_detail", "shipping_location", "payment")
Row = tuple[str, dict[str, Any], dict[str, Any]]


async def fresh(base: Settings) -> Settings:
    """Settings with empty tables, empty topics, a group and a database of their own."""
    settings = await fresh_topics(base)
    state = f"{base.state}/{settings.group_id}"
    settings = msgspec.structs.replace(settings, reconcile_settle=0.05, state=state)
    tables = Tables(settings)
    await tables.open()
    await tables.close()
    for table in TABLES:
        await sql(settings, f"TRUNCATE {table}")
    return settings


@asynccontextmanager
async def actors(settings: Settings) -> AsyncIterator[OrderHost]:
    """A process's actors, all shards running."""
    async with folding.actors(settings) as host:
        await until(folding.runs(host, settings.partitions))
        yield host


def order(order_id: str, **columns: Any) -> tuple[Any, ...]:
    return item(order_id, **columns), place(order_id), payment(order_id)


async def written(settings: Settings, *rows: Row) -> None:
    """The rows in MySQL, captured by nobody."""
    for table, key, columns in rows:
        values = ", ".join(repr(one) for one in (*key.values(), *columns.values()))
        await sql(settings, f"REPLACE INTO {table} ({', '.join([*key, *columns])}) VALUES ({values})")


async def captured(settings: Settings, *rows: Row, **options: Any) -> None:
    """The rows' CDC records, where Debezium would put them."""
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
        for row in rows:
            topic, key, body = value(row, **options)
            partition = partition_of(row[1]["order_id"], settings.partitions)
            await producer.send_and_wait(topic, body, key, partition=partition)


async def changed(settings: Settings, *rows: Row, **options: Any) -> None:
    """The rows in MySQL, and captured."""
    await written(settings, *rows)
    await captured(settings, *rows, **options)


@asynccontextmanager
async def collection(settings: Settings) -> AsyncIterator[Any]:
    async with AsyncMongoClient[dict[str, Any]](settings.mongo, serverSelectionTimeoutMS=5000) as client:
        yield client[settings.mongo_database]["customerOrder"]


async def documents(settings: Settings) -> dict[str, Any]:
    """The documents by order id, whole."""
    async with collection(settings) as orders:
        return {one["_id"]: one async for one in orders.find()}


async def history(settings: Settings, topic: str = AGGREGATES) -> list[ConsumerRecord]:
    """All committed records of a topic, to its end, partition by partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        sources = [TopicPartition(topic, number) for number in range(settings.partitions)]
        consumer.assign(sources)
        ends = await consumer.end_offsets(sources)
        found: list[ConsumerRecord] = []
        for source in sources:
            while await consumer.position(source) < ends[source]:
                for batch in (await consumer.getmany(source, timeout_ms=500)).values():
                    found += batch
        return found
    finally:
        await consumer.stop()


async def shown(settings: Settings, order_ids: set[str]) -> None:
    """Wait until just these orders are in MongoDB, and committed to the topic, with all that was captured."""

    async def there() -> bool:
        last = {record.key.decode(): record.value for record in await history(settings)}
        published = {order_id for order_id, value in last.items() if value is not None}
        return published == order_ids == set(await documents(settings)) and await _folded(settings)

    await until(there)


async def _folded(settings: Settings) -> bool:
    """Whether the checkpoints' offsets are the ends of the CDC topics."""
    shards: dict[int, dict[str, int]] = {
        record.partition: msgspec.json.decode(record.value)
        for record in await history(settings, CHECKPOINTS)
        if record.key == b"@shard"
    }
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka)
    await consumer.start()
    try:
        sources = [TopicPartition(topic, n) for topic in CDC_TOPICS for n in range(settings.partitions)]
        ends = await consumer.end_offsets(sources)
    finally:
        await consumer.stop()
    return all(shards.get(one.partition, {}).get(one.topic, 0) == end for one, end in ends.items())


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
