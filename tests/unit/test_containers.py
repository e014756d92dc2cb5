"""The containers' settings, without an engine."""

from pathlib import Path

from tests.containers import PROJECT, variables

from snacks.platform.compose import settings_on_host


def test_tests_never_touch_the_data_of_the_playground(tmp_path: Path) -> None:
    file, values = variables(tmp_path)
    assert values["COMPOSE_PROJECT_NAME"] == PROJECT
    assert file.read_text("utf-8").endswith(f"COMPOSE_PROJECT_NAME={PROJECT}\n")


def test_a_process_on_the_host_reaches_the_containers_and_connect_reaches_them_by_name(
    tmp_path: Path,
) -> None:
    _, values = variables(tmp_path)
    settings = settings_on_host(values, SNACKS_STATE=str(tmp_path))
    assert (settings.kafka, settings.connect) == ("127.0.0.1:9092", "http://127.0.0.1:8083")
    assert settings.mysql == ("127.0.0.1", 13306)
    assert (settings.cdc_mysql_host, settings.cdc_mysql_port) == ("mysql", 3306)
    assert values["MONGO_PASSWORD"] in settings.mongo
    assert settings.mysql_password == values["MYSQL_PASSWORD"]
