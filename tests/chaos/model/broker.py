"""The broker that everybody shares: partitions with gaps, transactions with fences, a group's offsets.

Everything here happens at once, in the broker. What it takes to ask for it is `net.py`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import ProducerFenced

AGAIN = object()
"""The answer of a server that is not ready for the request: ask it again a moment later."""

Headers = tuple[tuple[str, bytes], ...]


@dataclass(slots=True, eq=False)
class Transaction:
    """`state`: open, ending (acknowledged, but not to be seen yet), committed, aborted."""

    expires: float
    state: str = "open"
    sources: dict[TopicPartition, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Producer:
    epoch: int = 0
    transaction: Transaction | None = None


class Slot(NamedTuple):
    """A place in a partition. `record` None: a marker of a transaction, which no consumer is given."""

    offset: int
    record: ConsumerRecord | None
    transaction: Transaction | None = None


class Partition:
    """The log of one partition of one topic."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.end = 0
        self.undecided: dict[Transaction, None] = {}
        """Transactions that have written here and are neither committed nor aborted."""

    def put(
        self,
        source: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        at: int,
        *,
        headers: Headers = (),
        transaction: Transaction | None = None,
    ) -> None:
        """A record, within a transaction or without one."""
        if transaction is not None:
            self.undecided[transaction] = None
        record = ConsumerRecord(
            *source, self.end, at, 0, key, value, None, len(key or b""), len(value or b""), headers
        )
        self.slots.append(Slot(self.end, record, transaction))
        self.end += 1

    def mark(self, transaction: Transaction) -> None:
        """The marker that ends a transaction takes an offset too."""
        self.undecided.pop(transaction, None)
        self.slots.append(Slot(self.end, None, transaction))
        self.end += 1

    @property
    def stable(self) -> int:
        """The last stable offset: before it nothing is undecided."""
        if self.undecided:
            for slot in self.slots:
                if slot.transaction in self.undecided:
                    return slot.offset
        return self.end

    def read(self, start: int, most: int, *, committed: bool) -> tuple[list[ConsumerRecord], int]:
        """Up to `most` records from `start` on, and the position after them."""
        end = self.stable if committed else self.end
        found: list[ConsumerRecord] = []
        position = start
        for slot in self.slots[bisect_left(self.slots, start, key=lambda slot: slot.offset) :]:
            if slot.offset >= end or len(found) >= most:
                break
            position = slot.offset + 1
            aborted = slot.transaction is not None and slot.transaction.state == "aborted"
            if slot.record is not None and not (committed and aborted):
                found.append(slot.record)
        return found, position

    def committed(self) -> list[ConsumerRecord]:
        """Everything, as who reads committed records sees it."""
        return self.read(0, self.end, committed=True)[0]

    def compact(self) -> None:
        """Keep the newest committed record of each key, and the end. Offsets stay: gaps are left."""
        stable, newest = self.stable, {}
        for slot in self.slots:
            if slot.record is not None and (
                slot.transaction is None or slot.transaction.state == "committed"
            ):
                newest[slot.record.key] = slot.offset
        self.slots = [
            slot
            for slot in self.slots
            if slot.offset >= min(stable, self.end - 1)
            or (slot.record is not None and newest.get(slot.record.key) == slot.offset)
        ]


class Broker:
    """Partitions, transactional ids, and the offsets that a group has committed."""

    def __init__(self) -> None:
        self.partitions: dict[TopicPartition, Partition] = {}
        self.group_offsets: dict[TopicPartition, int] = {}
        self._producers: dict[str, _Producer] = {}

    def partition(self, source: TopicPartition) -> Partition:
        """The partition, made when first asked for."""
        found = self.partitions.get(source)
        if found is None:
            found = self.partitions[source] = Partition()
        return found

    def init(self, transactional_id: str, now: float) -> int | object:
        """InitProducerId: the new epoch. It fences older ones of the id and aborts their transaction."""
        producer = self._producers.setdefault(transactional_id, _Producer())
        self._expire(producer, now)
        open_ = producer.transaction
        if open_ is not None and open_.state == "ending":
            return AGAIN
        producer.epoch += 1
        if open_ is not None and open_.state == "open":
            self._finish(open_, "aborted")
        return producer.epoch

    def produce(
        self,
        transactional_id: str,
        epoch: int,
        source: TopicPartition,
        entries: Iterable[tuple[bytes, bytes | None, Headers]],
        *,
        expires: float,
        now: float,
    ) -> object:
        """Records within the producer's transaction, which begins with the first of them."""
        producer = self._present(transactional_id, epoch, now)
        transaction = producer.transaction
        if transaction is not None and transaction.state == "ending":
            return AGAIN
        if transaction is None or transaction.state != "open":
            transaction = producer.transaction = Transaction(expires)
        transaction.sources[source] = None
        for key, value, headers in entries:
            self.partition(source).put(
                source, key, value, int(now * 1000), headers=headers, transaction=transaction
            )
        return None

    def commit(self, transactional_id: str, epoch: int, now: float) -> Transaction | None:
        """EndTxn: decided, though not to be seen before `show`. None if nothing was written."""
        transaction = self._present(transactional_id, epoch, now).transaction
        if transaction is None or transaction.state != "open":
            return None
        transaction.state = "ending"
        return transaction

    def show(self, transaction: Transaction) -> None:
        """Write the markers: who reads committed records sees them now."""
        self._finish(transaction, "committed")

    def commit_group(self, offsets: Mapping[TopicPartition, int]) -> None:
        """A group's offsets, as its members, and whoever claims to be one, commit them."""
        self.group_offsets.update(offsets)

    def _present(self, transactional_id: str, epoch: int, now: float) -> _Producer:
        producer = self._producers[transactional_id]
        self._expire(producer, now)
        if producer.epoch != epoch:
            raise ProducerFenced
        return producer

    def _expire(self, producer: _Producer, now: float) -> None:
        transaction = producer.transaction
        if transaction is not None and transaction.state == "open" and transaction.expires < now:
            producer.epoch += 1
            self._finish(transaction, "aborted")

    def _finish(self, transaction: Transaction, state: str) -> None:
        transaction.state = state
        for source in transaction.sources:
            self.partition(source).mark(transaction)
