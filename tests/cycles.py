"""Cycles of one shard's orders without a broker: what goes in, and what would be published."""

from typing import Any

from snacks.actors.order import Outcome
from snacks.actors.orders import Batch, Orders, checkpoints, read
from snacks.actors.orders import aggregates as published


def orders(partition: int = 0, elsewhere: int | None = None) -> Orders:
    return Orders(partition, lambda _order_id, _partition: elsewhere)


class Folded(dict[str, Outcome]):
    """The outcomes of a cycle, with the batch that they come from."""

    def __init__(self, outcomes: dict[str, Outcome], batch: Batch) -> None:
        super().__init__(outcomes)
        self.batch = batch


def aggregates(folded: Folded) -> list[tuple[bytes, bytes | None]]:
    return [(entry.key, entry.value) for entry in published(folded, folded.batch, stored=0)]


async def cycle(
    shard: Orders, records: list[Any], offsets: dict[str, int] | None = None
) -> tuple[Batch, Folded]:
    batch = read(records, offsets or {})
    outcomes = await shard.fold(batch)
    shard.settle(checkpoints(outcomes))
    return batch, Folded(outcomes, batch)
