"""Actors in this process on real servers, the records that they are given, and what they made of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from snacks.actors import OrderHost
from snacks.cdc import CDC_TOPICS
from snacks.config import Settings
from snacks.documents import Documents
from snacks.letters import Letters
from tests.waiting import until

CARD = "4929381332664295"
POISON = (CDC_TOPICS[0], b'{"order_id":"kit-1","item_id":"1"}', b"not json " + CARD.encode())
"""Topic, key, value."""


@asynccontextmanager
async def actors(settings: Settings) -> AsyncIterator[OrderHost]:
    """A process's actors, running; stopped as a clean shutdown does."""
    async with Documents(settings.mongo, settings.mongo_database) as documents:
        host = OrderHost(settings, documents, f"test-{uuid4().hex[:4]}")
        task = asyncio.create_task(host.run())
        try:
            yield host
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def produce(
    settings: Settings, *records: tuple[str, bytes | None, bytes | None], partition: int = 0
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    try:
        await producer.start()  # where it fails, what it has opened is closed all the same
        for topic, key, body in records:
            await producer.send(topic, body, key, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def ends_of(settings: Settings, sources: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Their very ends, not those of the last stable offset: a commit is acknowledged before it shows."""
    anybody = AIOKafkaConsumer(bootstrap_servers=settings.kafka)
    try:
        await anybody.start()
        ends: dict[TopicPartition, int] = await anybody.end_offsets(sources)
        return ends
    finally:
        await anybody.stop()


async def everything(settings: Settings, topic: str) -> list[tuple[str, bytes | None]]:
    """All committed records of a topic, key and value, to its end."""
    sources = [TopicPartition(topic, number) for number in range(settings.partitions)]
    ends = await ends_of(settings, sources)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        consumer.assign(sources)
        found = []
        for source in sources:
            while await consumer.position(source) < ends[source]:
                for batch in (await consumer.getmany(source, timeout_ms=500)).values():
                    found += [(record.key.decode(), record.value) for record in batch]
        return found
    finally:
        await consumer.stop()


async def listed(settings: Settings, number: int) -> None:
    """Wait until there are so many dead letters for a reader: a commit is acknowledged before it shows."""
    letters = Letters(settings)

    async def there() -> bool:
        return len(await letters.newest(100, closed=True)) == number

    await until(there)


async def status_of(settings: Settings, order_id: str) -> str | None:
    async with Documents(settings.mongo, settings.mongo_database) as documents:
        order = await documents.get(order_id)
    return order["orderStatus"] if order else None


def total(host: OrderHost, count: str) -> int:
    return sum(getattr(shard, count) for shard in host.status().shards)


def runs(host: OrderHost, shards: int) -> Any:
    return lambda: host.status().ready and len(host.status().shards) == shards


async def status_is(settings: Settings, status: str) -> bool:
    """Whether this is the status of the order that `tests.given` makes."""
    return await status_of(settings, "kit-1") == status


async def fold_until(settings: Settings, **counts: int) -> None:
    """Run the actors until they have counted so many."""
    async with actors(settings) as host:
        await until(runs(host, settings.partitions))
        for name, count in counts.items():
            await until(partial(_counted, host, name, count))


def _counted(host: OrderHost, name: str, count: int) -> bool:
    return total(host, name) == count
