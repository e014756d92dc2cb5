"""Those who drain the same backlog: how each is started, and what it costs while it runs."""

import asyncio
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self
from uuid import uuid4

import psutil
from msgspec import Struct
from msgspec.structs import replace

from bench import servers, tools
from snacks import config
from snacks.config import Settings
from snacks.platform import PlatformError, fetch, process, status
from snacks.platform.servers import OPENED

ROOT = Path(__file__).parents[1]
RIVALS = Path(__file__).parent / "rivals"
MARK = re.compile(r"^MARK (\S+) ([\d.]+)", re.MULTILINE)
START_SECONDS = 120.0


class Contestant(Struct, frozen=True):
    """`argv` gets the settings, a folder of its own and a name that is new for each run.

    It prints `MARK start SECONDS` (since 1970) as it begins with the first record. One that can wait prints
    `MARK ready SECONDS` before it, and goes on when the file `go` is in its folder.
    """

    name: str
    argv: Callable[[Settings, Path, str], Sequence[str | Path]]
    processes: int = 1
    waits: bool = False
    documents: bool = False
    topics: tuple[str, ...] = ()


def ours(name: str, *, processes: int = 1, documents: bool = False) -> Contestant:
    def argv(_settings: Settings, folder: Path, _app: str) -> list[str | Path]:
        more = [] if documents else ["--topics-only"]
        return [sys.executable, "-m", "bench.ours", folder / "go", *more]

    return Contestant(name, argv, processes, waits=True, documents=documents)


def streams(name: str, *options: str) -> Contestant:
    def argv(settings: Settings, folder: Path, app: str) -> list[str | Path]:
        return [
            *tools.java(
                settings, "streams", [tools.jars(settings, "streams"), fetch(settings).kafka], "-Xmx1g"
            ),
            "rival.CustomerOrders",
            f"--bootstrap={settings.kafka}",
            f"--app={app}",
            f"--state={folder / 'state'}",
            *options,
        ]

    return Contestant(name, argv)


def flink(name: str, form: str) -> Contestant:
    def argv(settings: Settings, folder: Path, app: str) -> list[str | Path]:
        jars = fetch(replace(settings, engine="flink")).flink
        if jars is None:
            raise PlatformError("Flink was not fetched.")
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return [
            *tools.java(settings, "flink", [jars], "-Xmx2g", *OPENED, f"-Djava.io.tmpdir={temporary}"),
            "rival.SqlOrders",
            f"--bootstrap={settings.kafka}",
            f"--group={app}",
            f"--sql={RIVALS / 'flink' / 'orders.sql'}",
            f"--state={folder / 'state'}",
            f"--form={form}",
            "--minibatch=100 ms",
        ]

    return Contestant(name, argv)


def python(name: str, script: str, *topics: str) -> Contestant:
    def argv(settings: Settings, folder: Path, app: str) -> list[str | Path]:
        return [tools.python(settings), RIVALS / script, settings.kafka, app, folder / "state"]

    return Contestant(name, argv, topics=topics)


CONTESTANTS = {
    "snacks": ours("Snacks, topics only"),
    "snacks-mongodb": ours("Snacks, with MongoDB", documents=True),
    "snacks-2": ours("Snacks, topics only, two processes", processes=2),
    "snacks-2-mongodb": ours("Snacks, with MongoDB, two processes", processes=2, documents=True),
    # Exactly once is otherwise left as it comes; at least once has the ancestor's settings.
    "streams-eos": streams("Kafka Streams, exactly once", "--guarantee=exactly_once_v2"),
    "streams": streams("Kafka Streams, at least once", "--guarantee=at_least_once"),
    "streams-tuned": streams(
        "Kafka Streams, exactly once, two threads, cache",
        "--guarantee=exactly_once_v2",
        "--threads=2",
        "--cache=104857600",
    ),
    # In mini-batches: otherwise it writes each step. No checkpoints: those would cost it more.
    "flink-flat": flink("Flink SQL, tuned", "flat"),
    "flink-schemas": flink("Flink SQL, tuned", "schemas"),
    "quix": python("quixstreams", "quix.py"),
    "faust": python("faust-streaming", "faust_orders.py"),
}


class Race:
    """The processes of one contestant in one run. Use as `async with`; it ends them."""

    def __init__(self, contestant: Contestant, settings: Settings) -> None:
        self.contestant = contestant
        self.app = f"bench-{uuid4().hex[:8]}"
        self.settings = servers.fresh(settings, self.app)
        self.folder = settings.state_dir / "runs" / self.app
        self.log = self.folder / "log"
        self.peak = 0.0
        self._children: list[psutil.Popen] = []
        self._sampling: asyncio.Task[None] | None = None
        self._cpu = 0.0

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True)
        environment = {**config.environment(self.settings), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        argv = self.contestant.argv(self.settings, self.folder, self.app)
        for _ in range(self.contestant.processes):
            child = process.spawn(argv, log=self.log, cwd=ROOT, env=environment)
            self._children.append(psutil.Process(child.pid))
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sampling:
            self._sampling.cancel()
        for child in self._children:
            if child.is_running():
                child.terminate()
        _, alive = await asyncio.to_thread(psutil.wait_procs, self._children, 25)
        for child in alive:
            child.kill()
        shutil.rmtree(self.folder / "state", ignore_errors=True)

    async def start(self) -> float:
        """Let it begin; the time (seconds since 1970) at which it takes the first record."""
        if self.contestant.waits:
            await self._marks("ready", self.contestant.processes)
            await asyncio.sleep(3)  # the group shares out the shards
            (self.folder / "go").touch()
        started = min(await self._marks("start", self.contestant.processes))
        self._cpu = self.cpu()
        return started

    async def _marks(self, name: str, count: int) -> list[float]:
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.check()
            found = [
                float(at) for mark, at in MARK.findall(self.log.read_text(errors="replace")) if mark == name
            ]
            if len(found) >= count:
                return found
            if time.monotonic() > deadline:
                raise PlatformError(f"{self.contestant.name} did not start; see {self.log}")
            await asyncio.sleep(0.02)

    def check(self) -> None:
        """Raises PlatformError if a process has ended."""
        if not all(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in self._children):
            tail = process.log_tail(self.log, 15)
            raise PlatformError(f"{self.contestant.name} ended by itself; {self.log} ends:\n{tail}")

    def cpu(self) -> float:
        """Seconds of processor time that its processes have taken so far."""
        return sum(sum(child.cpu_times()[:2]) for child in self._children)

    @property
    def cpu_since_start(self) -> float:
        return self.cpu() - self._cpu

    async def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, sum(child.memory_info().rss for child in self._children) / 2**20)
            await asyncio.sleep(0.1)


def busy() -> float:
    """Processor seconds of the whole machine so far, of everybody."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.softirq + times.irq)


def cores() -> int:
    return os.cpu_count() or 1


def servers_cpu(settings: Settings) -> Callable[[], float]:
    """A clock of the processor seconds that the servers and this program have taken."""
    pids = [server.pid for server in status(settings) if server.pid]
    known = [psutil.Process(pid) for pid in [*pids, os.getpid()]]
    return lambda: sum(sum(one.cpu_times()[:2]) for one in known)
