"""A consumer or shard that silently stopped is noticed and replaced; if it cannot be, the process ends."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace
from tests.folding import actors, produce, runs, status_of
from tests.given import item, place, value
from tests.waiting import until

from snacks.actors import OrderHost
from snacks.actors.host import Wedged
from snacks.config import Settings
from snacks.documents import Documents
from snacks.platform import Platform


@pytest.fixture
def hasty(given: Settings) -> Settings:
    """Settings under which a stall is soon noticed."""
    return replace(given, stall_timeout=3.0, session_timeout=6.0, drain_timeout=1.0, commit_timeout=2.0)


async def never(*_: Any, **__: Any) -> Any:
    await asyncio.get_running_loop().create_future()


def the_poll_never_returns(host: OrderHost) -> None:
    consumer: Any = host._consumer
    consumer.getmany = never


def the_fetcher_is_dead(host: OrderHost) -> None:
    consumer: Any = host._consumer
    consumer._fetcher._fetch_task.cancel()


def the_coordination_is_dead(host: OrderHost) -> None:
    consumer: Any = host._consumer
    consumer._coordinator._coordination_task.cancel()


def the_heartbeat_hangs(host: OrderHost) -> None:
    """The broker gives the shards away; the consumer reads on and does not know."""
    consumer: Any = host._consumer
    consumer._coordinator._do_heartbeat = never


def a_commit_never_returns(host: OrderHost) -> None:
    checkpoint: Any = host._shards[0]._checkpoint
    checkpoint.commit = never


@pytest.mark.parametrize(
    ("wedge", "said"),
    [
        (the_poll_never_returns, "the poll loop has not come round"),
        (the_fetcher_is_dead, "nothing was fetched"),
        (the_coordination_is_dead, "coordination was cancelled"),
        (the_heartbeat_hangs, "the broker has given this process other shards than it holds"),
        (a_commit_never_returns, "shard 0 has work and does nothing"),
    ],
)
async def test_what_silently_stopped_is_said_and_made_anew(
    hasty: Settings, wedge: Callable[[OrderHost], None], said: str
) -> None:
    async with actors(hasty) as host:
        await until(runs(host, hasty.partitions))
        wedge(host)
        await produce(hasty, *map(value, (item(), place())))
        await until(lambda: said in host.status().reason and not host.status().ready)
        await until(runs(host, hasty.partitions), within=60)
        await until(lambda: status_of(hasty, "kit-1"))


async def test_what_cannot_even_be_cancelled_ends_the_process(hasty: Settings) -> None:
    released = asyncio.Event()

    async def deaf(*_: Any, **__: Any) -> Any:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()
        raise asyncio.CancelledError

    async with Documents(hasty.mongo, hasty.mongo_database) as documents:
        host = OrderHost(hasty, documents, "deaf")
        task = asyncio.create_task(host.run())
        try:
            await until(runs(host, hasty.partitions))
            consumer: Any = host._consumer
            consumer.getmany = deaf
            with pytest.raises(Wedged, match="end this process and start it again"):
                async with asyncio.timeout(60):
                    await task
        finally:
            released.set()
            task.cancel()


async def _static(settings: Settings, name: str) -> tuple[OrderHost, Callable[[], Awaitable[None]]]:
    """A static member's actors, and how to stop them properly."""
    documents = Documents(settings.mongo, settings.mongo_database)
    await documents.open()
    host = OrderHost(settings, documents, name, name)
    task = asyncio.create_task(host.run())

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await documents.close()

    return host, stop


async def test_a_static_member_that_stops_properly_hands_over_long_before_its_session_ends(
    given: Settings, lab: Platform
) -> None:
    patient = replace(given, session_timeout=120.0)
    first, stop_first = await _static(patient, "one")
    second, stop_second = await _static(patient, "two")
    try:
        await until(lambda: runs(first, 3)() and runs(second, 3)())
        await stop_first()
        await until(runs(second, 6), within=40)
    finally:
        await stop_second()
