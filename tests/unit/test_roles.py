"""A role decides what a process asks for before it calls itself ready, and what it answers."""

import asyncio
import socket
from typing import Any

import pytest
from typer.testing import CliRunner

from snacks import app, cli, config, logs
from snacks.actors.host import Wedged
from snacks.app import create_app
from snacks.config import Settings
from snacks.system import System


async def checks_and_paths(settings: Settings) -> tuple[set[str], set[str]]:
    system = System(settings)
    try:
        checks = {check.name for check in system._checks()}
        return checks, {route.path for route in create_app(system).routes}
    finally:
        await system.close()


async def test_http_is_ready_without_shards_and_without_the_connector() -> None:
    checks, paths = await checks_and_paths(Settings(role="http"))
    assert checks == {"role", "start", "mysql", "mongodb", "broker", "stream"}
    assert {"/api/payment", "/api/orders", "/ws/orders", "/health/ready"} <= paths


async def test_actors_are_ready_without_mysql_and_answer_no_command_and_no_query() -> None:
    checks, paths = await checks_and_paths(Settings(role="actors"))
    assert checks == {"role", "start", "mongodb", "broker", "connector", "actors"}
    assert {path for path in paths if path.startswith(("/api", "/ws"))} == {"/api/topology"}
    assert "/metrics" in paths


@pytest.mark.parametrize("role", ["http", "actors", "all"])
def test_the_option_sets_the_role(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = []

    async def serve(settings: Settings) -> None:
        roles.append(settings.role)

    monkeypatch.setenv("SNACKS_ROLE", "all")
    monkeypatch.setattr(app, "serve", serve)
    monkeypatch.setattr(logs, "setup", lambda _settings: None)
    answer: Any = CliRunner().invoke(cli.cli, ["serve", "--role", role])
    assert answer.exit_code == 0, answer.output
    assert roles == [role]


def test_another_role_is_refused() -> None:
    with pytest.raises(config.SettingError, match="SNACKS_ROLE"):
        config.load({"SNACKS_ROLE": "boss"})


async def test_a_part_that_can_only_be_helped_by_a_new_process_ends_this_one_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(_self: System) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_wedged())

    async def _wedged() -> None:
        raise Wedged("shard-1 hangs")

    monkeypatch.setattr(System, "run", run)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(app.AppError, match="the app stopped: Wedged: shard-1 hangs"):
        await app.serve(Settings(http_ports=(port,)))
