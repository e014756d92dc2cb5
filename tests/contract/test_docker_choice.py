"""Docker or not, and what is asked of it. A `docker` on the PATH that writes its calls down stands in."""

import json
import os
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from snacks import cli_platform, config, demo, logs
from snacks.platform import PlatformError, compose, state
from snacks.platform.compose import ROOT

# A shell script: the path of the interpreter may have a space in it, and `#!` cuts there.
START = '#!/bin/sh\nexec {python} -IS {script} "$@"\n'
FAKE = """
import json, os, sys
with open({calls!r}, "a") as calls:
    call = [sys.argv[1:], os.environ.get("BROKER"), os.getcwd(), os.environ.get("ENGINE")]
    calls.write(json.dumps(call) + "\\n")
arguments = sys.argv[1:]
if arguments[:1] == ["info"]:
    print("29.0.1")
    sys.exit({info})
if arguments[:3] == ["compose", "version", "--short"]:
    print({version!r})
if arguments[:2] == ["compose", "ls"]:
    print({running!r})
if arguments[:2] == ["compose", "up"]:
    sys.exit({up})
"""
UNTOUCHED = config.Settings()


class Docker:
    """The stand-in: how it answers, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"

    def answers(self, *, info: int = 0, version: str = "2.40.3", running: str = "", up: int = 0) -> None:
        script = self.folder / "docker.py"
        script.write_text(
            FAKE.format(calls=str(self.calls), info=info, version=version, running=running, up=up), "utf-8"
        )
        start = START.format(python=shlex.quote(sys.executable), script=shlex.quote(str(script)))
        (self.folder / "docker").write_text(start, "utf-8")
        (self.folder / "docker").chmod(0o755)

    def engines(self) -> list[str | None]:
        """ENGINE, as each `docker compose up` got it."""
        calls = [json.loads(line) for line in self.calls.read_text("utf-8").splitlines()]
        return [call[3] for call in calls if call[0][:2] == ["compose", "up"]]

    def asked(self, command: str) -> list[tuple[list[str], str | None, str]]:
        """The calls of `docker compose COMMAND`: arguments, BROKER, folder."""
        lines = self.calls.read_text("utf-8").splitlines() if self.calls.exists() else []
        calls = [json.loads(line) for line in lines]
        return [tuple(call[:3]) for call in calls if call[0][:2] == ["compose", command]]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    fake = tmp_path / "bin"
    fake.mkdir()
    monkeypatch.setenv("PATH", str(fake))
    monkeypatch.setattr(compose, "make_env", lambda: False)  # the checkout's own .env is left alone
    monkeypatch.setattr(state, "live", lambda _settings: None)
    return Docker(fake)


def snacks(docker: Docker, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(config.PREFIX)}
    clean |= {"PATH": f"{docker.folder}:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src"), **settings}
    return subprocess.run(
        [sys.executable, "-m", "snacks", *arguments],
        env=clean | {"SNACKS_STATE": str(docker.folder / "state"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_docker_command_the_servers_run_as_processes(docker: Docker) -> None:
    assert compose.chosen(UNTOUCHED, asked=None) == (False, "there is no docker command")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({}, ""),
        ({"info": 1}, "no Docker engine answers"),
        ({"version": "2.23.0"}, "Docker Compose 2.23.1 or newer is missing"),
        ({"version": "v5.0.0-desktop.1"}, ""),
        ({"version": ""}, "Docker Compose 2.23.1 or newer is missing"),
    ],
)
def test_containers_are_chosen_where_an_engine_and_a_compose_that_will_do_answer(
    docker: Docker, answers: dict[str, object], why: str
) -> None:
    docker.answers(**answers)  # type: ignore[arg-type]
    assert compose.chosen(UNTOUCHED, asked=None) == (not why, why or "a Docker engine answers")


def test_a_setting_that_compose_cannot_follow_keeps_the_servers_out_of_docker(docker: Docker) -> None:
    docker.answers()
    assert compose.chosen(config.Settings(db="mariadb"), asked=None)[0] is False
    moved = config.load({"SNACKS_PORT_OFFSET": "10"})
    assert compose.chosen(moved, asked=None) == (False, "compose.yaml cannot move its ports")
    with pytest.raises(PlatformError, match="cannot move its ports"):
        compose.chosen(moved, asked=True)


def test_servers_that_run_already_without_docker_are_used(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.answers()
    monkeypatch.setattr(state, "live", lambda _settings: object())
    assert compose.chosen(UNTOUCHED, asked=None) == (False, "the servers without Docker run already")
    assert compose.chosen(UNTOUCHED, asked=True)[0] is True


def test_what_the_user_says_is_done_or_refused_with_the_reason(docker: Docker) -> None:
    docker.answers(info=1)
    with pytest.raises(PlatformError, match=r"--docker: no Docker engine answers(.|\n)*--no-docker"):
        compose.chosen(UNTOUCHED, asked=True)
    docker.answers()
    assert compose.chosen(UNTOUCHED, asked=False) == (False, "--no-docker")


@pytest.mark.parametrize("broker", compose.BROKERS)
def test_start_brings_up_the_project_of_its_broker_and_waits_for_health(docker: Docker, broker: str) -> None:
    docker.answers()
    compose.up(broker)
    ((arguments, chosen, folder),) = docker.asked("up")
    assert arguments[2:5] == ["--build", "--detach", "--wait"]
    assert (chosen, folder) == (broker, str(ROOT))


async def test_the_engine_is_the_one_that_was_asked_for_else_what_the_env_file_says(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.answers(up=1)
    monkeypatch.setattr(logs, "setup", lambda *_, **__: None)
    for name in [one for one in os.environ if one.startswith(config.PREFIX) or one == "ENGINE"]:
        monkeypatch.delenv(name)
    for asked in (None, "actors", "flink"):  # Compose prefers a variable to its file
        if asked:
            monkeypatch.setenv("SNACKS_ENGINE", asked)
        with pytest.raises(PlatformError, match="docker compose up failed"):
            cli_platform.start(cli_platform.Broker.redpanda)
        with pytest.raises(PlatformError, match="docker compose up failed"):
            await demo.run(config.load(), Console(file=StringIO()), once=True)
    assert docker.engines() == [None, None, "actors", "actors", "flink", "flink"]


def test_two_brokers_never_run_at_once(docker: Docker) -> None:
    docker.answers(running="other\nsnacks-kafka")
    with pytest.raises(PlatformError, match=r"with kafka run(.|\n)*platform stop"):
        compose.up("redpanda")
    assert not docker.asked("up")


def test_a_start_that_fails_says_where_to_look(docker: Docker) -> None:
    docker.answers(up=17)
    with pytest.raises(PlatformError, match=r"failed with 17(.|\n)*docker compose logs"):
        compose.up("kafka")


def test_stop_removes_the_containers_that_run_and_keeps_the_data_unless_told(docker: Docker) -> None:
    docker.answers(running="snacks-warpstream")
    assert snacks(docker, "platform", "stop").stdout == "Stopped.\n"
    ((arguments, broker, _),) = docker.asked("down")
    assert (broker, "--volumes" in arguments) == ("warpstream", False)
    snacks(docker, "platform", "stop", "--delete-data")
    assert "--volumes" in docker.asked("down")[-1][0]


def test_status_shows_the_containers_of_the_broker_that_runs(docker: Docker) -> None:
    docker.answers(running="snacks-redpanda")
    assert "In containers, with redpanda" in snacks(docker, "platform", "status").stdout
    assert '"flink"]' in docker.calls.read_text("utf-8")  # Flink's are shown if they are there
    ((_, broker, _),) = docker.asked("ps")
    assert broker == "redpanda"


def test_a_broker_that_needs_docker_is_refused_with_what_runs_without(docker: Docker) -> None:
    docker.answers(info=1)
    done = snacks(docker, "platform", "start", "redpanda")
    assert done.returncode == 1
    assert "no Docker engine answers" in done.stderr
    assert "./snacks platform start kafka" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_demo_says_which_and_why_and_leaves_no_container_when_it_fails(docker: Docker) -> None:
    docker.answers(up=1)
    said = StringIO()
    with pytest.raises(PlatformError, match="docker compose up failed"):
        await demo.run(UNTOUCHED, Console(file=said), once=True)
    assert "in containers: a Docker engine answers" in said.getvalue()
    assert docker.asked("up")
    assert docker.asked("down")


def test_the_demo_in_containers_cannot_be_moved_to_other_ports(docker: Docker) -> None:
    docker.answers()
    done = snacks(docker, "--port-offset", "100", "demo", "--docker")
    assert done.returncode == 1
    assert "cannot move its ports" in done.stderr
