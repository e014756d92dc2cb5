"""The member of the consumer group: how it is made, where it reads, and how it goes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from snacks.actors.closing import ended
from snacks.actors.sources import TopicRemade
from snacks.actors.watchdog import Stalled
from snacks.cdc.topics import CDC_TOPICS
from snacks.config import Settings

log = structlog.get_logger(__name__)

HEARTBEAT = 1.0
SHORTLY = 2.0
"""Seconds for what is asked between two polls: all shards wait meanwhile."""

StartReading = Callable[[int, dict[str, int]], Awaitable[tuple[dict[str, int], dict[str, int]]]]
"""Makes the consumer read a shard's partitions from these next offsets by topic on. Returns those that it
took (records may be gone), and the ends of the topics now."""


def member(
    settings: Settings, listener: ConsumerRebalanceListener, client_id: str, instance: str | None
) -> AIOKafkaConsumer:
    """A consumer of the CDC topics, not started; each default that would lose, skip or split is replaced."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        client_id=client_id,
        group_id=settings.group_id,
        group_instance_id=instance,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        # aiokafka's default, round robin, splits topics that are partitioned alike.
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=int(settings.session_timeout * 1000),
        heartbeat_interval_ms=int(HEARTBEAT * 1000),
        rebalance_timeout_ms=int((settings.drain_timeout + settings.session_timeout) * 1000),
        fetch_max_wait_ms=20,  # longer starves topics that drain unevenly
        metadata_max_age_ms=15_000,  # a topic that was made anew is found within that time, not 5 minutes
    )
    consumer.subscribe(CDC_TOPICS, listener=listener)
    return consumer


async def seek(
    consumer: AIOKafkaConsumer, partition: int, offsets: dict[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Read a shard's partitions from these next offsets by topic on, else from the beginning.

    Returns the offsets that were taken (records may be gone: that is said loudly), and the topics' ends now.
    Nothing is awaited after the seek: the caller's next step comes before any record.
    """
    taken: dict[str, int] = {}
    sources = [TopicPartition(topic, partition) for topic in CDC_TOPICS]
    begins = await consumer.beginning_offsets(sources)
    ends = await consumer.end_offsets(sources)
    for source in sources:
        offset = offsets.get(source.topic, begins[source])
        if not begins[source] <= offset <= ends[source]:
            log.error(
                "records are missing between the checkpoint and the topic: compare with MySQL",
                topic=source.topic,
                partition=partition,
                next_offset=offset,
                begin=begins[source],
                end=ends[source],
            )
            offset = begins[source]
        taken[source.topic] = offset
        if source in consumer.assignment():
            consumer.seek(source, offset)
    return taken, {source.topic: end for source, end in ends.items()}


async def position(consumer: AIOKafkaConsumer, source: TopicPartition) -> int | None:
    """The offset before which all was delivered or is no more; None if that is not known now."""
    try:
        async with asyncio.timeout(SHORTLY):
            offset: int = await consumer.position(source)
    except (KafkaError, TimeoutError):
        return None
    return offset


async def tell_missing(consumer: AIOKafkaConsumer, gaps: Mapping[TopicPartition, int]) -> None:
    """Say loudly that records were deleted before they were read: aiokafka reads on at the first one left.

    `gaps`: the offsets that were expected where later ones came. The marks of a connector's transactions
    leave such gaps too; then the topic still begins before them.
    """
    try:
        async with asyncio.timeout(SHORTLY):
            begins = await consumer.beginning_offsets(gaps)
    except (KafkaError, TimeoutError) as error:
        log.warning("offsets were skipped, and it is not known why", error=repr(error))
        return
    for source, offset in gaps.items():
        if begins[source] > offset:
            log.error(
                "records were deleted before they were read: compare with MySQL",
                topic=source.topic,
                partition=source.partition,
                next_offset=offset,
                begin=begins[source],
            )


def lag(consumer: AIOKafkaConsumer, partition: int, offsets: Mapping[str, int]) -> int:
    """How many records lie behind a shard's next offsets by topic, as far as the last fetches told."""
    behind = 0
    for topic in CDC_TOPICS:
        source = TopicPartition(topic, partition)
        if source in consumer.assignment():
            behind += max(0, (consumer.highwater(source) or 0) - offsets.get(topic, 0))
    return behind


async def close(consumer: AIOKafkaConsumer, within: float, *, leave: bool) -> None:
    """Close all of a consumer in about `within` seconds, whatever hangs.

    `leave`: tell the group, so that it hands the shards over at once. aiokafka does not do so for a static
    member, and they would lie idle until its session times out. One that is about to come back stays.

    aiokafka closes coordinator, fetcher and connections one after the other. Without a broker the first of
    them hangs, and the others would go on for ever: so each is closed here.
    """
    coordinator = consumer._coordinator  # noqa: SLF001  (there is no public way to leave, or to close a part)
    if coordinator is None:  # it was not started
        await ended(consumer.stop(), within)
        return
    if leave:
        coordinator._group_instance_id = None  # noqa: SLF001
    if _asks_no_more(consumer):  # its error would keep the connections from being closed
        consumer._client._sync_task = None  # noqa: SLF001
    if await ended(consumer.stop(), within):
        return
    log.warning("the consumer did not stop well and in time; its parts are closed one by one")
    background = [
        coordinator._coordination_task,  # noqa: SLF001
        coordinator._heartbeat_task,  # noqa: SLF001
        coordinator._commit_refresh_task,  # noqa: SLF001
    ]
    for task in filter(None, background):
        task.cancel()
    for part in (consumer._fetcher.close, consumer._client.close):  # noqa: SLF001
        await ended(part(), within)


def check_alive(consumer: AIOKafkaConsumer) -> None:
    """Notice that aiokafka asks for metadata no more: it still fetches, but waits for ever when it must look.

    Raises:
        Stalled: so it is; a new consumer is the remedy.
    """
    if _asks_no_more(consumer):
        raise Stalled("aiokafka asks for metadata no more")


def _asks_no_more(consumer: AIOKafkaConsumer) -> bool:
    asking = consumer._client._sync_task  # noqa: SLF001  (it tells nobody that it has ended)
    return asking is not None and asking.done()


def check_ends(consumer: AIOKafkaConsumer, folded: Mapping[int, Mapping[str, int]]) -> None:
    """Notice a topic that was made anew while it is read: aiokafka begins again without a word.

    `folded`: the next offsets by partition and topic.

    Raises:
        TopicRemade: it has fewer records than were folded.
    """
    for partition, offsets in folded.items():
        for topic, offset in offsets.items():
            source = TopicPartition(topic, partition)
            end = consumer.highwater(source) if source in consumer.assignment() else None
            if end is not None and end < offset:
                raise TopicRemade(topic)
