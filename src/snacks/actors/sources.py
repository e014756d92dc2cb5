"""Is a source topic the one that was read before? Made anew, it has other records at the same offsets."""

from collections.abc import Mapping
from hashlib import blake2b

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from snacks.cdc import reading


class TopicRemade(Exception):  # noqa: N818  (a fact about a topic, named like one)
    """A topic has other records at the offsets that were read: somebody deleted it and made it anew."""


def mark(record: ConsumerRecord) -> str:
    """What a record is known by again: its time, and a digest of its key and value."""
    content = blake2b(record.key or b"", digest_size=8)
    content.update(b"\x00" + (record.value or b""))
    return f"{record.timestamp} {content.hexdigest()}"


async def remade(
    consumer: AIOKafkaConsumer, partition: int, offsets: Mapping[str, int], marks: Mapping[str, str]
) -> list[str]:
    """The topics whose record before the next offset to read is not the one with this mark.

    `consumer` is of no group, and is assigned to them. A record that is not there any more tells nothing;
    who reads on from an offset that a topic does not have is told so by the broker.

    Raises:
        KafkaError, TimeoutError: the broker does not answer.
    """
    last = {
        TopicPartition(topic, partition): offsets[topic] - 1 for topic in marks if offsets.get(topic, 0) > 0
    }
    if not last:
        return []
    begins, ends = await consumer.beginning_offsets(last), await consumer.end_offsets(last)
    found = []
    for source, offset in last.items():
        if begins[source] <= offset < ends[source]:
            async for record in reading.records(consumer, source, offset, offset + 1):
                if mark(record) != marks[source.topic]:
                    found.append(source.topic)  # noqa: PERF401  (one record at most)
    return found
