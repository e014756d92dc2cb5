"""The files of redpanda/ say what the code relies on."""

import msgspec
import pytest

from snacks.cdc import CDC_TOPICS, topics
from snacks.cdc.connect import ConnectorError
from snacks.cdc.connector import ConnectorStatus, configuration
from snacks.cdc.files import redpanda
from snacks.config import Settings


def test_the_topics_are_those_of_the_code_and_keep_what_they_hold():
    ours = {topic.name: topic for topic in topics.load()}
    assert list(ours) == [*CDC_TOPICS, topics.AGGREGATES, topics.CHECKPOINTS, topics.DEAD_LETTERS]
    for topic in ours.values():
        assert topic.count(Settings(partitions=3)) == 3
        assert topic.config["retention.ms"] == topic.config["retention.bytes"] == "-1"
    compacted = {name for name, topic in ours.items() if topic.config["cleanup.policy"] == "compact"}
    assert compacted == {topics.AGGREGATES, topics.CHECKPOINTS}


@pytest.mark.parametrize("db", ["mysql", "mariadb"])
def test_the_connector_is_filled_from_the_settings_and_holds_no_password(db):
    settings = Settings(
        db=db,
        partitions=3,
        cdc_mysql_host="database",
        cdc_mysql_port=3306,
        cdc_kafka_bootstrap="redpanda:9092",
    )
    config = configuration(settings)
    assert config["database.hostname"] == "database"
    assert config["database.port"] == "3306"
    assert config["schema.history.internal.kafka.bootstrap.servers"] == "redpanda:9092"
    assert config["transforms.route.partition.topic.num"] == "3"
    assert config["transforms"] == "route,unwrap"
    assert config["database.password"] == "${env:SNACKS_CDC_PASSWORD}"
    prefix, tables = config["topic.prefix"], config["table.include.list"].split(",")
    assert tuple(f"{prefix}.{table}" for table in tables) == CDC_TOPICS
    assert settings.mysql_password not in (config["database.password"], config["database.user"])


def test_without_addresses_of_its_own_connect_gets_the_apps():
    config = configuration(Settings(mysql_host="db", kafka_bootstrap="a:1,b:2"))
    assert (config["database.hostname"], config["database.port"]) == ("db", "13306")
    assert config["schema.history.internal.kafka.bootstrap.servers"] == "a:1,b:2"


def test_another_database_name_is_refused_because_the_topics_are_named_for_it():
    with pytest.raises(ConnectorError, match="SNACKS_MYSQL_DATABASE"):
        configuration(Settings(mysql_database="orders"))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        redpanda("none.json")


@pytest.mark.parametrize(
    ("tasks", "state", "running"),
    [
        ([], "RUNNING", False),
        ([{"id": 0, "state": "RUNNING"}], "RUNNING", True),
        ([{"id": 0, "state": "UNASSIGNED"}], "RUNNING", False),
        (
            [{"id": 0, "state": "FAILED", "trace": "a.B: no\n\tat c\nCaused by: d.E: why\n\tat f"}],
            "FAILED",
            False,
        ),
    ],
)
def test_a_connector_runs_only_if_all_its_tasks_do(tasks, state, running):
    answer = {
        "name": "n",
        "connector": {"state": "RUNNING", "worker_id": "w"},
        "tasks": tasks,
        "type": "source",
    }
    status = msgspec.convert(answer, ConnectorStatus)
    assert (status.state, status.running) == (state, running)
    assert status.problem == ("a.B: no; cause: d.E: why" if state == "FAILED" else "")


def test_each_topic_has_a_page_that_says_what_the_data_says():
    folder = redpanda("topics.toml").parent / "topics"
    pages = {page.stem: page.read_text("utf-8") for page in folder.glob("*.md")}
    index = pages.pop("README")
    assert set(pages) == {topic.name for topic in topics.load()}
    for topic in topics.load():
        assert f"]({topic.name}.md) | {topic.holds} |" in index
        page = pages[topic.name]
        assert page.startswith(f"# {topic.name}\n\n{topic.holds}\n")
        told = {"key": topic.key, "value": topic.value}
        told |= {"written by": topic.written_by, "read by": topic.read_by}
        assert all(f"| {name} | {text} |" in page for name, text in told.items())
