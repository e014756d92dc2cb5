"""The platform as its users see it: `running` gives one, started here or attached to."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from typing import IO

from rich.console import Console

from snacks.config import Settings
from snacks.platform import fetch as fetching
from snacks.platform import ports, process, state
from snacks.platform.errors import PlatformError
from snacks.platform.supervisor import START_SECONDS, Supervisor

STOP_SECONDS = 30.0
_POLL = 0.05


class Platform:
    """A running platform. `kill`, `stop` and `start` are for failure tests; all times are seconds.

    Servers are named `mongod`, `kafka`, `database` (MySQL or MariaDB) and `connect`.
    """

    def __init__(self, settings: Settings, *, attached: bool) -> None:
        self.settings = settings
        self.attached = attached
        """Whether another process supervises it, which goes on when we leave."""

    @property
    def run(self) -> state.Run:
        """What the supervisor last wrote.

        Raises:
            PlatformError: nobody supervises the platform any more.
        """
        run = state.live(self.settings)
        if not run:
            raise PlatformError("The platform has stopped.")
        return run

    @property
    def seconds(self) -> float:
        """From the first server's start until all answered."""
        return self.run.seconds

    def status(self) -> list[state.ServerStatus]:
        """Every server as it is now."""
        return state.status(self.settings)

    def pid(self, name: str) -> int:
        """The process of a server; 0 while it has none."""
        return self.run.servers[name].pid

    def kill(self, name: str, sign: signal.Signals = signal.SIGKILL) -> int:
        """Signal a server and return its pid. The supervisor restarts one that dies (see `healthy`).

        Raises:
            PlatformError: it has no process now.
        """
        server = self.run.servers[name]
        if not process.send(server.pid, server.ticks, sign):
            raise PlatformError(f"{server.title} does not run.")
        return server.pid

    async def healthy(self, name: str, not_pid: int = 0, within: float = START_SECONDS) -> None:
        """Wait until a server runs and answers, as another process than `not_pid`.

        Raises:
            PlatformError: it did not within `within` seconds, or was given up.
        """
        deadline = time.monotonic() + within
        while True:
            server = self.run.servers[name]
            if (
                server.state == "running"
                and server.pid != not_pid
                and process.alive(server.pid, server.ticks)
            ):
                return
            if server.state == "failed" or time.monotonic() > deadline:
                raise PlatformError(f"{server.title} is {server.state}. {server.detail}")
            await asyncio.sleep(_POLL)

    async def stop(self, name: str) -> None:
        """Stop a server properly and keep it down until `start`.

        Raises:
            PlatformError: it did not stop in time.
        """
        state.hold_path(self.settings, name).touch()
        deadline = time.monotonic() + STOP_SECONDS
        while (server := self.run.servers[name]).state != "stopped":
            if time.monotonic() > deadline:
                raise PlatformError(f"{server.title} did not stop; it is {server.state}.")
            await asyncio.sleep(_POLL)

    async def start(self, name: str) -> None:
        """Start a server that `stop` stopped, and wait until it answers.

        Raises:
            PlatformError: it did not start.
        """
        state.hold_path(self.settings, name).unlink(missing_ok=True)
        await self.healthy(name)

    async def restart(self, name: str) -> None:
        """Stop and start a server properly."""
        await self.stop(name)
        await self.start(name)


@contextlib.asynccontextmanager
async def running(
    settings: Settings, console: Console | None = None, only: Collection[str] = ()
) -> AsyncIterator[Platform]:
    """The platform of this checkout: the one that runs, else one that lives as long as this context.

    `only`: the names of the servers to start; all of them if there is none.

    Fetches what is missing first. The servers die with this process, however it dies. Enter it in the main
    thread (see `process.spawn`).

    Raises:
        PlatformError: it cannot be fetched or started; nothing is left running then.
    """
    lock = state.acquire(settings)
    if not lock:
        await asyncio.to_thread(wait_for_run, settings)
        yield Platform(settings, attached=True)
        return
    async with owned(settings, console, lock, only=only) as platform:
        yield platform


@contextlib.asynccontextmanager
async def owned(
    settings: Settings,
    console: Console | None,
    lock: IO[str],
    on_up: Callable[[], None] = lambda: None,
    only: Collection[str] = (),
) -> AsyncIterator[Platform]:
    """What `running` does for the holder of `lock`. `on_up` is called before the run counts as running.

    Raises:
        PlatformError: as `running`.
    """
    with lock:
        ports.check(settings)  # before a long download
        installed = await _fetch(settings, console)
        supervisor = Supervisor(settings, installed, only)
        error = ""
        try:
            try:
                await supervisor.start(on_up)
            except Exception as failure:
                error = str(failure) or type(failure).__name__
                raise
            yield Platform(settings, attached=False)
        finally:
            await asyncio.shield(supervisor.stop(error))


async def _fetch(settings: Settings, console: Console | None) -> fetching.Installed:
    cancel = threading.Event()
    try:
        return await asyncio.to_thread(fetching.fetch, settings, console, cancel)
    except asyncio.CancelledError:
        cancel.set()  # the thread goes on until its next bytes
        raise


def wait_for_run(settings: Settings) -> state.Run:
    """Wait until the platform that another process supervises, or is about to, runs.

    Raises:
        PlatformError: it does not within START_SECONDS, or runs with other settings.
    """
    deadline = time.monotonic() + START_SECONDS
    while not (run := state.live(settings)) or run.state != "running":
        if time.monotonic() > deadline:
            raise PlatformError(
                f"Another process starts or stops the platform in {settings.state_dir}; it did not end."
            )
        time.sleep(_POLL)
    check_same(settings, run)
    return run


def check_same(settings: Settings, run: state.Run) -> None:
    """Make sure that the platform that runs is the one that these settings describe.

    Raises:
        PlatformError: it has another database or another port.
    """
    wanted = {
        "mongod": settings.mongo_port,
        "kafka": settings.kafka_port,
        "database": settings.mysql_port,
        "connect": settings.connect_port,
    }
    if settings.engine == "flink":
        wanted |= {"flink": settings.flink_port, "flink-sql": settings.flink_sql_port}
    running_ports = {server.name: server.port for server in run.servers.values() if server.name in wanted}
    if run.db != settings.db or running_ports != wanted:
        raise PlatformError(
            f"This checkout's platform already runs, with {run.db} and the ports {running_ports}; "
            f"asked for was {settings.db} with {wanted}.\nStop it first (./snacks down), "
            "use the same settings, or give this one its own SNACKS_STATE."
        )
