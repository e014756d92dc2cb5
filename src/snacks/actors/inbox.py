"""The records of a shard that wait to be folded: bounded in number and in bytes."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog
from aiokafka import ConsumerRecord

BACKLOG_RECORDS = 12_000
"""Records that may wait in a shard (about 1 KB each); above it the host pauses the shard's partitions."""
CYCLE_BYTES, BACKLOG_BYTES = 32 * 1024 * 1024, 64 * 1024 * 1024
"""Bytes of keys and values, for records that are much larger: of a cycle, and of what waits."""

FAR_AHEAD = 30_000
"""More records than this are no cycle that a dead owner did not commit, but topics that lost records or were
made anew: they would not fit into memory, nor into a transaction."""

log = structlog.get_logger(__name__)


class Inbox:
    """First in, first out; it knows which records come next, and how far the first cycle must go."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._records: deque[ConsumerRecord] = deque()
        self._bytes = 0
        self._next: dict[str, int] = {}
        self._ahead: dict[str, int] = {}

    def begin(self, offsets: Mapping[str, int], ahead: Mapping[str, int], ends: Mapping[str, int]) -> None:
        """Wait for records from these next offsets by topic on; those that waited will be read again.

        `ahead`: the next offsets that the documents in MongoDB stand for, those of a cycle that a dead owner
        did not commit. They are reached in one cycle: to write less would step back. `ends`: of the topics.
        """
        self.clear()
        self._next = dict(offsets)
        reached = {topic: min(offset, ends.get(topic, 0)) for topic, offset in ahead.items()}
        self._ahead = {topic: offset for topic, offset in reached.items() if offset > self.expects(topic)}
        lost = {topic: offset for topic, offset in ahead.items() if offset > ends.get(topic, 0)}
        if lost:
            log.error(
                "MongoDB holds records that the topic has lost: compare with MySQL",
                shard=self._shard,
                next=lost,
            )
        records = sum(offset - self.expects(topic) for topic, offset in self._ahead.items())
        if records > FAR_AHEAD:
            self._ahead = {}
            log.error(
                "MongoDB is far ahead of the checkpoint, so orders step back for now: compare with MySQL",
                shard=self._shard,
                records=records,
            )

    def __len__(self) -> int:
        """How many wait."""
        return len(self._records)

    def put(self, records: Sequence[ConsumerRecord]) -> None:
        """These of one topic wait now."""
        if records:
            self._records.extend(records)
            self._bytes += _size(records)
            self._next[records[-1].topic] = records[-1].offset + 1

    def expects(self, topic: str) -> int:
        """The offset of the topic's record that comes next."""
        return self._next.get(topic, 0)

    def behind(self) -> list[str]:
        """The topics of which not all came that a former owner wrote to MongoDB and did not commit."""
        return [topic for topic, offset in self._ahead.items() if self.expects(topic) < offset]

    def passed(self, topic: str, offset: int) -> None:
        """Before this offset nothing comes any more: records were deleted, or there never were any."""
        self._next[topic] = max(self.expects(topic), offset)

    @property
    def caught_up(self) -> bool:
        """Whether all that a former owner wrote to MongoDB and did not commit waits here, or was taken."""
        return not self.behind()

    @property
    def full(self) -> bool:
        """Whether no more should be read for now, except what is needed to catch up."""
        return len(self._records) >= BACKLOG_RECORDS or self._bytes >= BACKLOG_BYTES

    def wants(self, topic: str) -> bool:
        """Whether more of the topic should be read now."""
        return not self.full or self.expects(topic) < self._ahead.get(topic, 0)

    def take(self, most: int) -> list[ConsumerRecord]:
        """The first records: up to `most`, and not too many bytes, but as far as what is `ahead`."""
        if self._bytes > CYCLE_BYTES:
            most = min(most, _fitting(self._records, CYCLE_BYTES))
        count = _portion(self._records, most, self._ahead)
        taken = [self._records.popleft() for _ in range(count)]
        self._bytes -= _size(taken)
        self._ahead = {}
        return taken

    def clear(self) -> None:
        """What waits will be read again."""
        self._records.clear()
        self._bytes = 0


def _size(records: Iterable[ConsumerRecord]) -> int:
    """What is absent counts -1, which does not matter."""
    return sum([record.serialized_key_size + record.serialized_value_size for record in records])


def _fitting(waiting: Iterable[ConsumerRecord], most: int) -> int:
    """How many of the first records have up to `most` bytes in all; one at least."""
    count = 0
    for record in waiting:
        most -= record.serialized_key_size + record.serialized_value_size
        if most < 0:
            break
        count += 1
    return max(1, count)


def _portion(waiting: Collection[ConsumerRecord], most: int, ahead: Mapping[str, int]) -> int:
    count = min(len(waiting), most)
    left = set(ahead)
    if not left:
        return count
    for number, record in enumerate(waiting, 1):
        if record.offset + 1 >= ahead.get(record.topic, 0):
            left.discard(record.topic)
            if not left:
                return max(count, number)
    return len(waiting)
