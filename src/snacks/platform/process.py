"""Child processes that never outlive their parent, however it dies."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# Becomes the program itself, after asking the kernel for SIGKILL when the parent dies. A `preexec_fn`
# would do the same, but Python code between fork and exec can deadlock a program that has threads.
_LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]):  # it died before that
    sys.exit(1)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error}")
"""


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in its own session, both of its outputs appended to `log`.

    Its own session: a terminal's Ctrl-C reaches us alone, and we stop the servers in order. The kernel
    kills the child when the thread that called this dies, so call it from a thread that stays: the
    main one.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())]
    with log.open("ab") as output, (stdin or Path(os.devnull)).open("rb") as source:
        return subprocess.Popen(
            [*launcher, *(os.fspath(part) for part in argv)],
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            # Java reads file names in the locale's letters; and what servers say is searched, in English.
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            start_new_session=True,
        )


def start_ticks(pid: int) -> int | None:
    """When this process started, in kernel ticks since boot; None if it is gone or a zombie.

    Together with the pid it names a process for good: pids come again, this pair does not.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def alive(pid: int, started: int) -> bool:
    """Whether exactly this process still runs."""
    return pid > 0 and start_ticks(pid) == started


def send(pid: int, started: int, sign: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone already."""
    if not alive(pid, started):
        return False
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return False
    return True


async def stop(process: subprocess.Popen[bytes], grace: float) -> bool:
    """Ask a child to end; after `grace` seconds end it. True when it ended by itself."""
    if process.poll() is None:
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a frozen one would not hear it
    deadline = time.monotonic() + grace
    while process.poll() is None and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    if process.poll() is not None:
        return True
    process.kill()
    await asyncio.to_thread(process.wait, 10)
    return False


def log_tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
