"""Read stretches of partitions, for tools: committed records, one at a time in memory, in bounded time."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from snacks.config import Settings

WAIT_SECONDS = 15.0
"""How long the broker may stand still. A topic may be long, so there is no limit to the whole."""
LARGEST_FETCH = 8 * 1024 * 1024

Span = tuple[TopicPartition, int, int]
"""A partition, its first offset, and the offset after the last committed record."""


@asynccontextmanager
async def reading(settings: Settings, name: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no group, to be given to the functions here. `name`: its client id.

    Raises:
        KafkaError, TimeoutError: the broker does not answer.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        client_id=name,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=LARGEST_FETCH,
        fetch_max_wait_ms=50,
        request_timeout_ms=int(WAIT_SECONDS * 1000),
    )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await consumer.start()
        yield consumer
    finally:
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await consumer.stop()


async def spans(consumer: AIOKafkaConsumer, topics: Sequence[str], partitions: Iterable[int]) -> list[Span]:
    """These partitions of the topics, with their ends as they are now.

    Raises:
        UnknownTopicOrPartitionError: a topic is not there.
        KafkaError, TimeoutError: the broker does not answer.
    """
    numbers = list(partitions)
    async with asyncio.timeout(WAIT_SECONDS):
        missing = set(topics) - await consumer.topics()
        if missing:
            raise UnknownTopicOrPartitionError(f"there is no topic {', '.join(sorted(missing))}")
        sources = [TopicPartition(topic, number) for topic in topics for number in numbers]
        begins = await consumer.beginning_offsets(sources)
        ends = await consumer.end_offsets(sources)
    return [(source, begins[source], ends[source]) for source in sources]


async def records(
    consumer: AIOKafkaConsumer, source: TopicPartition, start: int, end: int
) -> AsyncIterator[ConsumerRecord]:
    """The committed records from `start` to before `end`. Gaps are read over: the position tells the end.

    Raises:
        TimeoutError: it stands still for WAIT_SECONDS.
    """
    if start >= end:
        return
    consumer.assign([source])
    consumer.seek(source, start)
    clock = asyncio.get_running_loop().time
    position, moved = start, clock()
    while position < end:
        batch = await consumer.getmany(source, timeout_ms=500, max_records=500)
        for record in batch.get(source, ()):
            if record.offset < end:
                yield record
        async with asyncio.timeout(WAIT_SECONDS):
            reached = await consumer.position(source)
        if reached != position:
            position, moved = reached, clock()
        elif clock() - moved > WAIT_SECONDS:
            raise TimeoutError(f"{source.topic}/{source.partition} stands still at offset {position}")
