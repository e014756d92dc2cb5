"""The app as users run it: a process of its own, which tests may kill."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from tests.waiting import until

from snacks import config
from snacks.config import Settings
from snacks.platform import process

ROOT = Path(__file__).parents[2]


def environment(settings: Settings) -> dict[str, str]:
    """The variables of a child: these settings, and the checkout's sources."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(config.PREFIX)}
    return clean | config.environment(settings) | {"PYTHONPATH": str(ROOT / "src")}


class App:
    """`snacks serve` on the ports of its settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = settings.state_dir / "logs" / "app.log"
        self.child: subprocess.Popen[bytes] | None = None
        self.why_not = "not asked yet"

    async def start(self, within: float = 90) -> None:
        """Start it and wait until it says that it is ready, for so many seconds."""
        self.launch()
        await self.until_ready(within)

    def launch(self) -> None:
        """Start it; do not wait."""
        argv = [sys.executable, "-m", "snacks", "serve"]
        self.child = process.spawn(argv, log=self.log, env=environment(self.settings))

    async def ready(self) -> bool:
        """What /health/ready says; fails if the process is gone."""
        assert self.child is not None
        assert self.child.poll() is None, process.log_tail(self.log, 40)
        try:
            async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
                answer = await client.get(f"{self.url(0)}/health/ready")
        except httpx.HTTPError as error:
            self.why_not = repr(error)
            return False
        self.why_not = answer.text
        return answer.status_code == httpx.codes.OK

    async def until_ready(self, within: float = 90) -> None:
        """Wait until it says that it is ready; fails with its reasons after `within` seconds."""
        try:
            await until(self.ready, within=within, every=0.1)
        except AssertionError:
            logs = [self.log, *self.log.parent.glob("flink*.log")]
            tails = (f"The end of {log.name}:\n{process.log_tail(log, 40)}" for log in logs)
            reasons = f"not ready within {within} s: {self.why_not}"
            raise AssertionError("\n".join((reasons, *tails))) from None

    def url(self, port: int) -> str:
        """The base URL of the port with this number: 0 commands, 1 processor, 2 queries, 3 pages."""
        return f"http://{self.settings.host}:{self.settings.http_ports[port]}"

    async def kill(self) -> None:
        """`kill -9`."""
        assert self.child is not None
        self.child.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.child.wait, 10)

    async def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        if self.child is not None:
            await process.stop(self.child, 20)
            return self.child.returncode
        return None


@asynccontextmanager
async def serving(settings: Settings, within: float = 90) -> AsyncIterator[App]:
    """An app that is ready, stopped at the end."""
    app = App(settings)
    try:
        await app.start(within)
        yield app
    finally:
        await app.stop()
