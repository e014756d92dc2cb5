"""The whole app, `snacks serve`, as processes of their own against a benchmark's servers."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from snacks import config
from snacks.config import Settings
from snacks.platform import PlatformError, process

ROOT = Path(__file__).parents[1]
STOP_SECONDS = 30.0


class App:
    """`snacks serve` with these settings; `start` it as often as you like."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = f"http://{settings.host}:{settings.http_ports[0]}"
        self.client = httpx.AsyncClient(timeout=10, trust_env=False)
        self.child: subprocess.Popen[bytes] | None = None
        self.log = settings.state_dir / "logs" / f"app-{settings.http_ports[0]}.log"
        self.ready_after = 0.0
        """Seconds from its start until every part of it was ready, where it was waited for."""

    def start(self) -> None:
        """Start it; do not wait."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = config.environment(self.settings) | {"PYTHONPATH": str(ROOT / "src")}
        self.child = process.spawn([sys.executable, "-m", "snacks", "serve"], log=self.log, env=environment)

    @property
    def process(self) -> psutil.Process:
        assert self.child is not None
        return psutil.Process(self.child.pid)

    def memory(self) -> int:
        """Resident bytes."""
        return int(self.process.memory_info().rss)

    def cpu(self) -> float:
        """Seconds that it has used: steadier than the clock on a machine that others use too."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    async def shards(self) -> list[dict[str, Any]]:
        """Those of this process; none while it does not answer."""
        with suppress(httpx.HTTPError):
            answer = await self.client.get(f"{self.url}/api/topology", params={"format": "json"})
            found: list[dict[str, Any]] = answer.json()["shards"]
            return found
        return []

    async def ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return (await self.client.get(f"{self.url}/health/ready")).is_success
        return False

    async def why_not(self) -> str:
        """The reasons of a readiness that is red."""
        with suppress(httpx.HTTPError):
            report = (await self.client.get(f"{self.url}/health/ready")).json()
            return "; ".join(f"{one['name']}: {one['detail']}" for one in report["checks"] if not one["ok"])
        return ""

    async def end(self, *, kill: bool = False) -> None:
        """Stop it, if it runs."""
        if self.child is None:
            return
        if kill:
            self.child.kill()
        await process.stop(self.child, STOP_SECONDS)

    async def close(self) -> None:
        """Stop it, and let go of what was used to ask it."""
        await self.end()
        await self.client.aclose()


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    """Started, and stopped at the end."""
    one = App(settings)
    try:
        one.start()
        yield one
    finally:
        await one.close()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[App]:
    """One that is ready, stopped at the end.

    Raises:
        PlatformError: it did not get ready.
    """
    async with app(settings) as one:

        async def ready_or_gone() -> bool:
            return await one.ready() or one.child is None or one.child.poll() is not None

        one.ready_after = await until(ready_or_gone, every=0.05)
        if not await one.ready():
            raise PlatformError(f"The app did not get ready:\n{process.log_tail(one.log)}")
        yield one


async def until(condition: Callable[[], Awaitable[bool]], within: float = 120.0, every: float = 0.1) -> float:
    """Seconds until it holds. Raises PlatformError if it does not within so many."""
    began = time.monotonic()
    while not await condition():
        if time.monotonic() - began > within:
            raise PlatformError(f"not within {within:g} s: {condition}")
        await asyncio.sleep(every)
    return time.monotonic() - began
