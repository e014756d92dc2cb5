"""Readiness: what it tells, and how little it asks."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.testing import AsyncTestClient
from msgspec.structs import replace

from snacks.actors.status import HostStatus, ShardStatus
from snacks.http import health
from snacks.http.health import Check, NotReady, Readiness, actors_check
from snacks.http.recent import Recent, within

SHARD = ShardStatus(0, "running", "", 12, 3, 0, 0, 40, 0, 20, 0, 5)
HOST = HostStatus("snacks-order-actors", "member-1", ready=True, reason="", shards=[SHARD])


async def fine() -> None:
    """All is well, and there is nothing to say about it."""


async def never() -> None:
    await asyncio.Event().wait()


def raising(error: Exception) -> Callable[[], Awaitable[str]]:
    async def ask() -> str:
        raise error

    return ask


async def answer(*checks: Check) -> tuple[int, health.Report]:
    readiness = Readiness(checks)
    dependencies = {"readiness": Provide(lambda: readiness, sync_to_thread=False)}
    async with AsyncTestClient(Litestar([health.router], dependencies=dependencies)) as client:
        response = await client.get("/health/ready")
        report = health.Report(
            response.json()["ready"], [health.CheckResult(**check) for check in response.json()["checks"]]
        )
        return response.status_code, report


async def test_liveness_asks_nobody() -> None:
    async with AsyncTestClient(Litestar([health.router], dependencies={"readiness": never})) as client:
        response = await client.get("/health/live")
    assert response.status_code == 200
    assert response.json() == {"live": True, "pid": os.getpid()}


async def test_ready_if_every_check_is() -> None:
    status, report = await answer(Check("mysql", fine), actors_check(lambda: HOST))
    assert status == 200
    assert report.ready
    assert [(check.name, check.ok, check.detail) for check in report.checks] == [
        ("mysql", True, "answers"),
        ("actors", True, "1 of 1 shards running, 3 to fold"),
    ]


async def test_one_failed_check_is_503_and_says_why_beside_the_others() -> None:
    failed = Check("connector", raising(NotReady("task 0 FAILED: binlog is gone")))
    status, report = await answer(Check("mysql", fine), failed)
    assert status == 503
    assert not report.ready
    assert [(check.ok, check.detail) for check in report.checks] == [
        (True, "answers"),
        (False, "task 0 FAILED: binlog is gone"),
    ]


async def test_a_check_that_does_not_answer_in_time_fails_and_holds_nobody_up() -> None:
    status, report = await answer(Check("broker", never, timeout=0.01), Check("mysql", fine))
    assert status == 503
    assert report.checks[0].detail == "no answer within 0.01 s"
    assert report.checks[1].ok


async def test_a_check_that_cannot_be_cancelled_holds_nobody_up() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        try:
            await release.wait()
        except asyncio.CancelledError:
            await release.wait()
            raise OSError("too late to matter") from None

    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        await within(0.01, stubborn)
    release.set()


async def test_an_unexpected_error_is_told_with_its_kind_and_without_card_numbers() -> None:
    _, report = await answer(Check("mysql", raising(OSError("row 4242424242424242 is odd"))))
    assert report.checks[0].detail == "OSError: row ****-****-****-4242 is odd"


async def test_checks_are_asked_at_the_same_time() -> None:
    everybody_is_here = asyncio.Barrier(3)

    async def meet() -> None:
        await everybody_is_here.wait()

    status, _ = await answer(*(Check(name, meet) for name in ("a", "b", "c")))
    assert status == 200


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (replace(HOST, ready=False, reason="not in the group", shards=[]), "not in the group"),
        (
            replace(HOST, ready=False, shards=[SHARD, replace(SHARD, partition=1, state="restoring")]),
            "1 of 2 shards running",
        ),
        (
            replace(HOST, ready=False, shards=[replace(SHARD, reason="MongoDB does not answer")]),
            "shard 0 running: MongoDB does not answer",
        ),
    ],
)
async def test_actors_that_do_not_get_on_say_why(host: HostStatus, said: str) -> None:
    status, report = await answer(actors_check(lambda: host))
    assert status == 503
    assert said in report.checks[0].detail


class Clock:
    """Time that stands still until a test moves it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_those_who_ask_within_a_second_share_one_answer() -> None:
    clock, asked = Clock(), []

    async def ask() -> int:
        asked.append(clock.now)
        return len(asked)

    recent = Recent(ask, 1.0, clock)
    assert await asyncio.gather(*(recent() for _ in range(50))) == [1] * 50
    clock.now += 0.9
    assert await recent() == 1
    clock.now += 0.1
    assert await recent() == 2
    assert asked == [100.0, 101.0]


async def test_a_slow_answer_is_waited_for_and_not_asked_for_twice() -> None:
    clock, answers, asked = Clock(), asyncio.Event(), []

    async def ask() -> str:
        asked.append(clock.now)
        await answers.wait()
        return "late"

    recent = Recent(ask, 1.0, clock)
    first = asyncio.ensure_future(recent())
    clock.now += 5
    second = asyncio.ensure_future(recent())
    answers.set()
    assert list(await asyncio.gather(first, second)) == ["late", "late"]
    assert len(asked) == 1


async def test_a_caller_that_hangs_up_does_not_take_the_answer_from_the_others() -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    async def ask() -> str:
        asked.set()
        await answers.wait()
        return "here"

    recent = Recent(ask)
    impatient, patient = asyncio.ensure_future(recent()), asyncio.ensure_future(recent())
    await asked.wait()
    impatient.cancel()
    answers.set()
    assert await patient == "here"
    assert impatient.cancelled()
