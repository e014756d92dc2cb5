"""A feed without a broker: a topic's changes, the present state that they make, and what a reader is told."""

import json
from collections.abc import Iterable
from typing import Any

from snacks.domain.values import OrderStatus
from snacks.feed import Change, Present, Subscription, subscribe

NOW = 1_767_225_600_000
PARTITIONS = 2
MANY = 10_000


class Topic:
    """Gives changes their offsets, as the aggregate topic would; an order lies in one partition."""

    def __init__(self) -> None:
        self.records: list[Change] = []
        self._revisions: dict[str, int] = {}

    def put(self, order_id: str, status: str | None, revision: int | None = -1, at: int = NOW) -> Change:
        """`revision` -1: the order's next one; None: a record without."""
        partition = sum(order_id.encode()) % PARTITIONS
        offset = 2 * sum(one.partition == partition for one in self.records)  # with gaps
        if revision == -1:
            revision = self._revisions[order_id] = self._revisions.get(order_id, 0) + 1
        body = None if status is None else json.dumps({"orderId": order_id})
        change = Change(order_id, partition, offset, at, revision, status, body)
        self.records.append(change)
        return change

    def by_partition(self) -> list[Change]:
        """As a process reads them that starts late: one partition after the other."""
        return sorted(self.records, key=lambda change: (change.partition, change.offset))


def knowing(changes: Iterable[Change], finished: int = MANY) -> Present:
    present = Present(PARTITIONS, finished)
    present.apply(changes)
    present.say(live=True)
    return present


def reading(
    present: Present, order_id: str | None = None, status: OrderStatus | None = None, cursor: str = ""
) -> Subscription:
    return subscribe(present, order_id, status, cursor, NOW)


async def told(reader: Subscription) -> list[dict[str, Any]]:
    """Everything that waits for it now."""
    messages: list[dict[str, Any]] = []
    while more := await reader.next(0):
        messages += map(json.loads, more)
    return messages


def brief(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (m["type"], *([m["orderId"]] if "orderId" in m else []), *filter(None, [m.get("orderStatus")]))
        for m in messages
    ]
