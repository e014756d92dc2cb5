"""Is the process alive, and can it do its work? Every dependency is asked for real."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence

from litestar import Response, Router, get
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Struct

from snacks.actors.status import HostStatus
from snacks.domain.cards import mask_cards
from snacks.http.recent import Recent, within

DETAIL_LENGTH = 500


class NotReady(Exception):  # noqa: N818  (a state, named like one)
    """A dependency answered, and what it says is not good; the message is the reason."""


class Check(Struct, frozen=True):
    """A named question. `ask` returns a detail (or nothing) if all is well, and raises if not.

    `timeout` is in seconds; no answer by then is a failure, even if `ask` cannot be cancelled.
    """

    name: str
    ask: Callable[[], Awaitable[str | None]]
    timeout: float = 2.0


class CheckResult(Struct, frozen=True):
    """What a check found, and the seconds it took."""

    name: str
    ok: bool
    detail: str
    seconds: float


class Report(Struct, frozen=True):
    """`ready` only if every check is ok."""

    ready: bool
    checks: list[CheckResult]


class Readiness:
    """All checks at once, each in its own time; asked at most once per `keep` seconds."""

    def __init__(self, checks: Sequence[Check], keep: float = 1.0) -> None:
        self._checks = checks
        self.report = Recent(self._report, keep)

    async def _report(self) -> Report:
        results = await asyncio.gather(*map(_run, self._checks))
        return Report(all(result.ok for result in results), list(results))


async def _run(check: Check) -> CheckResult:
    began = time.perf_counter()
    try:
        ok, detail = True, await within(check.timeout, check.ask) or "answers"
    except Exception as error:  # noqa: BLE001  (whatever goes wrong is what readiness has to tell)
        ok, detail = False, _reason(error)
    return CheckResult(check.name, ok, detail, round(time.perf_counter() - began, 4))


def _reason(error: Exception) -> str:
    said = isinstance(error, NotReady | TimeoutError) and str(error)
    text = said or f"{type(error).__name__}: {error}"
    return mask_cards(text)[:DETAIL_LENGTH]


def actors_check(status: Callable[[], HostStatus]) -> Check:
    """Is this process a member of the group, and does every shard it was given run?"""

    async def ask() -> str:
        host = status()
        running = sum(shard.state == "running" for shard in host.shards)
        detail = f"{running} of {len(host.shards)} shards running, {sum(s.lag for s in host.shards)} to fold"
        if host.ready:
            return detail
        reasons = [f"shard {s.partition} {s.state}: {s.reason}" for s in host.shards if s.reason]
        raise NotReady("; ".join([*filter(None, [host.reason]), detail, *reasons]))

    return Check("actors", ask)


class Live(Struct, frozen=True):
    """The process answers; `pid` is its process id."""

    live: bool
    pid: int


@get("/live", operation_id="live", summary="Is the process alive?")
async def live() -> Live:
    """200 as long as the event loop answers; asks nobody."""
    return Live(live=True, pid=os.getpid())


EXAMPLE = Report(ready=True, checks=[CheckResult("mysql", ok=True, detail="answers", seconds=0.0012)])
NOT_READY = Report(
    ready=False, checks=[CheckResult("mongodb", ok=False, detail="no answer within 2 s", seconds=2.0)]
)


def _spec(description: str, report: Report) -> ResponseSpec:
    return ResponseSpec(
        Report, generate_examples=False, description=description, examples=[Example(value=report)]
    )


@get(
    "/ready",
    operation_id="ready",
    summary="Can the process do its work?",
    description="Asks every server it needs, now (at most once a second), and says what each answered.",
    responses={
        200: _spec("Every dependency answers", EXAMPLE),
        503: _spec("Something is missing; the checks say what", NOT_READY),
    },
)
async def ready(readiness: NamedDependency[Readiness]) -> Response[Report]:
    """200 or 503, with each check's result."""
    report = await readiness.report()
    return Response(report, status_code=200 if report.ready else 503)


router = Router(
    "/health",
    route_handlers=[live, ready],
    response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
    tags=["Operations"],
)
"""Needs the dependency `readiness: Readiness`."""
