"""`compose.yaml`, as the real Docker Compose reads it for each broker, against the code.

No engine is needed to read it. What only an engine can show (images that exist, containers that get
healthy) is not shown here.
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.composed import (
    PASSWORDS,
    Project,
    app_settings,
    conf,
    configured,
    environment,
    published,
    variables,
)

from snacks import config
from snacks.platform import artifacts
from snacks.platform.compose import BROKERS, ROOT, settings_on_host

INNER_KAFKA = "broker:29092"


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
    assert app_settings(project).engine == engine


@pytest.mark.parametrize("engine", ["actors", "flink"])
def test_the_env_file_chooses_the_engine_where_only_the_broker_is_asked_for(
    compose: list[str], tmp_path: Path, engine: str
) -> None:
    done = configured(compose, tmp_path, variables() | {"ENGINE": engine}, BROKER="kafka")
    assert done.returncode == 0, done.stderr
    project = json.loads(done.stdout)
    assert app_settings(project).engine == engine
    assert {"kafka", "flink-sql"} & set(project["services"]) == {
        "kafka",
        *["flink-sql"] * (engine == "flink"),
    }


def test_flink_has_the_settings_and_the_jars_that_it_has_without_docker(project: Project) -> None:
    services = project["services"]
    if "flink-jobmanager" not in services:
        return
    properties = environment(project, "flink-jobmanager")["FLINK_PROPERTIES"].splitlines()
    ours = [line for line in conf("flink.yaml").splitlines() if line and line[0] != "#" and "$" not in line]
    assert set(ours) <= set(properties)
    default = config.Settings()
    assert list(published(project, "flink-jobmanager")) == [default.flink_port]
    assert list(published(project, "flink-sql")) == [default.flink_sql_port]
    settings = app_settings(project)
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
    assert str(Path(sink["target"]).parent) in environment(project, "connect")["CONNECT_PLUGIN_PATH"].split(
        ","
    )


def test_the_published_ports_are_those_of_the_settings(project: Project, broker: str) -> None:
    default = config.Settings()
    assert published(project, "app") == {port: port for port in default.http_ports}
    # WarpStream tells its clients one address only, the inner one.
    assert list(published(project, broker)) == [29092 if broker == "warpstream" else default.kafka_port]
    assert list(published(project, "connect")) == [default.connect_port]
    assert list(published(project, "mysql")) == [default.mysql_port]
    assert list(published(project, "mongo")) == [default.mongo_port]
    pages = ("console", "adminer", "mongo-express")
    assert [list(published(project, name)) for name in pages] == [[8080], [8180], [8181]]


def test_the_app_gets_only_variables_that_it_knows(project: Project) -> None:
    # load() refuses unknown SNACKS_* names and bad values, as it would in the container.
    settings = app_settings(project)
    assert settings.host == "0.0.0.0"
    assert settings.http_ports == config.Settings().http_ports


def test_the_app_reaches_every_server_by_its_service_name_and_inner_port(project: Project) -> None:
    settings = app_settings(project)
    services = project["services"]
    assert settings.mysql == ("mysql", 3306)
    assert settings.mysql[1] in published(project, "mysql").values()
    assert settings.connect == "http://connect:8083"
    assert re.match(r"mongodb://\w+:\w+@mongo:27017/\?", settings.mongo)
    assert settings.kafka == INNER_KAFKA == environment(project, "connect")["BOOTSTRAP_SERVERS"]
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
        assert environment(project, "kafka")["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_console_names_only_services_that_are_there(project: Project, broker: str) -> None:
    (mounted,) = project["services"]["console"]["volumes"]
    settings = _yaml(Path(mounted["source"]))
    assert settings["kafka"]["brokers"] == [INNER_KAFKA]
    (connect,) = settings["kafkaConnect"]["clusters"]
    assert connect["url"] == app_settings(project).connect
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


def test_connect_is_set_up_as_it_is_without_docker(project: Project) -> None:
    connect = environment(project, "connect")
    for line in conf("connect.properties").splitlines():
        name, _, value = line.partition("=")
        if name.startswith(
            ("config.storage", "offset.storage", "status.storage", "config.providers", "group.id")
        ):
            variable = name.upper().replace(".", "_")
            assert value == connect.get(f"CONNECT_{variable}", connect.get(variable)), name


def test_the_connector_asks_only_for_variables_that_connect_has(project: Project) -> None:
    files = list((ROOT / "redpanda").glob("connector*.json"))
    asked = {name for file in files for name in re.findall(r"\$\{env:(\w+)\}", file.read_text("utf-8"))}
    assert asked <= set(environment(project, "connect"))


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


def test_the_dockerfile_copies_only_what_the_ignore_file_lets_through() -> None:
    allowed = {
        line.lstrip("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line[:1] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(\S+) ", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert set(copied) == allowed
    assert all((ROOT / path).exists() for path in copied)


def _yaml(path: Path) -> Any:
    return msgspec.yaml.decode(path.read_bytes())
