"""The run file of a checkout's platform: who supervises it, and what each server is up to."""

import fcntl
import os
import time
from pathlib import Path
from typing import IO, Literal

import msgspec
import psutil
from msgspec import Struct

from snacks.config import Settings
from snacks.platform.errors import PlatformError
from snacks.platform.process import alive

REBUILD = "rebuild.db"
"""What `snacks rebuild` has folded so far, in the state folder: whole orders, so `reset` must know it."""
ServerState = Literal["waiting", "starting", "running", "restarting", "stopped", "failed"]


class ServerRun(Struct):
    """One server of a run. `pid` with `ticks` names the process for good; 0 while there is none."""

    name: str
    title: str
    port: int
    state: ServerState = "waiting"
    pid: int = 0
    ticks: int = 0
    since: float = 0.0
    """When this process was started, in seconds since the epoch."""
    start_seconds: float = 0.0
    """From its start until it answered."""
    restarts: int = 0
    detail: str = ""


class Run(Struct):
    """One run of the platform under one supervisor."""

    pid: int
    ticks: int
    state: Literal["starting", "running", "stopping", "stopped", "failed"] = "starting"
    db: str = "mysql"
    seconds: float = 0.0
    """From the first spawn until all servers answered."""
    error: str = ""
    servers: dict[str, ServerRun] = {}


class ServerStatus(Struct, frozen=True):
    """What `status` tells of one server: sizes in bytes, times in seconds."""

    name: str
    title: str
    state: ServerState
    port: int
    pid: int
    rss: int
    uptime: float
    start_seconds: float
    restarts: int
    detail: str


def run_folder(settings: Settings) -> Path:
    """Where run files lie; made when missing.

    Raises:
        PlatformError: it cannot be made.
    """
    folder = settings.state_dir / "run"
    try:
        for name in ("run", "logs", "data"):
            (settings.state_dir / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlatformError(
            f"Cannot write to {settings.state_dir}: {error}. Move it with SNACKS_STATE."
        ) from error
    return folder


def log_path(settings: Settings, name: str) -> Path:
    """The log of a server, or of the `supervisor`."""
    return settings.state_dir / "logs" / f"{name}.log"


def hold_path(settings: Settings, name: str) -> Path:
    """A file that tells the supervisor to leave this server down."""
    return settings.state_dir / "run" / f"{name}.hold"


def acquire(settings: Settings) -> IO[str] | None:
    """Become this checkout's one supervisor; None when there is one. The kernel frees it when we die."""
    file = (run_folder(settings) / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def write(settings: Settings, run: Run) -> None:
    """Replace the run file as a whole; a reader never sees half of it."""
    path = run_folder(settings) / "platform.json"
    half = path.with_suffix(f".{os.getpid()}")
    half.write_bytes(msgspec.json.encode(run))
    half.rename(path)


def read(settings: Settings) -> Run | None:
    """The last run of this checkout, whether it still runs or not."""
    try:
        return msgspec.json.decode((settings.state_dir / "run" / "platform.json").read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError):
        return None


def live(settings: Settings) -> Run | None:
    """The run whose supervisor is alive now; None when there is none."""
    run = read(settings)
    return run if run and alive(run.pid, run.ticks) and run.state not in ("stopped", "failed") else None


def status(settings: Settings) -> list[ServerStatus]:
    """Every server of this checkout as it is now; empty when no platform ever ran here."""
    run, last = live(settings), read(settings)
    return [_status(server, up=run is not None) for server in last.servers.values()] if last else []


def _status(server: ServerRun, *, up: bool) -> ServerStatus:
    rss = 0
    here = alive(server.pid, server.ticks)
    if here:
        try:
            rss = psutil.Process(server.pid).memory_info().rss
        except psutil.Error:
            here = False
    return ServerStatus(
        name=server.name,
        title=server.title,
        state=server.state if up else "stopped",
        port=server.port,
        pid=server.pid if here else 0,
        rss=rss,
        uptime=time.time() - server.since if here else 0.0,
        start_seconds=server.start_seconds,
        restarts=server.restarts,
        detail=server.detail,
    )
