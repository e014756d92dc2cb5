"""What a host's shards get of what its consumer reads, and when it reads on for them."""

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from snacks.actors import consumer as group_consumer
from snacks.actors.shard import Shard


def hand_over(
    shards: Mapping[int, Shard], batch: Mapping[TopicPartition, Sequence[ConsumerRecord]]
) -> dict[TopicPartition, int]:
    """Give the shards their records. Returns the offsets that were expected where later ones came."""
    gaps = {}
    for source, records in batch.items():
        shard = shards.get(source.partition)
        if shard is not None and records:
            expected = shard.inbox.expects(source.topic)
            if shard.running and records[0].offset > expected:
                gaps[source] = expected
            shard.offer(records)
    return gaps


def push_back(shards: Mapping[int, Shard], consumer: AIOKafkaConsumer) -> None:
    """Read on only for shards that keep up: the memory of what waits is bounded."""
    paused = consumer.paused()
    for source in consumer.assignment():
        shard = shards.get(source.partition)
        if shard is None:
            continue
        if not (shard.running and shard.inbox.wants(source.topic)):
            if source not in paused:
                consumer.pause(source)
        elif source in paused:
            consumer.resume(source)


async def pass_gaps(shards: Mapping[int, Shard], consumer: AIOKafkaConsumer) -> None:
    """Tell shards that wait for records that these are no more, or were none: all that came they have."""
    for partition, shard in [(partition, one) for partition, one in shards.items() if one.running]:
        for topic in shard.inbox.behind():
            offset = await group_consumer.position(consumer, TopicPartition(topic, partition))
            if offset is not None and shard.running:
                shard.passed(topic, offset)


def folded(shards: Mapping[int, Shard]) -> dict[TopicPartition, int]:
    """The next offsets that the shards have committed."""
    return {
        TopicPartition(topic, partition): offset
        for partition, shard in shards.items()
        for topic, offset in shard.offsets.items()
        if shard.running
    }
