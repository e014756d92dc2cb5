"""The records of a shard that wait to be folded: bounded in number and in bytes."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from aiokafka import ConsumerRecord

BACKLOG_RECORDS = 12_000
"""Records that may wait in a shard (about 1 KB each); above it the host pauses the shard's partitions."""
CYCLE_BYTES, BACKLOG_BYTES = 32 * 1024 * 1024, 64 * 1024 * 1024
"""Bytes of values, for records that are much larger: of a cycle, and of what waits."""


class Inbox:
    """First in, first out."""

    def __init__(self) -> None:
        self._records: deque[ConsumerRecord] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._records)

    def put(self, records: Sequence[ConsumerRecord]) -> None:
        """They wait now."""
        self._records.extend(records)
        self._bytes += _size(records)

    @property
    def full(self) -> bool:
        """Whether no more should be read for now."""
        return len(self._records) >= BACKLOG_RECORDS or self._bytes >= BACKLOG_BYTES

    def take(self, most: int, offsets: Mapping[str, int], ahead: Mapping[str, int]) -> list[ConsumerRecord]:
        """The first records: up to `most`, and not too many bytes, but at least as far as `ahead`.

        `offsets`: the next ones to fold by topic. `ahead`: the next ones that a former owner's documents
        stand for, which are reached in one step.
        """
        if self._bytes > CYCLE_BYTES:
            most = min(most, _fitting(self._records, CYCLE_BYTES))
        count = _portion(self._records, most, offsets, ahead)
        taken = [self._records.popleft() for _ in range(count)]
        self._bytes -= _size(taken)
        return taken

    def clear(self) -> None:
        """What waits will be read again."""
        self._records.clear()
        self._bytes = 0


def _size(records: Iterable[ConsumerRecord]) -> int:
    """A tombstone counts -1, which does not matter."""
    return sum([record.serialized_value_size for record in records])


def _fitting(waiting: Iterable[ConsumerRecord], most: int) -> int:
    """How many of the first records have up to `most` bytes in all; one at least."""
    count = 0
    for record in waiting:
        most -= record.serialized_value_size
        if most < 0:
            break
        count += 1
    return max(1, count)


def _portion(
    waiting: Collection[ConsumerRecord], most: int, offsets: Mapping[str, int], ahead: Mapping[str, int]
) -> int:
    count = min(len(waiting), most)
    left = {topic for topic, offset in ahead.items() if offsets.get(topic, 0) < offset}
    if not left:
        return count
    for number, record in enumerate(waiting, 1):
        if record.offset + 1 >= ahead.get(record.topic, 0):
            left.discard(record.topic)
            if not left:
                return max(count, number)
    return len(waiting)
