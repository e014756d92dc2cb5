"""Bugs to plant in the application, one at a time: what a proof that cannot fail would let pass.

Each is a patch of one name, for a test only. `HISTORIES` of them must be enough to find every one.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from unittest.mock import patch

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace
from tests.chaos.model import kafka
from tests.chaos.model.virtual import RUNNING

from snacks import claims, documents
from snacks.actors import checkpoint, host, inbox, orders, shard
from snacks.actors import consumer as group_consumer
from snacks.cdc.topics import CHECKPOINTS, DEAD_LETTERS
from snacks.domain import fold, projection
from snacks.domain.order import NEW, encode

# ── the cycle and its commit ─────────────────────────────────────────────────────────────────────


async def _commit_before_write(self: Any) -> None:
    records = self.inbox.take(len(self.inbox))
    batch = orders.read(records, self.offsets)
    outcomes = await self._orders.fold(batch)
    states = orders.checkpoints(outcomes)
    await self._checkpoint.commit(
        states, orders.aggregates(outcomes, batch, stored=0), batch.letters, batch.offsets, batch.marks
    )
    self.offsets, self._marks = batch.offsets, batch.marks
    self._orders.settle(states)
    await self._emit(outcomes, batch.offsets)


_commit = checkpoint.Checkpoint.commit


async def _states_and_offsets_apart(
    self: Any, states: Any, aggregates: Any, letters: Any, *read: Any
) -> None:
    await _commit(self, [], (), (), *read)
    await _commit(self, states, aggregates, letters, *read)


async def _letters_outside(self: Any, states: Any, aggregates: Any, letters: Any, *read: Any) -> None:
    broker = self._producer.broker
    for key, value, _ in letters:
        source = TopicPartition(DEAD_LETTERS, self.partition)
        await self._producer.call("produce", partial(broker.partition(source).put, source, key, value, 0))
    await _commit(self, states, aggregates, (), *read)


async def _time_out_is_success(self: Any, states: Any, aggregates: Any, letters: Any, *read: Any) -> None:
    with suppress(TimeoutError, KafkaError):
        await _commit(self, states, aggregates, letters, *read)


async def _commits_again(self: Any, states: Any, aggregates: Any, letters: Any, *read: Any) -> None:
    """A time-out is taken for a failure, and the same is committed again by the same producer."""
    entries = (list(states), list(aggregates), list(letters), *read)
    try:
        await _commit(self, *entries)
    except (TimeoutError, KafkaError):
        await _commit(self, *entries)


def _no_tombstones(outcomes: Any, batch: Any, stored: int) -> Any:
    return [entry for entry in _aggregates(outcomes, batch, stored) if entry.value is not None]


def _forgets_revisions(outcomes: Any) -> Any:
    states = {order_id: outcome.state for order_id, outcome in outcomes.items()}
    return [
        orders.Entry(order_id.encode(), encode(NEW if outcome.tombstone else states[order_id]))
        for order_id, outcome in outcomes.items()
    ]


_aggregates = orders.aggregates


# ── fences, restore, hand-over ───────────────────────────────────────────────────────────────────


class _IdOfItsOwn(kafka.Producer):
    def __init__(self, *, transactional_id: str, **more: Any) -> None:
        name, _, partition = transactional_id.rpartition("-")
        process = RUNNING.get()
        super().__init__(transactional_id=f"{name}-{process.name}-{partition}", **more)  # type: ignore[union-attr]


class _Uncommitted(kafka.Consumer):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"isolation_level": "read_uncommitted"})


async def _stops_at_a_gap(self: Any, progress: Any) -> Any:
    broker = kafka.Consumer(group_id=None).broker
    slots = broker.partition(TopicPartition(CHECKPOINTS, self.partition)).slots
    restored = await _restore(self, progress)
    kept: dict[str, bytes] = {}
    for expected, slot in enumerate(slots):
        if slot.offset != expected:
            break
        if slot.record is not None and slot.record.key.decode() in restored.states:
            kept[slot.record.key.decode()] = restored.states[slot.record.key.decode()]
    return checkpoint.Restored(kept, restored.offsets)


async def _restores_offsets_only(self: Any, progress: Any) -> Any:
    return checkpoint.Restored({}, (await _restore(self, progress)).offsets)


_restore = checkpoint.Checkpoint.restore


def _keeps_state(self: Any, states: Any) -> None:
    """Actors go on with what they folded, committed or not."""
    self._states = states


async def _revokes_at_once(self: Any, _revoked: Any) -> None:
    drain, self._shards = self._shards, {}
    for one in drain.values():
        asyncio.get_running_loop().call_later(0.5, one.drain)
    self._tasks = {}


# ── where to read on from ────────────────────────────────────────────────────────────────────────

_start_reading = host.OrderHost._start_reading


async def _from_the_latest(self: Any, partition: int, offsets: Any) -> Any:
    sources = [source for source in self._consumer.assignment() if source.partition == partition]
    ends = {source.topic: end for source, end in (await self._consumer.end_offsets(sources)).items()}
    return await _start_reading(self, partition, ends | offsets)


async def _from_the_group(self: Any, partition: int, offsets: Any) -> Any:
    sources = [source for source in self._consumer.assignment() if source.partition == partition]
    held = {source.topic: await self._consumer.committed(source) for source in sources}
    return await _start_reading(self, partition, {name: offset or 0 for name, offset in held.items()})


async def _forgets_what_drains(self: Any) -> None:
    """A rebalance finds nothing left to drain while the shards still finish their cycles for who leaves."""
    self._draining = []
    await _drain(self)


_drain = host.OrderHost._drain


class _AutoCommit(kafka.Consumer):
    """The group's offsets are those of the last fetch, and reading goes on from there."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"enable_auto_commit": True})

    def seek(self, source: Any, offset: int) -> None:
        if self._group_id is None:
            super().seek(source, offset)


