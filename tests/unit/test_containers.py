"""The containers' settings, without an engine: passwords are those that compose.yaml asks for."""

from pathlib import Path

from tests.containers import ROOT, passwords, settings_for_containers


def test_every_password_of_the_example_gets_a_value_that_compose_uses(tmp_path: Path) -> None:
    file, values = passwords(tmp_path)
    compose = (ROOT / "compose.yaml").read_text("utf-8")
    assert len(values) == 5
    assert all(f"${{{name}:?" in compose for name in values)
    assert len(set(values.values())) == len(values)
    assert file.read_text("utf-8").count("\n") == len(values)


def test_a_process_on_the_host_reaches_the_containers_and_connect_reaches_them_by_name(
    tmp_path: Path,
) -> None:
    _, values = passwords(tmp_path)
    settings = settings_for_containers(values, tmp_path)
    assert (settings.kafka, settings.connect) == ("127.0.0.1:9092", "http://127.0.0.1:8083")
    assert settings.mysql == ("127.0.0.1", 13306)
    assert (settings.cdc_mysql_host, settings.cdc_mysql_port) == ("mysql", 3306)
    assert values["MONGO_PASSWORD"] in settings.mongo
