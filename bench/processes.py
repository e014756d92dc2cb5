"""Processes of the app that a benchmark kills and starts again."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import psutil

from snacks import config
from snacks.config import Settings
from snacks.platform import PlatformError


class App:
    """`snacks serve` with these settings; `start` it as often as you like."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = f"http://{settings.host}:{settings.http_ports[0]}"
        self.client = httpx.AsyncClient(timeout=10)
        self.child: subprocess.Popen[bytes] | None = None
        self.log = settings.state_dir / f"app-{settings.http_ports[0]}.log"

    def start(self) -> None:
        environment = {"PATH": "/usr/bin:/bin"} | config.environment(self.settings) | {"PYTHONPATH": "src"}
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "snacks", "serve"], env=environment, stdout=output, stderr=output
            )

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
        child = self.child
        if child is None or child.poll() is not None:
            return
        if kill:
            child.kill()
        else:
            child.terminate()
        try:
            await asyncio.to_thread(child.wait, 30)
        except subprocess.TimeoutExpired:
            child.kill()

    async def close(self) -> None:
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


async def until(condition: Callable[[], Awaitable[bool]], within: float = 120.0, every: float = 0.1) -> float:
    """Seconds until it holds. Raises PlatformError if it does not within so many."""
    began = time.monotonic()
    while not await condition():
        if time.monotonic() - began > within:
            raise PlatformError(f"not within {within:g} s: {condition}")
        await asyncio.sleep(every)
    return time.monotonic() - began
