"""A commit's time-out, with a producer that takes its time. All else is in the integration tests."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from snacks.actors import checkpoint as module
from snacks.actors.checkpoint import Checkpoint
from snacks.actors.orders import Entry
from snacks.config import Settings

WITHIN, PAUSE = 1.0, 0.15
"""Far from each other, for a busy machine; twelve pauses are longer than the time-out of one."""
SLOW = replace(Settings(), commit_timeout=WITHIN)


class Batch:
    """Holds one record."""

    def __init__(self) -> None:
        self.count = 0

    def append(self, **_: Any) -> Any:
        if self.count:
            return None
        self.count = 1
        return self

    def record_count(self) -> int:
        return self.count


class Producer:
    """Takes one batch after the other, each after `pause` seconds; none after `most`."""

    def __init__(self, pause: float, most: int) -> None:
        self._pause, self._most = pause, most
        self._sent = 0
        self.committed = False

    async def begin_transaction(self) -> None:
        """Nothing goes to the broker yet."""

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, _batch: Batch, _topic: str, *, partition: int) -> asyncio.Future[None]:
        del partition
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[None] = loop.create_future()
        self._sent += 1
        if self._sent <= self._most:
            loop.call_later(self._pause * self._sent, taken.set_result, None)
        return taken

    async def commit_transaction(self) -> None:
        self.committed = True


def checkpoint(producer: Producer, steps: list[int]) -> Checkpoint:
    made = Checkpoint(SLOW, 0, step=lambda: steps.append(1))
    made._producer = producer
    return made


STATES = [Entry(f"kit-{number}".encode(), b"{}") for number in range(10)]


async def test_a_slow_broker_that_gets_on_is_waited_for_and_each_batch_is_a_step() -> None:
    producer, steps = Producer(PAUSE, 12), list[int]()
    await checkpoint(producer, steps).commit(STATES, [], [], {"t": 1})
    assert producer.committed
    assert len(steps) >= 12


async def test_one_that_takes_no_more_is_not() -> None:
    producer = Producer(WITHIN / 10, 11)
    with pytest.raises(TimeoutError):
        await checkpoint(producer, []).commit(STATES, [], [], {"t": 1})
    assert not producer.committed


async def test_one_that_needs_longer_than_a_transaction_may_take_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 2)
    producer = Producer(PAUSE, 12)
    with pytest.raises(TimeoutError):
        await checkpoint(producer, []).commit(STATES, [], [], {"t": 1})
    assert not producer.committed
