"""`compose.yaml`, as the real Docker Compose reads it for each broker, against the code.

No engine is needed to read it. What only an engine can show (images that exist, containers that get
healthy) is not shown here.
"""

import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import tools

from snacks import config
from snacks.platform import artifacts
from snacks.platform.compose import BROKERS, ROOT, make_env, read_env, settings_on_host

Project = dict[str, Any]
PASSWORDS = ("MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD", "CDC_PASSWORD", "MONGO_ROOT_PASSWORD", "MONGO_PASSWORD")
PRIVILEGES = "SELECT, RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT"
INNER_KAFKA = "broker:29092"


@pytest.fixture(scope="session")
def compose() -> list[str]:
    return tools.compose()


def _config(
    compose: list[str], folder: Path, variables: dict[str, str], **environ: str
) -> subprocess.CompletedProcess[str]:
    file = folder / "variables"
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), "utf-8")
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
    files = ["--file", str(ROOT / "compose.yaml"), "--env-file", str(file)]
    return subprocess.run(
        [*compose, *files, "config", "--format", "json"],
        env=clean,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _variables() -> dict[str, str]:
    """Those of .env.example, with passwords that can be told apart."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    return example | {name: f"{name.lower()}9" for name in PASSWORDS}


@pytest.fixture(scope="session", params=[*((broker, "actors") for broker in BROKERS), ("redpanda", "flink")])
def chosen(request: pytest.FixtureRequest) -> tuple[str, str]:
    broker, engine = request.param
    return broker, engine


@pytest.fixture(scope="session")
def broker(chosen: tuple[str, str]) -> str:
    return chosen[0]


@pytest.fixture(scope="session")
def project(compose: list[str], chosen: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """As `BROKER=... ENGINE=... docker compose` sees it."""
    broker, engine = chosen
    folder = tmp_path_factory.mktemp("project")
    done = _config(compose, folder, _variables(), BROKER=broker, ENGINE=engine)
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
    assert "./snacks platform env" in done.stderr


def test_env_is_made_once_with_a_password_of_its_own_for_each(compose: list[str], tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_bytes((ROOT / ".env.example").read_bytes())
    assert make_env(tmp_path)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    made = read_env(tmp_path)
    assert tuple(made)[: len(PASSWORDS)] == PASSWORDS
    values = [made[name] for name in PASSWORDS]
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in values)
    assert len(set(values)) == len(values)
    done = _config(compose, tmp_path, made)
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "snacks-redpanda"
    assert not make_env(tmp_path)
    assert read_env(tmp_path) == made


def test_one_variable_chooses_the_broker_the_project_and_so_the_data(project: Project, broker: str) -> None:
    assert project["name"] == f"snacks-{broker}"
    assert set(project["services"]) & set(BROKERS) == {broker}
    assert project["services"][broker]["networks"]["default"]["aliases"] == ["broker"]
    mine = {volume["name"] for volume in project["volumes"].values()}
    assert all(name.startswith(f"snacks-{broker}_") for name in mine)


def test_whatever_is_chosen_the_whole_playground_is_there(project: Project, chosen: tuple[str, str]) -> None:
    broker, engine = chosen
    always = {"connect", "mysql", "mongo", "adminer", "mongo-express", "console", "app"}
    flink = {"jars", "flink-jobmanager", "flink-taskmanager", "flink-sql"} if engine == "flink" else set()
    assert set(project["services"]) == always | {broker} | flink
    assert _settings(project).engine == engine


def test_flink_has_the_settings_and_the_jars_that_it_has_without_docker(project: Project) -> None:
    services = project["services"]
    if "flink-jobmanager" not in services:
        return
    properties = _environment(project, "flink-jobmanager")["FLINK_PROPERTIES"].splitlines()
    ours = [line for line in _conf("flink.yaml").splitlines() if line and line[0] != "#" and "$" not in line]
    assert set(ours) <= set(properties)
    default = config.Settings()
    assert list(_published(project, "flink-jobmanager")) == [default.flink_port]
    assert list(_published(project, "flink-sql")) == [default.flink_sql_port]
    settings = _settings(project)
    assert (settings.flink, settings.flink_sql) == ("http://flink-jobmanager:8081", "http://flink-sql:8084")
    version = next(a for a in artifacts.locked("flink") if a.coordinate.split(":")[1] == "flink-clients")
    assert services["flink-sql"]["image"] == f"flink:{version.name.split()[1]}-scala_2.12-java17"
    script = services["jars"]["command"][2]
    fetched = {line.split()[3]: line.split()[5:] for line in script.splitlines() if "jars" in line}
    assert set(fetched) == {"flink", "mongo-sink"}
    known = {artifact.name.split()[0] for artifact in artifacts.locked("flink")}
    assert set(fetched["flink"]) <= known
    # The job is started again from the newest checkpoint that the app finds, under one path for all.
    state = re.search(r"SNACKS_STATE=(\S+)", (ROOT / "Dockerfile").read_text("utf-8"))
    assert state
    for name in ("app", "flink-jobmanager", "flink-taskmanager", "flink-sql"):
        mounted = {volume["source"]: volume["target"] for volume in services[name]["volumes"]}
        assert mounted["flink-checkpoints"] == f"{state[1]}/data/flink/checkpoints"
    (sink,) = services["connect"]["volumes"]
    assert str(Path(sink["target"]).parent) in _environment(project, "connect")["CONNECT_PLUGIN_PATH"].split(
        ","
    )


def test_every_port_is_published_on_loopback_only(project: Project) -> None:
    for name, service in project["services"].items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name


def test_the_published_ports_are_those_of_the_settings(project: Project, broker: str) -> None:
    default = config.Settings()
    assert _published(project, "app") == {port: port for port in default.http_ports}
    # WarpStream tells its clients one address only, the inner one.
    assert list(_published(project, broker)) == [29092 if broker == "warpstream" else default.kafka_port]
    assert list(_published(project, "connect")) == [default.connect_port]
    assert list(_published(project, "mysql")) == [default.mysql_port]
    assert list(_published(project, "mongo")) == [default.mongo_port]
    pages = ("console", "adminer", "mongo-express")
    assert [list(_published(project, name)) for name in pages] == [[8080], [8180], [8181]]


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
    assert settings.kafka == INNER_KAFKA == _environment(project, "connect")["BOOTSTRAP_SERVERS"]
    assert settings_on_host(dict.fromkeys(PASSWORDS, "x")).cdc_kafka_bootstrap == INNER_KAFKA
    assert set(services["app"]["depends_on"]) == {*BROKERS, "connect", "mysql", "mongo", "flink-sql"}


def test_the_broker_tells_the_others_its_inner_address_and_the_host_its_outer_one(
    project: Project, broker: str
) -> None:
    service, outer = project["services"][broker], f"127.0.0.1:{config.Settings().kafka_port}"
    if broker == "redpanda":
        told = next(flag for flag in service["command"] if "advertise-kafka-addr" in flag)
        assert told == f"--advertise-kafka-addr=internal://{INNER_KAFKA},external://{outer}"
    elif broker == "kafka":
        told = service["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        assert told == f"INTERNAL://{INNER_KAFKA},EXTERNAL://{outer}"
    else:
        assert service["environment"]["WARPSTREAM_DISCOVERY_KAFKA_HOSTNAME_OVERRIDE"] == "broker"
        assert service["command"][-4:] == ["-advertiseHostnameCustom", "broker", "-kafkaPort", "29092"]


def test_no_broker_makes_a_topic_for_a_typing_error(project: Project, broker: str) -> None:
    if broker == "redpanda":
        properties = _yaml(ROOT / "redpanda/bootstrap.yaml")
        assert properties["auto_create_topics_enabled"] is False
    elif broker == "kafka":
        assert _environment(project, "kafka")["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_console_names_only_services_that_are_there(project: Project, broker: str) -> None:
    (mounted,) = project["services"]["console"]["volumes"]
    settings = _yaml(Path(mounted["source"]))
    assert settings["kafka"]["brokers"] == [INNER_KAFKA]
    (connect,) = settings["kafkaConnect"]["clusters"]
    assert connect["url"] == _settings(project).connect
    inner = {url.split("/")[2].split(":")[0] for url in re.findall(r"http://[^\"'\]]+", json.dumps(settings))}
    assert inner == ({"connect", "redpanda"} if broker == "redpanda" else {"connect"})


def test_the_consoles_differ_in_what_only_redpanda_has() -> None:
    plain = _yaml(ROOT / "redpanda/console-kafka.yaml")
    for broker in BROKERS:
        settings = _yaml(ROOT / f"redpanda/console-{broker}.yaml")
        assert settings.keys() - plain.keys() == (
            {"redpanda", "schemaRegistry"} if broker == "redpanda" else set()
        )
        assert {name: settings[name] for name in plain} == plain


def test_the_pages_of_the_databases_get_the_apps_rights_and_no_more(project: Project) -> None:
    express, settings = _environment(project, "mongo-express"), _settings(project)
    assert express["ME_CONFIG_MONGODB_ENABLE_ADMIN"] == "false"
    user, password = re.search(r"//(\w+):(\w+)@", settings.mongo).groups()  # type: ignore[union-attr]
    url = f"mongodb://{user}:{password}@mongo:27017/{settings.mongo_database}?"
    assert express["ME_CONFIG_MONGODB_URL"].startswith(url)
    assert express["ME_CONFIG_BASICAUTH"] == "true"
    assert express["ME_CONFIG_BASICAUTH_PASSWORD"] == password
    assert _environment(project, "adminer") == {"ADMINER_DEFAULT_SERVER": "mysql"}


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


def test_the_app_may_ask_for_the_place_in_the_binlog_and_nothing_else_outside_its_database(
    project: Project,
) -> None:
    user = project["services"]["mysql"]["environment"]["MYSQL_USER"]
    for sql in (project["configs"]["mysql-debezium"]["content"], _conf("mysql-init.sql")):
        grants = [line.strip() for line in sql.splitlines() if f"'{user}'@'%'" in line and "ON *.*" in line]
        assert [line.partition(";")[0] for line in grants] == [
            f"GRANT REPLICATION CLIENT ON *.* TO '{user}'@'%'"
        ]


def test_the_debezium_password_is_known_to_connect_only(project: Project) -> None:
    secret = _environment(project, "connect")["SNACKS_CDC_PASSWORD"]
    assert _environment(project, "connect")["SNACKS_CDC_MONGO_URL"] == _settings(project).mongo
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
        assert re.search(r":v?\d+\.\d+\.\d+|/warpstream_agent:v\d+$", service["image"]), name
        once = service["restart"] == "on-failure" and name == "jars"
        assert once or service["restart"] == "unless-stopped", name
        assert int(service["mem_limit"]) <= 1536 * 1024**2, name
        assert "healthcheck" in service or "HEALTHCHECK" in (ROOT / "Dockerfile").read_text("utf-8"), name
        waits = service.get("depends_on", {}).values()
        wanted = {"service_healthy", "service_completed_successfully"}
        assert all(wait["condition"] in wanted for wait in waits), name


def test_every_volume_is_named(project: Project) -> None:
    for name in {"redpanda", "kafka", "mysql", "mongo"} & set(project["services"]):
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
    assert [entry.split(":")[0] for entry in app["tmpfs"]] == ["/tmp", "/tmp/snacks"]
    assert all(volume["read_only"] for volume in app["volumes"])
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


def _yaml(path: Path) -> Any:
    return msgspec.yaml.decode(path.read_bytes())