async def _does_not_seek(self: Any, partition: int, offsets: Any) -> Any:
    """After an error the shard goes on with what the consumer has not given out yet."""
    consumer = self._consumer
    sources = [one for one in consumer.assignment() if one.partition == partition]
    taken = {one.topic: await consumer.position(one) for one in sources}
    return taken, {}


# ── MongoDB ──────────────────────────────────────────────────────────────────────────────────────


async def _no_claim(_self: Any, claim: Any, ahead: Any, session: Any) -> None:
    mine = {"_id": claim.shard}
    await _self._claims.update_one(mine, {"$set": {"ahead": list(ahead.items())}}, session=session)


async def _epoch_not_raised(self: Any, shard_number: int) -> Any:
    claim = await _take(self, shard_number)
    await self._claims.find_one_and_update({"_id": shard_number}, {"$set": {"epoch": 1}})
    return msgspec_replace(claim, epoch=1)


_take = claims.Claims.take
msgspec_replace = replace


async def _last_writer_wins(self: Any, emissions: Any, claim: Any, ahead: Any, session: Any) -> None:
    """Neither claim nor revision: who writes last has it."""
    del claim, ahead
    collection = self.model.get_pymongo_collection()
    ids = [one.order_id for one in emissions]
    found = collection.find({"_id": {"$in": ids}}, {}, session=session, batch_size=1)
    stored = {one["_id"] async for one in found}
    operations = [documents._operation(one, exists=one.order_id in stored) for one in emissions]
    await collection.bulk_write(operations, ordered=False, session=session)


_emit = documents.Documents.emit


async def _unavailable_is_ignored(self: Any, emissions: Any, claim: Any = None, ahead: Any = None) -> None:
    with suppress(documents.DocumentsUnavailable):
        await _emit(self, emissions, claim, ahead)


async def _ahead_is_not_kept(self: Any, emissions: Any, claim: Any = None, _ahead: Any = None) -> None:
    await _emit(self, emissions, claim, {})


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


def _loses_bytes(self: Any, states: Any) -> None:
    """An order is passivated while its newest bytes are still on their way."""
    _settle(self, list(states)[1:])
    self._actors.clear()


_settle = orders.Orders.settle


def _clock(_state: Any) -> str:
    return f"2026-01-01T00:00:{int(asyncio.get_running_loop().time()) % 60:02}"


def _reads_again(records: Any, offsets: Any, _marks: Any) -> Any:
    """Records before the checkpoint's offsets are not left out."""
    return _read(records, dict.fromkeys(offsets, 0))


_read = orders.read


def _equal_times_are_news(change: Any, held: Any) -> bool:
    older = change.position is not None and held.position is not None and change.position < held.position
    return older and change.at < (held.seen or held.at)


PLANTED: dict[str, tuple[Any, str, Any]] = {
    "commit before write": (shard.Shard, "_cycle", _commit_before_write),
    "states and offsets in two transactions": (checkpoint.Checkpoint, "commit", _states_and_offsets_apart),
    "dead letters outside the transaction": (checkpoint.Checkpoint, "commit", _letters_outside),
    "a commit without an answer taken for done": (checkpoint.Checkpoint, "commit", _time_out_is_success),
    "a commit without an answer done again": (checkpoint.Checkpoint, "commit", _commits_again),
    "skipped tombstones": (shard, "aggregates", _no_tombstones),
    "revision forgotten on deletion": (shard, "checkpoints", _forgets_revisions),
    "no fence": (checkpoint, "AIOKafkaProducer", _IdOfItsOwn),
    "restore reads uncommitted records": (checkpoint, "AIOKafkaConsumer", _Uncommitted),
    "restore stops at the first gap": (checkpoint.Checkpoint, "restore", _stops_at_a_gap),
    "restore forgets the states": (checkpoint.Checkpoint, "restore", _restores_offsets_only),
    "state kept after a failed commit": (orders.Orders, "restore", _keeps_state),
    "shard revoked and not drained": (host.OrderHost, "on_partitions_revoked", _revokes_at_once),
    "offsets reset to the latest": (host.OrderHost, "_start_reading", _from_the_latest),
    "offsets of the group, not of the checkpoint": (host.OrderHost, "_start_reading", _from_the_group),
    "auto-commit": (group_consumer, "AIOKafkaConsumer", _AutoCommit),
    "no seek after an error": (host.OrderHost, "_start_reading", _does_not_seek),
    "no claim in MongoDB": (claims.Claims, "check", _no_claim),
    "epoch of a claim not raised": (claims.Claims, "take", _epoch_not_raised),
    "last writer wins": (documents.Documents, "_write", _last_writer_wins),
    "MongoDB's errors ignored": (documents.Documents, "emit", _unavailable_is_ignored),
    "how far the documents are not kept": (documents.Documents, "emit", _ahead_is_not_kept),
    "writes before it has read as far": (inbox.Inbox, "caught_up", True),
    "passivation race": (orders.Orders, "settle", _loses_bytes),
    "repeats of a transaction": (fold, "_older", _equal_times_are_news),
    "clock as modifiedDate": (projection, "_timestamp", _clock),
    "records folded twice": (shard, "read", _reads_again),
}
"""By name: whose attribute, which, and what is put there."""

MENDED: dict[str, tuple[Any, str, Any]] = {
    "what drains forgotten": (host.OrderHost, "_drain", _forgets_what_drains),
}
"""Bugs that the histories once found, too rare to be searched for: a pinned seed holds each."""


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The application with this bug. Within `simulated()`."""
    with patch.object(*(PLANTED | MENDED)[bug]):
        yield
