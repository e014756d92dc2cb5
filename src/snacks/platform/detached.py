"""`up` and `down`: a supervisor in the background, and its way to be told to stop.

Run as `python -m snacks.platform.detached` it is that supervisor.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.status import Status

import snacks
from snacks import config, logs
from snacks.config import Settings
from snacks.platform import fetch as fetching
from snacks.platform import local, ports, process, state
from snacks.platform.errors import PlatformError

UP_SECONDS = 120.0
DOWN_SECONDS = 60.0
BUSY = 75
"""The background process ends with this when another one supervises the platform already."""
_POLL = 0.05
_PR_SET_PDEATHSIG = 1


def up(settings: Settings, console: Console | None = None) -> state.Run:
    """Start the platform in the background and return when every server answers; at once when it runs.

    Until then the background process ends with this one: after Ctrl-C, an error or a kill nothing is left.

    Raises:
        PlatformError: it cannot be fetched or started, or runs with other settings.
    """
    console = console or Console(stderr=True)
    if state.live(settings):
        return local.wait_for_run(settings)
    ports.check(settings)
    fetching.fetch(settings, console)
    log = state.log_path(settings, "supervisor")
    state.run_folder(settings)
    child = _spawn(settings, log)
    try:
        run = _until_up(settings, console, child, log)
    except BaseException:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(DOWN_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(10)
        raise
    child.returncode = child.returncode or 0  # it goes on without us: no warning when this object goes
    return run or local.wait_for_run(settings)


def _spawn(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    source = str(Path(snacks.__file__).parent.parent)
    paths = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, **config.environment(settings), "PYTHONPATH": paths}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "snacks.platform.detached", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )


def _until_up(
    settings: Settings, console: Console, child: subprocess.Popen[bytes], log: Path
) -> state.Run | None:
    """The run of `child` once all its servers answer; None when another supervisor was faster."""
    deadline = time.monotonic() + UP_SECONDS
    told: set[str] = set()
    with console.status("Starting the servers") as line:
        while time.monotonic() < deadline:
            ended = child.poll()
            run = state.read(settings)
            if run and run.pid == child.pid:
                _tell(run, told, console, line)
                if run.state == "running":
                    return run
            if ended == BUSY:
                return None
            if ended is not None:
                if run and run.pid == child.pid and run.error:
                    raise PlatformError(run.error)
                raise PlatformError(
                    f"The supervisor ended with {ended}. The end of its log, {log}:\n{process.log_tail(log)}"
                )
            time.sleep(_POLL)
    raise PlatformError(f"The servers did not start within {UP_SECONDS:.0f} s. See the logs in {log.parent}.")


def _tell(run: state.Run, told: set[str], console: Console, line: Status) -> None:
    for server in run.servers.values():
        if server.state == "running" and server.name not in told:
            told.add(server.name)
            port = f"port {server.port}, " if server.port else ""
            console.print(f"  {server.title}: {port}{server.start_seconds:.1f} s")
    waiting = [server.title for server in run.servers.values() if server.name not in told]
    if waiting:
        line.update(f"Starting {', '.join(waiting)}")


def down(settings: Settings) -> bool:
    """Stop the platform of this checkout and wait until all of it is gone; False when none ran.

    A process that is inside `running` (the demo, a test) gets SIGTERM like a background one.

    Raises:
        PlatformError: something of it is still there after a minute.
    """
    run = state.live(settings)
    if not run:
        return False
    process.send(run.pid, run.ticks, signal.SIGTERM)
    if _gone(settings, run, DOWN_SECONDS):
        return True
    process.send(run.pid, run.ticks, signal.SIGKILL)  # its servers die with it
    if _gone(settings, run, 10):
        return True
    raise PlatformError(f"The platform's supervisor (process {run.pid}) does not end.")


def _gone(settings: Settings, run: state.Run, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        now = state.read(settings)
        servers = now.servers.values() if now and now.pid == run.pid else run.servers.values()
        if not process.alive(run.pid, run.ticks) and not any(process.alive(s.pid, s.ticks) for s in servers):
            return True
        time.sleep(_POLL)
    return False


def reset(settings: Settings) -> None:
    """Delete all that is known of orders here: data, logs, run files, a rebuild that was not ended.

    The cache stays, and what `bench` and `chaos` have found.

    Raises:
        PlatformError: the platform runs.
    """
    lock = state.acquire(settings)
    if not lock:
        raise PlatformError("The platform runs; stop it first: ./snacks down")
    with lock:
        for name in ("data", "logs", "run/flink"):
            shutil.rmtree(settings.state_dir / name, ignore_errors=True)
        (settings.state_dir / "run" / "platform.json").unlink(missing_ok=True)
        for path in settings.state_dir.glob(f"{state.REBUILD}*"):
            path.unlink(missing_ok=True)


async def _supervise(settings: Settings) -> None:
    me = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, me.cancel if me else lambda: None)
    lock = state.acquire(settings)
    if not lock:
        sys.exit(BUSY)
    async with local.owned(settings, Console(stderr=True), lock, lambda: _end_with(None)):
        await asyncio.Event().wait()


def _end_with(parent: int | None) -> None:
    """End when `up` ends; None: outlive it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM if parent else 0)
    if parent and os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """The background process of `up`, whose process id is the argument."""
    _end_with(int(sys.argv[1]))
    settings = config.load()
    logs.setup(settings)
    try:
        asyncio.run(_supervise(settings))
    except asyncio.CancelledError:
        return
    except PlatformError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
