"""The Flink engine without Flink: its SQL files, its checkpoints, its errors."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from typer.testing import CliRunner

from snacks.cdc.connector import ConnectorError
from snacks.cli_flink import flink_cli
from snacks.config import Settings
from snacks.flink import engine, job, sink
from snacks.flink.gateway import ERROR_LENGTH, FlinkError, reason
from snacks.platform import health


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
    assert job.statements("SELECT 1; SELECT 2;") == ["SELECT 1; SELECT 2"]


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


def test_a_checkpoint_that_vanishes_while_the_newest_is_looked_for_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, gone = (tmp_path / f"chk-{number}/_metadata" for number in (1, 2))
    there.parent.mkdir()
    there.touch()
    monkeypatch.setattr(Path, "glob", lambda *_: iter([gone, there]))
    assert job.newest_checkpoint(tmp_path) == there.parent

    def unreadable(*_: object) -> None:
        raise PermissionError

    # Not None: the job would begin with the oldest record.
    monkeypatch.setattr(Path, "glob", unreadable)
    with pytest.raises(FlinkError, match="cannot be read"):
        job.newest_checkpoint(tmp_path)


async def test_a_stranger_at_the_port_of_the_job_manager_is_an_error_that_the_app_knows() -> None:
    strange: list[object] = [{}, {"jobs": [{"jid": 1}]}, []]
    for said in strange:
        async with answering(said) as port:
            with pytest.raises(FlinkError, match="is no Flink job manager"):
                await job.status(Settings(flink_port=port))


def test_flink_is_told_a_folder_as_it_is_named() -> None:
    """Flink takes its paths unescaped; `%20` would be another folder, where no checkpoint is found again."""
    assert job.location(Path("/a b/Süßes/100%")) == "file:///a b/Süßes/100%"


def test_a_job_runs_only_if_all_of_its_tasks_do() -> None:
    assert job.Job(state="RUNNING", running=6, tasks=6).runs
    assert not job.Job(state="RUNNING", running=5, tasks=6).runs
    assert not job.Job(state="RESTARTING", running=6, tasks=6).runs
    assert not job.Job(state="RUNNING").runs


def test_the_innermost_cause_is_told() -> None:
    trace = "org.Outer: no\n\tat a.b(C.java:1)\nCaused by: java.lang.Inner: the reason\n\tat d.e(F.java)"
    assert reason(trace) == "java.lang.Inner: the reason"
    assert reason("only this\n\tat x.y") == "only this"


def test_an_error_shows_no_card_number_not_even_one_that_its_end_would_cut() -> None:
    error = reason("Caused by: java.lang.NumberFormatException: For input string: '4242 4242 4242 4242'")
    assert error.endswith("For input string: '****-****-****-4242'")
    assert "4242424242" not in reason("x " * (ERROR_LENGTH // 2 - 5) + "4242424242424242")


async def test_the_job_is_looked_after_while_connect_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = asyncio.Semaphore(0)

    async def ensure(_: Settings) -> job.Job:
        looks.release()
        return job.Job()

    async def waits(_: Settings) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(engine, "WATCH_EVERY", 0)
    monkeypatch.setattr(job, "ensure", ensure)
    monkeypatch.setattr(sink, "apply", waits)
    running = asyncio.create_task(engine.FlinkEngine(Settings()).run())
    async with asyncio.timeout(5):
        for _ in range(3):
            await looks.acquire()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("removed", "cancelled", "said"),
    [
        (True, True, "Stopped the job and the sink connector."),
        (True, False, "Stopped the sink connector."),
        (False, True, "Stopped the job."),
        (False, False, "Neither the job nor the sink connector was there."),
    ],
)
def test_stop_says_what_it_stopped(
    *, removed: bool, cancelled: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "delete", AsyncMock(return_value=removed))
    monkeypatch.setattr(job, "stop", AsyncMock(return_value=cancelled))
    told = CliRunner().invoke(flink_cli, ["stop"])
    assert told.exit_code == 0
    assert told.stdout.splitlines()[0] == said
    assert ("end it first" in told.stdout) == (removed or cancelled)


def test_stop_stops_what_it_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "delete", AsyncMock(side_effect=ConnectorError("Connect does not answer")))
    monkeypatch.setattr(job, "stop", AsyncMock(return_value=True))
    told = CliRunner().invoke(flink_cli, ["stop"])
    assert "Stopped the job." in told.stdout
    assert "Connect does not answer" in str(told.exception)


def test_the_sink_connector_holds_no_login_and_reads_what_was_committed() -> None:
    config = sink.configuration(Settings(mongo_url="mongodb://user:secret@host", mongo_database="orders"))
    assert "secret" not in str(config)
    assert config["database"] == "orders"
    assert config["consumer.override.isolation.level"] == "read_committed"
    assert not any(value.startswith("$") and not value.startswith("${env:") for value in config.values())


async def test_a_task_manager_that_died_and_is_still_listed_has_not_joined() -> None:
    """The job manager lists it until its heartbeats fail: that must not stand for the one that follows."""
    with socket.create_server(("127.0.0.1", 0)) as lives, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        dead, alive = (one.getsockname()[1] for one in (bound, lives))
        assert await _joined([dead, alive]) == ""
        for listed in ([], [dead]):
            assert "has not joined" in await _joined(listed)


async def _joined(ports: list[int]) -> str:
    """What the check says of a job manager that lists task managers at these ports."""
    listed = [{"path": f"pekko.tcp://flink@127.0.0.1:{port}/user/rpc/taskmanager_0"} for port in ports]

    async with answering({"taskmanagers": listed}) as port:
        try:
            await health.flink_tasks(Settings(flink_port=port))
        except health.NotReadyError as error:
            return str(error)
    return ""


@asynccontextmanager
async def answering(said: object) -> AsyncIterator[int]:
    """The port of a server that answers this, whatever it is asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(said).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]
