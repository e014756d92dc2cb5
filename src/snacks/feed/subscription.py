"""One reader's way through the present: the state as it is, then each change, without a gap or a repeat."""

import asyncio
from typing import Self

import msgspec

from snacks.domain.values import OrderStatus
from snacks.feed.cursor import Cursor, decode_cursor, encode_cursor
from snacks.feed.present import Held, Present, Reader, finished

BATCH_MESSAGES = 64
BATCH_CHARACTERS = 256 * 1024
"""What a reader takes at once, and so all that is held for it alone while it is slow."""


class Ended(Exception):  # noqa: N818  (a state, named like one)
    """The stream ends here: the client is to come back."""


def subscribe(
    present: Present, order_id: str | None, status: OrderStatus | None, cursor: str, now: int
) -> "Subscription":
    """A reader from the cursor on; from the present state on if the cursor is none that can be resumed.

    `now` is in milliseconds since 1970 UTC. Close it in every case, or use it as a context.
    """
    seen = decode_cursor(cursor)
    start = None if seen is None else present.start_of(seen, now)
    reader = Subscription(present, order_id, status, None if start is None else seen, start or 0)
    present.join(reader)
    return reader


class Subscription(Reader):
    """One reader's place. `order_id` None: all orders; `status` None: whatever their status."""

    def __init__(
        self,
        present: Present,
        order_id: str | None,
        status: OrderStatus | None,
        resumed: Cursor | None,
        position: int,
    ) -> None:
        super().__init__(order_id)
        self._present = present
        self._status = status
        self._resumed = resumed
        self._position = position
        self._head = present.seq
        self._cursor = (
            encode_cursor(0, []) if resumed is None else encode_cursor(resumed.newest, list(resumed.offsets))
        )
        self._hello = True
        self._current = False
        self._health = present.health
        held = None if order_id is None else present.orders.get(order_id)
        self._open = held is not None and not finished(held.change)
        # What was let go before a new reader need not know, and a cursor that missed it is not resumed.
        self._let_go = present.seq if resumed is None else present.let_go

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close; see `close`."""
        self.close()

    def close(self) -> None:
        """No more is wanted; closing it again does nothing."""
        self._present.leave(self)

    async def next(self, timeout: float | None = None) -> list[str]:  # noqa: ASYNC109  (it is what it says)
        """The next messages, JSON, at least one; none if nothing came within `timeout` seconds.

        Raises:
            Ended: no more will come; or finished orders were let go that this slow reader was not told of:
                it comes back, and begins with the present state.
        """
        clock = asyncio.get_running_loop().time
        deadline = None if timeout is None else clock() + timeout
        while True:
            if self.ended:
                raise Ended
            messages = self._take()
            if messages:
                return messages
            try:
                # What is left: changes that are not for this reader wake it too.
                await self.wait(None if deadline is None else deadline - clock())
            except TimeoutError:
                return []

    @property
    def cursor(self) -> str:
        """What to come back with, once all that was taken is told."""
        return self._cursor

    def _take(self) -> list[str]:
        present = self._present
        if self._hello:
            self._hello = False
            resumed = "false" if self._resumed is None else "true"
            hello = f'{{"type":"hello","cursor":"{self._cursor}","resumed":{resumed}}}'
            return [hello] if present.live else [hello, _stale(present.reason)]
        messages = []
        if self._health != present.health:
            self._health = present.health
            messages.append('{"type":"live"}' if present.live else _stale(present.reason))
        messages += self._news() if self.order_id is None else self._news_of(self.order_id)
        if not self._current and self._position >= self._head:
            self._current = True
            if self._position == present.seq:
                self._cursor = present.cursor()
            messages.append(f'{{"type":"current","cursor":"{self._cursor}"}}')
        return messages

    def _news_of(self, order_id: str) -> list[str]:
        held = self._present.orders.get(order_id)
        if held is None and self._open:
            raise Ended  # let go before this reader was told
        before, self._position = self._position, self._present.seq
        if held is None or held.seq <= before:
            return []
        self._cursor = held.cursor
        self._open = not finished(held.change)
        message = self._message(held, before)
        return [message] if message else []

    def _news(self) -> list[str]:
        messages: list[str] = []
        characters = 0
        before = self._position
        if before < self._present.let_go > self._let_go:
            raise Ended
        for seq, held in self._present.after(before):
            self._position = seq
            if held is None:
                continue
            self._cursor = held.cursor
            message = self._message(held, before)
            if message:
                messages.append(message)
                characters += len(message)
                if len(messages) >= BATCH_MESSAGES or characters >= BATCH_CHARACTERS:
                    break
        else:
            self._position = self._present.seq
        return messages

    def _message(self, held: Held, before: int) -> str | None:
        """What this reader is told of the order, if anything."""
        change, seen = held.change, self._resumed
        present = held.seq <= self._head  # not a change, but how things were at the start
        if present and seen is not None and change.offset < seen.offsets[change.partition]:
            return None
        if change.status is not None and self._status in (None, change.status):
            return held.text
        if present and seen is None:
            return None  # gone, or not asked for
        knows = present or self._status is None or held.status_at(before) == self._status
        if not knows:
            return None
        return held.text if change.status is None else _left(held)


def _left(held: Held) -> str:
    order_id = msgspec.json.encode(held.change.order_id).decode()
    status = held.change.status
    return f'{{"type":"left","orderId":{order_id},"orderStatus":"{status}","cursor":"{held.cursor}"}}'


def _stale(reason: str) -> str:
    return f'{{"type":"stale","reason":{msgspec.json.encode(reason).decode()}}}'
