"""The Flink engine without Flink: its SQL files, its checkpoints, its errors."""

import os
from pathlib import Path

from snacks.config import Settings
from snacks.flink import job, sink
from snacks.flink.gateway import reason


def test_every_statement_of_the_sql_files_is_complete_and_has_its_settings() -> None:
    settings = Settings(kafka_bootstrap="broker:1234")
    for name, count in (("tables", 3), ("orders", 3), ("job", 2)):
        found = job.sql(name, settings, until="unbounded")
        assert [one.split()[0] for one in found][:count] == ["CREATE"] * (count - (name == "job")) + (
            ["INSERT"] if name == "job" else []
        )
        assert len(found) == count
        assert not any("$kafka" in one or "$until" in one or "--" in one for one in found)
    assert "'broker:1234'" in job.sql("tables", settings, until="unbounded")[0]


def test_a_semicolon_inside_a_line_does_not_end_a_statement() -> None:
    text = "-- one;\nSELECT ';' AS a,\n 2;\n\nSELECT 3;\n"
    assert job.statements(text) == ["SELECT ';' AS a,\n 2", "SELECT 3"]


def test_other_sql_is_another_job_and_so_never_gets_the_others_checkpoint() -> None:
    same = job.fingerprint(Settings())
    assert same == job.fingerprint(Settings())
    assert same != job.fingerprint(Settings(kafka_port=9099))


def test_the_newest_complete_checkpoint_counts_whatever_job_made_it(tmp_path: Path) -> None:
    assert job.newest_checkpoint(tmp_path) is None
    for number, place in enumerate(("b/chk-9", "a/chk-10", "c/chk-1")):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "_metadata").touch()
        os.utime(folder / "_metadata", (number, number))
    (tmp_path / "c/chk-2").mkdir()  # not complete
    assert job.newest_checkpoint(tmp_path) == tmp_path / "c/chk-1"


def test_a_job_runs_only_if_all_of_its_tasks_do() -> None:
    assert job.Job(state="RUNNING", running=6, tasks=6).runs
    assert not job.Job(state="RUNNING", running=5, tasks=6).runs
    assert not job.Job(state="RESTARTING", running=6, tasks=6).runs
    assert not job.Job(state="RUNNING").runs


def test_the_innermost_cause_is_told() -> None:
    trace = "org.Outer: no\n\tat a.b(C.java:1)\nCaused by: java.lang.Inner: the reason\n\tat d.e(F.java)"
    assert reason(trace) == "java.lang.Inner: the reason"
    assert reason("only this\n\tat x.y") == "only this"


def test_the_sink_connector_holds_no_login_and_reads_what_was_committed() -> None:
    config = sink.configuration(Settings(mongo_url="mongodb://user:secret@host", mongo_database="orders"))
    assert "secret" not in str(config)
    assert config["database"] == "orders"
    assert config["consumer.override.isolation.level"] == "read_committed"
    assert not any(value.startswith("$") and not value.startswith("${env:") for value in config.values())
