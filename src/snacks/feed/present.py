"""The newest state of every order in the order of its last change, and where each reader stands in it.

One log for all readers: a change moves its order to the end, what it replaces is dropped. A reader is a
position in that log, so what waits for a slow one is at most the newest state of each order, held once for
everybody. Pure but for the futures that readers wait on: it knows no broker and no HTTP.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

import msgspec
from msgspec import Struct

from snacks.domain.values import OrderStatus
from snacks.feed.cursor import Cursor, encode_cursor

OLDEST_CURSOR = 12 * 3_600_000
"""Milliseconds: the broker forgets a tombstone after 24 hours, so older cursors cannot be trusted."""
HISTORY = 8
"""Changes of status remembered of an order, to know who must be told that it left a filter."""
SLACK = 1_024
SCANS_KEPT = 256


class Change(Struct, frozen=True):
    """A record of the aggregate topic. `body` None: the document went; `times` and `body` are JSON.

    `revision` None: the record has none (another engine), and its offset stands for it.
    """

    order_id: str
    partition: int
    offset: int
    published: int
    revision: int | None
    status: str | None = None
    body: str | None = None
    times: str = "{}"


class Held(Struct, frozen=True, gc=False):
    """The newest of one order, encoded once for all readers. `status` None: it is gone."""

    seq: int
    change: Change
    cursor: str
    text: str
    history: tuple[tuple[int, str | None], ...]

    def status_at(self, seq: int) -> str | None:
        """The status that a reader at this position knows, as far back as it is remembered."""
        known = [status for since, status in self.history if since <= seq]
        return known[-1] if known else None


class Reader:
    """Who waits for changes: of one order, or of all if `order_id` is None."""

    def __init__(self, order_id: str | None) -> None:
        self.order_id = order_id
        self.ended = False
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """There may be something to tell."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Wait to be woken. Raises TimeoutError after `seconds`."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        finally:
            self._waiter = None


