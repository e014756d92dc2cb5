"""The orders of one shard in memory: most as encoded bytes, the busy ones as actors."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

import structlog
from aiokafka import ConsumerRecord
from msgspec import Struct

from snacks.actors.dead_letters import dead_letters
from snacks.actors.order import OrderActor, Outcome
from snacks.actors.sources import TopicRemade, mark
from snacks.cdc import Truncated, Undecodable, decode, table_of
from snacks.domain.order import NEW, RowChange, decode_state, encode

log = structlog.get_logger(__name__)

ACTIVE_ACTORS = 2_000
"""Actors kept as objects after a cycle, the latest activated; the others are passivated to bytes."""


class Entry(NamedTuple):
    """A record to write; a value of None is a tombstone. Headers are text."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Read(Struct, frozen=True, gc=False):
    """A record and the change that it says. `gc=False`, and no tuple: see `domain/rows.py`."""

    record: ConsumerRecord
    change: RowChange


class Batch(Struct):
    """What a cycle read: changes by order id, refused records, the next offset of each source topic.

    `marks`: what the last record of each topic is known by. `letters`: the dead letters of the refused
    records, once the changes are folded.
    """

    offsets: dict[str, int]
    marks: dict[str, str]
    changes: dict[str, list[Read]]
    refused: list[tuple[ConsumerRecord, str]] = []
    letters: list[Entry] = []
    repeated: int = 0
    folded: int = 0


def read(
    records: Iterable[ConsumerRecord], offsets: Mapping[str, int], marks: Mapping[str, str] | None = None
) -> Batch:
    """Decode records. `offsets`: the next ones to fold by topic; what lies before was folded already.

    Raises:
        TopicRemade: the last one that was folded is not the one with its topic's mark.
    """
    batch = Batch(dict(offsets), dict(marks or {}), defaultdict(list))
    ahead, changes = batch.offsets, batch.changes
    last: dict[str, ConsumerRecord] = {}
    for record in records:
        topic, offset = record.topic, record.offset
        expected = ahead.get(topic, 0)
        if offset < expected:
            if offset == expected - 1 and batch.marks.get(topic, mark(record)) != mark(record):
                raise TopicRemade(topic)
            batch.repeated += 1  # read again after a rebalance
            continue
        ahead[topic] = offset + 1
        last[topic] = record
        table = table_of(topic)
        if table is None:
            continue
        try:
            change = decode(table, record.key, record.value, record.timestamp)
        except Undecodable as error:
            batch.refused.append((record, str(error)))
            continue
        if type(change) is RowChange:
            changes[change.order_id].append(Read(record, change))
        elif isinstance(change, Truncated):
            log.warning(
                "a table was truncated: its rows stay in the documents until compared with MySQL",
                table=table,
                partition=record.partition,
                offset=offset,
            )
    batch.marks.update((topic, mark(record)) for topic, record in last.items())
    return batch


class Orders:
    """States and actors of one shard; knows nothing of topics, transactions or MongoDB."""

    def __init__(self, partition: int, elsewhere: Callable[[str, int], int | None]) -> None:
        """`elsewhere(order_id, partition)` names another shard of this process that has the order."""
        self._partition = partition
        self._elsewhere = elsewhere
        self._states: dict[str, bytes] = {}
        self._actors: dict[str, OrderActor] = {}

    def __len__(self) -> int:
        """How many orders live here."""
        return len(self._states)

    def __contains__(self, order_id: str) -> bool:
        """True if the order lives here."""
        return order_id in self._states or order_id in self._actors

    def restore(self, states: dict[str, bytes]) -> None:
        """Begin from a checkpoint: encoded states by order id."""
        self._states = states
        self._actors.clear()

    async def fold(self, batch: Batch, step: Callable[[], None] = lambda: None) -> dict[str, Outcome]:
        """Deliver each order's changes to its actor; what cannot be folded becomes a dead letter.

        `step` is called after each letter: they take long.
        """
        outcomes: dict[str, Outcome] = {}
        for order_id, reads in batch.changes.items():
            actor = self._actors.get(order_id) or self._activate(order_id)
            if actor is None:
                reason = self._split(order_id)
                batch.refused += [(one.record, reason) for one in reads]
                continue
            refused: list[tuple[RowChange, str]] = []
            outcome = await actor.receive([one.change for one in reads], refused)
            for refusal, reason in refused:
                record = next(one.record for one in reads if one.change is refusal)
                batch.refused.append((record, reason))
            if outcome is not None:
                outcomes[order_id] = outcome
            if outcome is None or outcome.repeat:
                batch.repeated += len(reads) - len(refused)
            else:
                batch.folded += len(reads) - len(refused)
        batch.letters = [Entry(*letter) for letter in await dead_letters(batch.refused, step)]
        return outcomes

    def _activate(self, order_id: str) -> OrderActor | None:
        """The order's actor from its bytes, or a new one; None if the order lives in another shard."""
        encoded = self._states.get(order_id)
        if encoded is None and self._elsewhere(order_id, self._partition) is not None:
            return None
        actor = OrderActor(order_id, NEW if encoded is None else decode_state(encoded))
        self._actors[order_id] = actor
        return actor

    def _split(self, order_id: str) -> str:
        reason = (
            f"order {order_id} lives in partition {self._elsewhere(order_id, self._partition)}, but this "
            f"record came in partition {self._partition}: the connector must route records by order_id"
        )
        log.error("an order came in two partitions", reason=reason)
        return reason

    def settle(self, states: Iterable[Entry]) -> None:
        """Keep what was committed as bytes, and only the latest activated actors as objects."""
        for key, encoded, _ in states:
            if encoded is not None:
                self._states[key.decode()] = encoded
        # Not next(iter()) again and again: it looks at all the gaps that were left at the front.
        for order_id in [*islice(self._actors, max(0, len(self._actors) - ACTIVE_ACTORS))]:
            del self._actors[order_id]


def checkpoints(outcomes: Mapping[str, Outcome]) -> list[Entry]:
    """The checkpoint records of a cycle.

    An order whose rows are all deleted is kept too, a few bytes: its revision must go on growing if its id
    comes again, or documents that a crash left behind would look newer than what is right.
    """
    return [Entry(order_id.encode(), encode(outcome.state)) for order_id, outcome in outcomes.items()]


def aggregates(outcomes: Mapping[str, Outcome], batch: Batch, stored: int) -> list[Entry]:
    """The records to publish: None (a tombstone) for an order that was published and must go.

    Headers tell the revision, and an order's way in milliseconds since 1970 UTC: when its newest row
    `changed` in MySQL, when Debezium `captured` the last record of this cycle, when it was `stored` in
    MongoDB. The record's own timestamp says when it was published.
    """
    at = str(stored).encode()
    return [
        Entry(
            order_id.encode(),
            None if outcome.order is None else encode(outcome.order),
            (
                ("revision", str(outcome.state.revision).encode()),
                ("changed", str(outcome.state.changed).encode()),
                ("captured", str(batch.changes[order_id][-1].record.timestamp).encode()),
                ("stored", at),
            ),
        )
        for order_id, outcome in outcomes.items()
        if outcome.publish and (outcome.order is not None or outcome.tombstone)
    ]
