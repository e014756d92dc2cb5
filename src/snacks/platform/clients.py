"""One download each, by the ordinary clients: jgo for Maven, pip for wheels, apt-get for Debian's packages.

They know their registries, mirrors and proxies; nothing here names one.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
import structlog
from jgo.maven import MavenContext, PythonResolver

from snacks.platform.artifacts import Artifact
from snacks.platform.errors import PlatformError
from snacks.platform.process import log_tail, spawn

Advance = Callable[[int], None]
TRIES = 3
TIMEOUT = 60
"""Seconds without a byte, after which a download counts as broken."""
COMMAND_TIMEOUT = 900.0
"""Seconds that pip or apt-get may take altogether."""
RETRY = "Check the network (and https_proxy), then run the command again: what is complete is kept."

_log = structlog.get_logger(__name__)


class Cancelled(Exception):  # noqa: N818  (no error: somebody pressed Ctrl-C)
    """The download was given up on request."""


def fetch(artifact: Artifact, folder: Path, advance: Advance, cancel: threading.Event) -> Path:
    """Download one artifact into the empty folder `folder`; returns the file, not verified yet.

    Raises:
        PlatformError: the registry did not give it, after several tries.
        Cancelled: `cancel` was set.
    """
    client = _wheel if artifact.is_wheel else _maven
    received = 0

    def count(size: int) -> None:
        nonlocal received
        if cancel.is_set():
            raise Cancelled
        received += size
        advance(size)

    for attempt in range(1, TRIES + 1):
        try:
            return client(artifact, folder, count)
        except (OSError, RuntimeError, requests.RequestException) as error:
            advance(-received)
            received = 0
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            if attempt == TRIES:
                reason = _reason(error)
                raise PlatformError(f"Could not download {artifact.name}: {reason}\n{RETRY}") from error
            _log.warning("download failed, trying again", artifact=artifact.name, attempt=attempt)
            cancel.wait(attempt)
    raise AssertionError


def _reason(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted here (a proxy's? name its CA file in REQUESTS_CA_BUNDLE)"
    return type(error).__name__ if isinstance(error, requests.RequestException) else str(error)


def _maven(artifact: Artifact, folder: Path, advance: Advance) -> Path:
    @contextmanager
    def progress(_name: str, _size: int) -> Iterator[Advance]:
        yield advance

    group, name, version, *rest = artifact.coordinate.split(":")
    packaging, classifier = (*rest, *("jar", "")[len(rest) :])
    context = MavenContext(
        resolver=PythonResolver(progress_callback=progress),
        repo_cache=folder,
        local_repos=[],
        timeout=TIMEOUT,
    )
    component = context.project(group, name).at_version(version)
    return Path(component.artifact(classifier, packaging).resolve())


def _wheel(artifact: Artifact, folder: Path, advance: Advance) -> Path:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{artifact.coordinate} --hash=sha256:{artifact.sha256}\n", "utf-8")
    into = folder / "wheel"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-cache-dir"]
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--progress-bar=off"]
    temporary = folder / "pip"  # pip tells no progress to a program: watch its file grow
    temporary.mkdir()
    run(
        [*pip, "download", *options, "--dest", into, "--requirement", requirement],
        log=folder / "pip.log",
        env={"TMPDIR": str(temporary)},
        growing=temporary,
        advance=advance,
    )
    return next(into.glob("*.whl"))


def debian(packages: Sequence[str], folder: Path, state: Path) -> None:
    """Unpack Debian packages under `folder` without root; apt checks their signatures.

    `state` is a folder for lists of our own, used when the system's are missing or old.

    Raises:
        PlatformError: there is no apt-get, or it does not have one of the packages.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise PlatformError(
            f"{', '.join(packages)} would come from Debian's packages, but there is no apt-get here.\n"
            "Install it with your system's package manager, or use the Docker setup (compose.yaml)."
        )
    debs = folder.with_name(folder.name + ".debs")
    debs.mkdir(parents=True)
    log = debs / "apt.log"
    try:
        run(["apt-get", "--quiet", "download", *packages], log=log, cwd=debs)
    except RuntimeError:
        for name in ("lists/partial", "cache/archives/partial"):
            (state / name).mkdir(parents=True, exist_ok=True)
        private = [
            f"-oDir::State={state}",
            f"-oDir::State::lists={state}/lists",
            f"-oDir::Cache={state}/cache",
        ]
        private.append("-oDir::State::status=/var/lib/dpkg/status")
        private.append("-oAPT::Sandbox::User=")
        try:
            run(["apt-get", "--quiet", *private, "update"], log=log, cwd=debs)
            run(["apt-get", "--quiet", *private, "download", *packages], log=log, cwd=debs)
        except RuntimeError as error:
            raise PlatformError(
                f"Could not get {', '.join(packages)} from Debian's packages: {error}\n{RETRY}"
            ) from error
    for deb in debs.glob("*.deb"):
        try:
            run(["dpkg-deb", "--extract", deb, folder], log=log)
        except RuntimeError as error:
            raise PlatformError(f"{deb.name} cannot be unpacked: {error}\n{RETRY}") from error
    shutil.rmtree(debs)


def run(
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: Path | None = None,
    growing: Path | None = None,
    advance: Advance = lambda _count: None,
) -> None:
    """Run a command to its end, its output in `log`; tell `advance` the bytes that `growing` gained.

    Raises:
        RuntimeError: it failed, or took longer than COMMAND_TIMEOUT; with the last lines of its output.
    """
    process = spawn(argv, log=log, cwd=cwd, env=env, stdin=stdin)
    deadline = time.monotonic() + COMMAND_TIMEOUT
    seen = 0
    try:
        while True:
            try:
                code = process.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{os.fspath(argv[0])} took over {COMMAND_TIMEOUT:.0f} s") from None
                size = _size(growing) if growing else 0
                advance(max(0, size - seen))
                seen = max(seen, size)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
    if code:
        raise RuntimeError(f"{os.fspath(argv[0])} ended with {code}:\n{log_tail(log)}")


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # gone between listing and looking
            continue
    return total
