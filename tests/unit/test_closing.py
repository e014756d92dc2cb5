"""What is thrown away is closed whole: also where aiokafka stops in the middle of it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from snacks.actors.closing import close_producer, ended


async def well() -> None:
    await asyncio.sleep(0)


async def badly() -> None:
    raise ProducerFenced


async def cancelled() -> None:
    raise asyncio.CancelledError


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("work", "expected"), [(well, True), (badly, False), (cancelled, False), (never, False)]
)
async def test_it_is_told_whether_work_ended_well_and_its_errors_are_not_ours(
    work: Callable[[], Awaitable[None]], *, expected: bool
) -> None:
    assert await ended(work(), 0.05) is expected


@pytest.mark.parametrize("stop", [badly, cancelled, never])
async def test_the_connections_are_closed_however_the_stop_ends(
    stop: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    producer = AIOKafkaProducer()
    real = producer.stop

    async def close() -> None:
        closed.append("client")

    monkeypatch.setattr(producer, "stop", stop)
    monkeypatch.setattr(producer.client, "close", close)
    await close_producer(producer, 0.05)
    assert closed == ["client"]
    await real()
