"""Settings: read once, checked, documented, and handed on to child processes unchanged."""

import re
from pathlib import Path

import msgspec
import pytest

from snacks import config
from snacks.config import PREFIX, SettingError, Settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
ROW = re.compile(r"^\| `(SNACKS_\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def test_the_documented_settings_are_the_settings_in_their_order_with_their_defaults() -> None:
    documented = [(row[0], row[1].strip("`")) for row in ROW.findall(DOCS.read_text())]
    real = [(name, value or "empty") for name, value in config.environment(Settings()).items()]
    assert documented == real


def test_every_documented_setting_says_its_unit_what_it_is_for_and_who_needs_it() -> None:
    for name, _, unit, purpose, who in ROW.findall(DOCS.read_text()):
        assert unit, name
        assert len(purpose) > 4, name
        assert who in {"app", "platform", "both", "all"}, name


def test_without_variables_the_defaults_hold() -> None:
    assert config.load({}) == Settings()
    assert config.load({"PATH": "/bin", "SNACKS_HOST": ""}) == Settings()


def test_an_offset_moves_every_port() -> None:
    moved = config.load({"SNACKS_PORT_OFFSET": "1000"})
    assert moved.http_ports == (9800, 9801, 9802, 4000)
    for name in config.PORTS:
        assert getattr(moved, name) == getattr(Settings(), name) + 1000


def test_the_highest_offset_moves_every_port_to_one_that_there_is_and_a_higher_one_is_named() -> None:
    highest = 65535 - max(*(getattr(Settings(), name) for name in config.PORTS), *Settings().http_ports)
    assert config.load({"SNACKS_PORT_OFFSET": str(highest)}).mongo_port == 65535
    with pytest.raises(SettingError, match=rf"<= {highest} - at `SNACKS_PORT_OFFSET`"):
        config.load({"SNACKS_PORT_OFFSET": str(highest + 1)})
    assert f"| number, 0 to {highest} |" in DOCS.read_text()


def test_every_single_port_is_one_that_the_offset_moves() -> None:
    ports = {name for name in Settings.__struct_fields__ if name.endswith("_port")}
    assert set(config.PORTS) == ports - {"cdc_mysql_port"}  # that one is another machine's


def test_a_port_of_its_own_stays_where_it_was_put() -> None:
    moved = config.load(
        {"SNACKS_PORT_OFFSET": "1000", "SNACKS_MYSQL_PORT": "3306", "SNACKS_HTTP_PORTS": "80, 81"}
    )
    assert (moved.mysql_port, moved.mongo_port) == (3306, 28017)
    assert moved.http_ports == (80, 81)


def test_addresses_follow_host_and_ports_unless_they_are_set() -> None:
    settings = config.load({"SNACKS_PORT_OFFSET": "1000", "SNACKS_CONNECT_URL": "http://connect:8083/"})
    assert settings.kafka == "127.0.0.1:10092"
    assert settings.connect == "http://connect:8083"
    assert settings.mysql == ("127.0.0.1", 14306)
    assert settings.mongo.startswith("mongodb://127.0.0.1:28017/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNACKS_MYSQL_PORT", "70000"),
        ("SNACKS_MYSQL_PORT", "many"),
        ("SNACKS_HTTP_PORTS", "8800,x"),
        ("SNACKS_PORT_OFFSET", "-1"),
        ("SNACKS_DB", "oracle"),
        ("SNACKS_PARTITIONS", "0"),
        ("SNACKS_COMMIT_TIMEOUT", "0"),
        ("SNACKS_LOG_LEVEL", "loud"),
        ("SNACKS_MYSQL_PROT", "3306"),
    ],
)
def test_a_value_that_cannot_be_used_or_a_typo_stops_the_start_and_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        config.load({name: value})


def test_a_child_process_loads_exactly_these_settings() -> None:
    moved = {"SNACKS_PORT_OFFSET": "1000", "SNACKS_MONGO_PORT": "5"}
    settings = config.load({**moved, "SNACKS_DB": "mariadb", "SNACKS_DRAIN_TIMEOUT": "0.5"})
    assert config.load(config.environment(settings)) == settings


def test_every_setting_has_a_variable() -> None:
    assert set(config.environment(Settings())) == {
        PREFIX + name.upper() for name in Settings.__struct_fields__
    }


def test_settings_cannot_be_changed_once_they_are_read() -> None:
    with pytest.raises(AttributeError):
        Settings().host = "elsewhere"  # type: ignore[misc]
    assert msgspec.structs.replace(Settings(), host="elsewhere").kafka == "elsewhere:9092"
