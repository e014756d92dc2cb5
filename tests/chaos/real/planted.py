"""Bugs that are switched on in the processes under test, one at a time, to see that they are caught."""

from collections.abc import Callable
from typing import Any

from snacks.actors import checkpoint, orders, shard
from snacks.documents import Documents, Emission


def commit_before_write() -> None:
    """The offsets move past documents that are not written yet."""
    emit = shard.Shard._emit

    async def late(self: shard.Shard) -> None:
        records = [self._inbox.popleft() for _ in range(len(self._inbox))]
        batch = orders.read(records, self.offsets)
        outcomes = await self._orders.fold(batch)
        states = orders.checkpoints(outcomes)
        published = orders.aggregates(outcomes, batch, stored=0)
        await self._checkpoint.commit(states, published, batch.letters, batch.offsets)
        self.offsets, self._ahead = batch.offsets, {}
        self._orders.settle(states)
        await emit(self, outcomes, batch.offsets)

    shard.Shard._cycle = late  # type: ignore[method-assign]


def last_writer_wins() -> None:
    """Documents are written whatever their revision, and whoever has claimed them."""
    honest = Documents.emit

    async def emit(self: Documents, emissions: Any, claim: Any = None, ahead: Any = None) -> None:
        newer = [Emission(one.order_id, one.revision + 10**6, one.order) for one in emissions]
        await honest(self, newer, None, ahead)

    Documents.emit = emit  # type: ignore[method-assign]


def reset_to_latest() -> None:
    """Who restores reads on from the end, not from where its checkpoint says."""
    restore = checkpoint.Checkpoint.restore

    async def latest(self: checkpoint.Checkpoint, progress: Any) -> Any:
        restored = await restore(self, progress)
        restored.offsets = dict.fromkeys(restored.offsets, 2**60)
        return restored

    checkpoint.Checkpoint.restore = latest  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    "commit before write": commit_before_write,
    "last writer wins": last_writer_wins,
    "reset to latest": reset_to_latest,
}
