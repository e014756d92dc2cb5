"""Bring everything that the servers need into the cache, once for all checkouts on this machine."""

import errno
import fcntl
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from rich.console import Console

from snacks.config import Settings
from snacks.platform import artifacts, clients, install, java
from snacks.platform.artifacts import Artifact
from snacks.platform.databases import program
from snacks.platform.errors import PlatformError
from snacks.platform.progress import Meter, downloads, megabytes

PARALLEL = 4
FLINK = ["flink", "mongo-sink"]
"""What the Flink engine needs besides."""
UNPACKED = {"mysql": 265_000_000, "mongod": 141_000_000, "java": 109_000_000, "mariadb": 60_000_000}
"""Bytes of the unpacked servers."""
ROOM = 400_000_000
"""Bytes for templates of data folders, class-data archives and a first run."""
LOCK_TIMEOUT = 1800.0


class Installed(Struct, frozen=True):
    """Where in the cache everything lies that a start needs."""

    cache: Path
    java: java.Java
    kafka: Path
    connect: Path
    plugins: Path
    database: Path
    mongod: Path
    kafka_template: Path
    database_template: Path
    flink: Path | None = None
    """None unless the engine is Flink; `mongo_sink` likewise."""
    mongo_sink: Path | None = None


def fetch(
    settings: Settings, console: Console | None = None, cancel: threading.Event | None = None
) -> Installed:
    """Download and unpack what is missing; returns at once when nothing is.

    Two processes may call it together: one works, the other waits. After an interruption the next call
    goes on where it stopped, artifact by artifact.

    Raises:
        PlatformError: this machine cannot run the servers, the disk is too full, a download failed or is
            not the pinned file. The message says what to do.
        clients.Cancelled: `cancel` was set by another thread.
    """
    console = console or Console(stderr=True)
    cancel = cancel or threading.Event()
    found = java.find(settings)
    sets = [
        "kafka",
        "connect",
        f"debezium-{settings.db}",
        "mongod",
        *(["mysql"] if settings.db == "mysql" else []),
    ]
    sets += FLINK if settings.engine == "flink" else []
    sets += [] if found else ["java"]
    wanted = {name: artifacts.locked(name) for name in sets}
    folders = {name: settings.cache_dir / f"{name}-{artifacts.key(pins)}" for name, pins in wanted.items()}
    if settings.db == "mariadb":
        folders["mariadb"] = settings.cache_dir / "mariadb-debian"
    if not all(folder.exists() for folder in folders.values()) or not all(
        path.exists() for path in _templates(settings, folders)
    ):
        _check_machine()
        with _locked(settings.cache_dir, console):
            _fetch(settings, wanted, folders, console, cancel)
            found = found or _own(folders)
            _make_templates(settings, folders, found, console)
    kafka_template, database_template = _templates(settings, folders)
    return Installed(
        cache=settings.cache_dir,
        java=found or _own(folders),
        kafka=folders["kafka"],
        connect=folders["connect"],
        plugins=folders[f"debezium-{settings.db}"],
        database=folders[settings.db],
        mongod=folders["mongod"],
        kafka_template=kafka_template,
        database_template=database_template,
        flink=folders.get("flink"),
        mongo_sink=folders.get("mongo-sink"),
    )


def _own(folders: dict[str, Path]) -> java.Java:
    path = folders["java"] / "bin/java"
    own = java.probe(path)
    if not own:
        raise PlatformError(
            f"The fetched Java does not run: {path}. Install one of {java.OLDEST} or newer instead."
        )
    return own


def _templates(settings: Settings, folders: dict[str, Path]) -> tuple[Path, Path]:
    templates = settings.cache_dir / "templates"
    database = install.database_template_key(settings, folders[settings.db])
    return templates / install.kafka_template_key(folders["kafka"]), templates / database


def _check_machine() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise PlatformError(
            f"The servers without Docker run on Linux on x86-64; this is {platform.system()} on "
            f"{platform.machine()}. Use the Docker setup (compose.yaml) here."
        )


@contextmanager
def _locked(cache: Path, console: Console) -> Iterator[None]:
    """Hold the cache alone. The kernel frees the lock when its holder dies."""
    try:
        (cache / "files").mkdir(parents=True, exist_ok=True)
        file = (cache / "fetch.lock").open("w")
    except OSError as error:
        raise PlatformError(
            f"Cannot write to the cache {cache}: {error}. Move it with SNACKS_CACHE."
        ) from error
    with file:
        deadline = time.monotonic() + LOCK_TIMEOUT
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    console.print(f"Another process fetches into {cache}; waiting for it.")
                    told = True
                if time.monotonic() > deadline:
                    raise PlatformError(
                        f"Another process has held {cache}/fetch.lock for too long."
                    ) from None
                time.sleep(0.2)
        shutil.rmtree(cache / "tmp", ignore_errors=True)  # left by one that was killed
        (cache / "tmp").mkdir()
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise PlatformError(_no_room(cache, 0)) from error
            raise
        finally:
            shutil.rmtree(cache / "tmp", ignore_errors=True)