class Present:
    """What the feed knows now. `finished_orders` bounds the SHIPPED and gone orders that are remembered."""

    def __init__(self, partitions: int, finished_orders: int) -> None:
        self._partitions = partitions
        self._bound = finished_orders
        self.live = False
        self.reason = "the feed has not read the orders yet"
        self.health = 0
        self._all: set[Reader] = set()
        self._of_order: dict[str, set[Reader]] = {}
        self.seq = 0
        self._clear()

    def _clear(self) -> None:
        self.orders: dict[str, Held] = {}
        self._seqs: list[int] = []
        self._log: list[Held | None] = []
        self.applied = [0] * self._partitions
        self._horizon = [-1] * self._partitions
        self._newest = 0
        self._finished = 0
        self._oldest: list[tuple[int, int, str]] = []
        self.let_go = 0
        """The latest position at which an order was let go: a reader before it has missed something."""
        self._scans: dict[Cursor, int | None] = {}

    def __len__(self) -> int:
        """How many subscriptions there are."""
        return len(self._all) + sum(map(len, self._of_order.values()))

    # ── what the feed says ───────────────────────────────────────────────────────────────────────

    def apply(self, changes: Iterable[Change]) -> None:
        """Take records in the order they lie in their partitions; wake who waits for them."""
        before = self.seq
        for change in changes:
            self.passed(change.partition, change.offset, change.published)
            held = self.orders.get(change.order_id)
            if held is None or _newer(change, held.change):
                self._hold(change, held)
                for reader in self._of_order.get(change.order_id, ()):
                    reader.wake()
        if self.seq > before:
            for reader in self._all:
                reader.wake()
        if len(self._seqs) > 2 * len(self.orders) + SLACK:
            self._log = [held for held in self._log if held is not None]
            self._seqs = [held.seq for held in self._log if held is not None]

    def passed(self, partition: int, offset: int, published: int) -> None:
        """A record was seen, whether it means something or not."""
        self.applied[partition] = offset + 1
        self._newest = max(self._newest, published)

    def say(self, *, live: bool, reason: str = "") -> None:
        """Tell every reader that the feed lost the broker, or has it again."""
        if live == self.live:
            return
        self.live, self.reason, self.health = live, reason, self.health + 1
        self._wake_all()

    def end(self) -> None:
        """End every subscription: a shutdown, or the topic was made anew."""
        for reader in self._everybody():
            reader.ended = True
        self._wake_all()

    def forget(self) -> None:
        """The topic was made anew: nothing that was known holds, and no cursor."""
        self.end()
        self._clear()

    def _everybody(self) -> list[Reader]:
        return [*self._all, *(reader for readers in self._of_order.values() for reader in readers)]

    def _wake_all(self) -> None:
        for reader in self._everybody():
            reader.wake()

    def _hold(self, change: Change, before: Held | None) -> None:
        self.seq += 1
        history: tuple[tuple[int, str | None], ...] = ((self.seq, change.status),)
        if before is not None:
            self._drop(before.seq)
            changed = before.change.status != change.status
            history = (before.history + history)[-HISTORY:] if changed else before.history
        cursor = self.cursor()
        held = Held(self.seq, change, cursor, _message(change, cursor), history)
        self.orders[change.order_id] = held
        self._seqs.append(self.seq)
        self._log.append(held)
        self._finished += finished(change) - (before is not None and finished(before.change))
        if finished(change):
            heappush(self._oldest, (change.published, self.seq, change.order_id))
            self._let_go()

    def _drop(self, seq: int) -> None:
        self._log[bisect_left(self._seqs, seq)] = None

    def _let_go(self) -> None:
        """Forget the finished orders beyond the bound, those that were published first."""
        while self._finished > self._bound:
            _, seq, order_id = heappop(self._oldest)
            held = self.orders.get(order_id)
            if held is not None and held.seq == seq:
                del self.orders[order_id]
                self._drop(seq)
                self._finished -= 1
                self.let_go = max(self.let_go, seq)
                at = held.change
                self._horizon[at.partition] = max(self._horizon[at.partition], at.offset)
        if len(self._oldest) > 2 * self._finished + SLACK:  # orders that were finished, and then changed
            self._oldest = [one for one in self._oldest if self._is_newest(one[2], one[1])]
            heapify(self._oldest)

    def _is_newest(self, order_id: str, seq: int) -> bool:
        held = self.orders.get(order_id)
        return held is not None and held.seq == seq

    # ── what readers ask ─────────────────────────────────────────────────────────────────────────

    def cursor(self) -> str:
        """Where a reader stands that has been told everything."""
        return encode_cursor(self._newest, self.applied)

    def reached(self, cursor: Cursor) -> bool:
        """Has this process seen all that the cursor's reader has?"""
        return len(cursor.offsets) == self._partitions and all(
            seen >= offset for seen, offset in zip(self.applied, cursor.offsets, strict=True)
        )

    def start_of(self, cursor: Cursor, now: int) -> int | None:
        """The position from which to look for what the cursor's reader missed; None if it cannot be told.

        `now`: milliseconds since 1970 UTC. The topic may have been made anew, or the cursor is too old, or
        finished orders that it has not seen were let go.
        """
        if not self.reached(cursor) or now - cursor.newest > OLDEST_CURSOR:
            return None
        if any(offset <= gone for offset, gone in zip(cursor.offsets, self._horizon, strict=True)):
            return None
        if cursor not in self._scans:
            while len(self._scans) >= SCANS_KEPT:
                del self._scans[next(iter(self._scans))]
            self._scans[cursor] = self._scan(cursor)
        return self._scans[cursor]

    def _scan(self, cursor: Cursor) -> int | None:
        start: int | None = None
        for held in self._log:
            if held is not None:
                at = held.change
                if at.offset >= cursor.offsets[at.partition]:
                    start = held.seq - 1 if start is None else start
                elif at.published > cursor.newest:
                    return None
        return self.seq if start is None else start

    def join(self, reader: Reader) -> None:
        """The reader is to be woken when there is something for it."""
        if reader.order_id is None:
            self._all.add(reader)
        else:
            self._of_order.setdefault(reader.order_id, set()).add(reader)

    def leave(self, reader: Reader) -> None:
        """The subscription is over."""
        self._all.discard(reader)
        readers = self._of_order.get(reader.order_id or "")
        if readers is not None:
            readers.discard(reader)
            if not readers:
                del self._of_order[reader.order_id or ""]

    def after(self, position: int) -> Iterable[tuple[int, Held | None]]:
        """Positions and what is newest there, from after this one on."""
        for index in range(bisect_right(self._seqs, position), len(self._seqs)):
            yield self._seqs[index], self._log[index]


def _newer(change: Change, held: Change) -> bool:
    """Revisions never step back, unless the order was gone between; offsets stand in for missing ones."""
    if held.status is None:
        return change.status is not None or change.revision != held.revision
    if change.revision is None or held.revision is None or change.revision > held.revision:
        return True
    # The same revision says the same, unless a later version of the program says it otherwise.
    return change.revision == held.revision and (change.status, change.body) != (held.status, held.body)


def finished(change: Change) -> bool:
    """Whether nothing more is to come of the order: it is shipped, or gone."""
    return change.status is None or change.status == OrderStatus.SHIPPED


def _message(change: Change, cursor: str) -> str:
    order_id = msgspec.json.encode(change.order_id).decode()
    revision = change.offset if change.revision is None else change.revision
    if change.status is None:
        return f'{{"type":"gone","orderId":{order_id},"revision":{revision},"cursor":"{cursor}"}}'
    return (
        f'{{"type":"order","orderId":{order_id},"orderStatus":"{change.status}","revision":{revision},'
        f'"cursor":"{cursor}","order":{change.body},"times":{change.times}}}'
    )
