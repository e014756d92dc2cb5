"""Asking servers without waiting too long, and without asking too often."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


async def within(seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, if it comes in time. Raises what asking raises.

    Not `asyncio.timeout`: a client that is slow to take its cancellation would hold the asker up.

    Raises:
        TimeoutError: no answer in time.
    """
    asking = asyncio.ensure_future(ask())
    try:
        await asyncio.wait({asking}, timeout=seconds)
    finally:
        if not asking.done():
            asking.add_done_callback(_forget)
            asking.cancel()
    if not asking.done() or asking.cancelled():
        raise TimeoutError(f"no answer within {seconds:g} s")
    return asking.result()


def _forget(late: asyncio.Future[T]) -> None:
    """An error that nobody waits for any more must not be logged as one that was never looked at."""
    if not late.cancelled():
        late.exception()


class Recent(Generic[T]):
    """Asks at most once per `seconds`, however often it is called, so that callers cannot hammer servers.

    Those who call while a question is on its way wait for that same answer. An error is an answer too.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._asked_at = 0.0
        self._answer: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        """The answer, at most `seconds` old when the question was asked. Raises what asking raises."""
        answer = self._answer
        if answer is None or (answer.done() and self._clock() - self._asked_at >= self._seconds):
            self._asked_at = self._clock()
            answer = self._answer = asyncio.ensure_future(self._ask())
        # A caller that hangs up must not take the answer away from the others.
        return await asyncio.shield(answer)