def _no_room(cache: Path, needed: int) -> str:
    free = shutil.disk_usage(cache).free
    return (
        f"The disk of the cache {cache} is too full: {megabytes(free)} free"
        + (f", {megabytes(needed)} needed" if needed else "")
        + ". Free some, or move the cache with SNACKS_CACHE."
    )


def _fetch(
    settings: Settings,
    wanted: dict[str, list[Artifact]],
    folders: dict[str, Path],
    console: Console,
    cancel: threading.Event,
) -> None:
    cache = settings.cache_dir
    missing = [name for name, folder in folders.items() if not folder.exists()]
    pins = {a.sha256: a for name in missing for a in wanted.get(name, []) if not _have(cache, a)}
    size = sum(artifact.size for artifact in pins.values())
    needed = size + sum(UNPACKED.get(name, 0) for name in missing) + ROOM
    if shutil.disk_usage(cache).free < needed:
        raise PlatformError(_no_room(cache, needed))
    if pins:
        with downloads(console, len(pins), size) as meter:
            _download_all(cache, list(pins.values()), meter, cancel)
    for name in missing:
        console.print(f"Unpacking {name}.")
        _assemble(settings, name, wanted.get(name, []), folders[name])


def _download_all(cache: Path, pins: list[Artifact], meter: Meter, cancel: threading.Event) -> None:
    pins.sort(key=lambda artifact: -artifact.size)  # the longest first: nothing waits for it at the end
    with ThreadPoolExecutor(PARALLEL, "fetch") as pool:
        jobs = [pool.submit(_download, cache, artifact, meter, cancel) for artifact in pins]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
        except BaseException:  # Ctrl-C too: the others stop at their next bytes
            cancel.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _file(cache: Path, artifact: Artifact) -> Path:
    return cache / "files" / f"{artifact.sha256[:12]}-{artifact.filename}"


def _have(cache: Path, artifact: Artifact) -> bool:
    """Whether it was downloaded whole; a loss of power can leave an empty file."""
    path = _file(cache, artifact)
    return path.is_file() and path.stat().st_size == artifact.size


def _download(cache: Path, artifact: Artifact, meter: Meter, cancel: threading.Event) -> None:
    folder = cache / "tmp" / f"{artifact.sha256[:12]}"
    folder.mkdir()
    with meter.file(artifact.name, artifact.size) as advance:
        path = clients.fetch(artifact, folder, advance, cancel)
    artifacts.verify(artifact, path)
    path.rename(_file(cache, artifact))
    shutil.rmtree(folder)


def _assemble(settings: Settings, name: str, pins: list[Artifact], folder: Path) -> None:
    cache = settings.cache_dir
    temporary = cache / "tmp" / f"{name}.new"
    plugin = name.startswith("debezium") or name == "mongo-sink"
    into = temporary / name if plugin else temporary  # plugin.path holds folders of plug-ins
    into.mkdir(parents=True)
    if name == "mariadb":
        clients.debian(["mariadb-server-core"], temporary, cache / "apt")
    elif name in install.KEEP:
        install.unpack(name, _file(cache, pins[0]), temporary)
    else:
        for artifact in pins:
            try:
                os.link(_file(cache, artifact), into / artifact.filename)
            except OSError:  # not every file system has hard links
                shutil.copyfile(_file(cache, artifact), into / artifact.filename)
    if name in ("mysql", "mariadb"):
        install.add_libraries(program(name, temporary), temporary, cache / "apt")
    elif name == "mongod":
        install.add_libraries(temporary / "mongod", temporary, cache / "apt")
    elif name == "java":
        install.share_classes(temporary)
    elif name == "mongo-sink":
        install.name_services(into / "services.jar")
    temporary.rename(folder)
    if name in install.KEEP:
        _file(cache, pins[0]).unlink()  # the archive is large, and unpacked now


def _make_templates(settings: Settings, folders: dict[str, Path], found: java.Java, console: Console) -> None:
    kafka, database = _templates(settings, folders)
    temporary = settings.cache_dir / "tmp"
    console.print("Preparing empty data folders.")
    with ThreadPoolExecutor(2, "prepare") as pool:
        jobs = [
            pool.submit(
                install.template,
                kafka,
                temporary / kafka.name,
                lambda path: install.format_kafka(found, folders["kafka"], path),
            ),
            pool.submit(
                install.template,
                database,
                temporary / database.name,
                lambda path: install.initialize_database(settings, folders[settings.db], path),
            ),
        ]
        for job in jobs:
            job.result()
