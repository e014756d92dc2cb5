"""wrk, the load tool, and what it says."""

import asyncio
import re
import shutil
from pathlib import Path

import structlog

from snacks.config import Settings
from snacks.platform import PlatformError, clients

_log = structlog.get_logger(__name__)
SCRIPTS = Path(__file__).parent / "wrk"
PACKAGES = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")
_FIGURE = re.compile(r"^FIGURE (\w+) ([\d.]+)$", re.MULTILINE)


def wrk(settings: Settings) -> tuple[Path, dict[str, str]]:
    """The program and its environment: the one on PATH, else Debian's package, unpacked in the cache.

    Raises:
        PlatformError: it cannot be got.
    """
    installed = shutil.which("wrk")
    if installed:
        return Path(installed), {}
    folder = settings.cache_dir / "bench-wrk"
    if not folder.exists():
        half = folder.with_name("bench-wrk.new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        clients.debian(PACKAGES, half, settings.cache_dir / "apt")
        half.rename(folder)
    libraries = next(folder.glob("usr/lib/*/libluajit*")).parent
    return folder / "usr/bin/wrk", {"LD_LIBRARY_PATH": str(libraries)}


async def load(
    settings: Settings, script: str, url: str, *, users: int, seconds: float, argument: str = ""
) -> dict[str, float]:
    """Drive `url` with so many users who send their next request as soon as they have an answer.

    Returns requests/s, latencies in milliseconds (p50, p90, p95, p99), and errors: answers that are not 2xx,
    and connections that broke or got no answer.

    Raises:
        PlatformError: wrk cannot be got, or failed, or not one answer came.
    """
    program, environment = await asyncio.to_thread(wrk, settings)
    argv = [
        str(program),
        *("--threads", "1", "--connections", str(users), "--duration", f"{seconds:.0f}s", "--timeout", "10s"),
        *("--script", str(SCRIPTS / script), url, "--", argument),
    ]
    child = await asyncio.create_subprocess_exec(
        *argv, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await child.communicate()
    figures = {name: float(value) for name, value in _FIGURE.findall(output.decode())}
    if child.returncode or not figures:
        raise PlatformError(f"wrk failed:\n{output.decode()[-1500:]}")
    if not figures["rate"]:
        raise PlatformError(f"{url} gave {users} users not one answer within {seconds:.0f} s")
    reasons = re.findall(r"^an answer that was refused: (.*)$", output.decode(), re.MULTILINE)
    if reasons:
        _log.warning("the last answer that was not 2xx", answer=reasons[-1][:200])
    return figures
