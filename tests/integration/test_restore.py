"""A shard folds nothing before its whole state is back, and says how far that is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from msgspec.structs import replace
from tests.folding import actors, produce, runs, status_is, status_of, total
from tests.given import item, payment, place, value
from tests.waiting import until

from snacks.actors import checkpoint
from snacks.actors.checkpoint import Checkpoint, Restored
from snacks.actors.orders import Entry
from snacks.config import Settings

Progress = Callable[[int, int], None]


async def test_a_restore_that_fails_is_tried_again_and_nothing_is_folded_onto_an_empty_state(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        await produce(given, *map(value, (item(), place())))
        await until(lambda: total(host, "folded") == 2)
    await produce(given, value(payment()))
    whole = Checkpoint.restore
    failures = 0
    allowed = asyncio.Event()

    async def fails(self: Checkpoint, progress: Progress) -> Restored:
        nonlocal failures
        if self.partition == 0 and not allowed.is_set():
            await whole(self, progress)
            failures += 1
            raise KafkaConnectionError("in the middle of it")
        return await whole(self, progress)

    monkeypatch.setattr(Checkpoint, "restore", fails)
    async with actors(given) as host:
        await until(lambda: failures >= 3)
        first = host.status().shards[0]
        assert (first.state, first.orders, first.folded) != ("running", 0, 0)
        assert "the broker does not answer" in host.status().reason
        assert first.folded == 0
        assert await status_of(given, "kit-1") == "PENDING"
        allowed.set()
        # On an empty state a payment alone would be no order, and the document would be gone.
        await until(lambda: status_is(given, "PAID"))


async def test_a_restore_that_stands_still_fails_in_time(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Checkpoint(replace(given, commit_timeout=1.0), 0)
    try:
        await one.fence()
        await one.commit([Entry(b"kit-1", b"{}")], [], [], {"t": 1}, {})
        await one.fence()  # as a shard does before: it waits until what was committed shows

        class Silent(AIOKafkaConsumer):  # type: ignore[misc]
            async def getmany(self, *_: Any, **__: Any) -> dict[Any, Any]:
                await asyncio.sleep(0.01)
                return {}

        monkeypatch.setattr(checkpoint, "AIOKafkaConsumer", Silent)
        with pytest.raises(TimeoutError, match="stands still at offset 0"):
            await one.restore(lambda _read, _total: None)
    finally:
        await one.close()


async def test_readiness_is_red_during_a_restore_and_says_how_far_it_is(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Checkpoint.restore
    allowed = asyncio.Event()

    async def slow(self: Checkpoint, progress: Progress) -> Restored:
        progress(400_000, 1_000_000)
        await allowed.wait()
        return await whole(self, progress)

    monkeypatch.setattr(Checkpoint, "restore", slow)
    async with actors(given) as host:
        await until(lambda: "shard 5: restoring 40%" in host.status().reason)
        assert not host.status().ready
        allowed.set()
        await until(runs(host, given.partitions))
