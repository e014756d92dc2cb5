"""Starts the servers, keeps them running, and stops them. Runs in the process that wants them.

Each server is kept by one task, through these states:

    waiting → starting → running → (dies) restarting → running …
                                 → (held) stopped → starting …
                                 → (dies too often) failed
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from snacks.config import Settings
from snacks.platform import ports, process, state
from snacks.platform.errors import PlatformError
from snacks.platform.fetch import Installed
from snacks.platform.servers import Server, servers

START_SECONDS = 90.0
DEATHS = 5
"""A server that dies more often than this within DEATH_WINDOW seconds is given up."""
DEATH_WINDOW = 60.0
BACKOFF = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before the next start, after the first, second … death in the window."""
LOG_BYTES = 5_000_000
_POLL = 0.05

_log = structlog.get_logger(__name__)


class Supervisor:
    """Keeps the servers of one checkout. Use from one event loop, in the thread that lives longest."""

    def __init__(self, settings: Settings, installed: Installed, only: Collection[str] = ()) -> None:
        """`only`: the names of the servers to keep; all of them if there is none."""
        self.settings = settings
        self.servers = [one for one in servers(settings, installed) if not only or one.name in only]
        ticks = process.start_ticks(os.getpid()) or 0
        self.run = state.Run(pid=os.getpid(), ticks=ticks, db=settings.db)
        for server in self.servers:
            self.run.servers[server.name] = state.ServerRun(server.name, server.title, server.port)
        self._ready = {server.name: asyncio.Event() for server in self.servers}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, on_up: Callable[[], None] = lambda: None) -> None:
        """Start all servers and wait until each answers; call `on_up` before that is written down.

        Raises:
            PlatformError: a port is taken, or a server ended or did not answer in time. Call `stop` then too.
        """
        began = time.monotonic()
        self._save()
        ports.check(self.settings)
        for server in self.servers:
            state.hold_path(self.settings, server.name).unlink(missing_ok=True)
            log = state.log_path(self.settings, server.name)
            if log.exists() and log.stat().st_size > LOG_BYTES:
                log.rename(log.with_suffix(".log.1"))
        self._tasks = [asyncio.create_task(self._keep(server)) for server in self.servers]
        all_ready = asyncio.create_task(self._all_ready())
        try:
            await asyncio.wait([all_ready, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():  # only an error ends one
                    task.result()
        finally:
            all_ready.cancel()
        self.run.seconds = time.monotonic() - began
        on_up()
        self.run.state = "running"
        self._save()
        _log.info("platform is up", seconds=round(self.run.seconds, 2))

    async def stop(self, error: str = "") -> None:
        """Stop every server, the newest first, and keep the run's outcome. Never raises for a server."""
        self.run.state = "stopping"
        self._save()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        first = [server for server in self.servers if server.after]
        for group in (first, [server for server in self.servers if not server.after]):
            await asyncio.gather(*(self._stop(server) for server in group))
        self.run.state, self.run.error = ("failed", error) if error else ("stopped", "")
        self._save()

    async def _all_ready(self) -> None:
        for event in self._ready.values():
            await event.wait()

    async def _keep(self, server: Server) -> None:
        deaths: deque[float] = deque(maxlen=DEATHS)
        first = True
        while True:
            await self._while_held(server)
            try:
                await self._bring_up(server, "starting" if first else "restarting")
                first = False
                ended = await self._until_ended_or_held(server)
            except PlatformError as error:
                if first:
                    raise
                ended = str(error).partition("\n")[0]
            self._ready[server.name].clear()
            if not ended:
                await self._stop(server)
                continue
            now = time.monotonic()
            if len(deaths) == DEATHS and now - deaths[0] < DEATH_WINDOW:
                await self._stop(server)
                self._set(server, "failed", f"given up: {ended}")
                _log.error("server given up", server=server.name, reason=ended)
                await self._until_asked_again(server)
                deaths.clear()
                continue
            deaths.append(now)
            recent = sum(now - death < DEATH_WINDOW for death in deaths)
            pause = BACKOFF[min(recent, len(BACKOFF)) - 1]
            self._set(server, "restarting", ended)
            self.run.servers[server.name].restarts += 1
            _log.warning("server died, restarting it", server=server.name, reason=ended, pause=pause)
            await self._stop(server)
            await asyncio.sleep(pause)

    async def _bring_up(self, server: Server, as_state: state.ServerState) -> None:
        if as_state == "starting":
            for name in server.after:
                await self._ready[name].wait()
        log = state.log_path(self.settings, server.name)
        try:
            await asyncio.to_thread(server.prepare)
            began = time.monotonic()
            child = process.spawn(server.argv, log=log, env={"MALLOC_ARENA_MAX": "2", **server.env})
        except (OSError, subprocess.SubprocessError) as error:  # a full disk, no memory, too many processes
            raise PlatformError(
                f"{server.title} could not be started: {error}\nFree what is short (room on the disk, "
                "memory, processes), or move the data with SNACKS_STATE; then try again."
            ) from error
        self._processes[server.name] = child
        mine = self.run.servers[server.name]
        mine.pid, mine.ticks, mine.since = child.pid, process.start_ticks(child.pid) or 0, time.time()
        self._set(server, as_state)
        await self._until_ready(server, child, log)
        mine.start_seconds = time.monotonic() - began
        self._set(server, "running")
        self._ready[server.name].set()
        _log.info("server is up", server=server.name, pid=child.pid, seconds=round(mine.start_seconds, 2))

    async def _until_ready(self, server: Server, child: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if child.poll() is not None:
                raise PlatformError(
                    f"{server.title} ended ({_outcome(child)}) while it started. The end of its log, {log}:\n"
                    f"{process.log_tail(log)}"
                )
            try:
                await server.ready(self.settings)
            except Exception as error:  # noqa: BLE001  (each client has its own for "not yet")
                last = error
            else:
                return
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"{server.title} did not answer within {START_SECONDS:.0f} s ({type(last).__name__}: "
                    f"{last}). The end of its log, {log}:\n{process.log_tail(log)}"
                )
            await asyncio.sleep(_POLL)

    async def _until_ended_or_held(self, server: Server) -> str:
        """How it ended; empty when it is to be stopped."""
        child, hold = self._processes[server.name], state.hold_path(self.settings, server.name)
        while child.poll() is None:
            if hold.exists():
                return ""
            await asyncio.sleep(_POLL * 2)
        return f"ended ({_outcome(child)})"

    async def _while_held(self, server: Server) -> None:
        hold = state.hold_path(self.settings, server.name)
        while hold.exists():
            if self.run.servers[server.name].state != "stopped":
                self._set(server, "stopped", "stopped on request")
            await asyncio.sleep(_POLL)

    async def _until_asked_again(self, server: Server) -> None:
        hold = state.hold_path(self.settings, server.name)
        while not hold.exists():
            await asyncio.sleep(_POLL * 4)

    async def _stop(self, server: Server) -> None:
        child = self._processes.pop(server.name, None)
        if child:
            began = time.monotonic()
            if server.before_stop and child.poll() is None:
                with contextlib.suppress(Exception):
                    await server.before_stop(self.settings)
            by_itself = await process.stop(child, server.grace)
            _log.info("server stopped", server=server.name, seconds=round(time.monotonic() - began, 2))
            if not by_itself:
                _log.warning("server had to be killed", server=server.name, after=server.grace)
            elif server.archive:
                await asyncio.to_thread(_keep_archive, *server.archive)
        self.run.servers[server.name].pid = 0
        if self.run.state == "stopping":
            self._set(server, "stopped")

    def _set(self, server: Server, to: state.ServerState, detail: str = "") -> None:
        mine = self.run.servers[server.name]
        mine.state, mine.detail = to, detail
        self._save()

    def _save(self) -> None:
        try:
            state.write(self.settings, self.run)
        except OSError as error:  # a full disk is no reason to leave the servers alone
            _log.warning("run file not written", error=str(error))


def _outcome(child: subprocess.Popen[bytes]) -> str:
    code = child.returncode
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _keep_archive(written: Path, kept: Path) -> None:
    """Move a class-data archive into the cache. Without one the next start is slower, no more."""
    try:
        if not written.exists() or kept.exists():
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        half = kept.with_suffix(f".{os.getpid()}")
        shutil.move(written, half)
        half.rename(kept)
    except OSError as error:
        _log.warning("class-data archive not kept", error=str(error))
