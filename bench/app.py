"""The whole app, `snacks serve`, as a process of its own against a benchmark's servers."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil

from snacks import config
from snacks.config import Settings
from snacks.platform import PlatformError, process

ROOT = Path(__file__).parents[1]
START_SECONDS = 120.0


class App:
    """A process that answers. `ready_after`: seconds from its start until every part of it was ready."""

    def __init__(self, settings: Settings, pid: int, ready_after: float) -> None:
        self.settings = settings
        self.process = psutil.Process(pid)
        self.ready_after = ready_after

    @property
    def url(self) -> str:
        """Its commands, queries and streams: all ports answer all of them."""
        return f"http://{self.settings.host}:{self.settings.http_ports[0]}"

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        return float(sum(self.process.cpu_times()[:2]))

    def memory(self) -> float:
        """Resident megabytes now."""
        return float(self.process.memory_info().rss) / 2**20


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[App]:
    """An app that is ready; it is stopped at the end.

    Raises:
        PlatformError: it did not get ready.
    """
    log = settings.state_dir / "logs" / "app.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = config.environment(settings) | {"PYTHONPATH": str(ROOT / "src")}
    began = time.monotonic()
    child = process.spawn([sys.executable, "-m", "snacks", "serve"], log=log, env=environment)
    try:
        app = App(settings, child.pid, 0.0)
        async with httpx.AsyncClient(timeout=5) as client:
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{app.url}/health/ready")).is_success:
                        break
                if child.poll() is not None or time.monotonic() - began > START_SECONDS:
                    raise PlatformError(f"The app did not get ready:\n{process.log_tail(log, 15)}")
                await asyncio.sleep(0.05)
        app.ready_after = time.monotonic() - began
        yield app
    finally:
        await process.stop(child, 20)
