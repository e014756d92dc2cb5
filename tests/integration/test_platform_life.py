"""The life of `up`, `down` and whoever starts the servers: however it ends, nothing is left behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from tests.platforms import NAMES, QUIET, capture_a_row, documents, make_topic, place, sql, taken

from snacks import config
from snacks.config import Settings
from snacks.platform import PlatformError, down, reset, running, state, status, up
from snacks.platform.process import alive, start_ticks

pytestmark = [pytest.mark.timeout(240)]
HOLD = """
import asyncio
from snacks import config
from snacks.platform import running
async def main():
    async with running(config.load()):
        print("up", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
UP = "from snacks import config; from snacks.platform import up; up(config.load())"


@pytest.fixture
def settings(fetched: None, tmp_path: Path) -> Iterator[Settings]:
    settings = place(tmp_path / "state")
    yield settings
    down(settings)
    assert not processes(settings)


def processes(settings: Settings) -> list[int]:
    """Every process that has this checkout's state folder on its command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"{settings.state_dir}/" in line and start_ticks(int(folder.name)):
            found.append(int(folder.name))
    return found


async def until(condition: Callable[[], Any], within: float = 60) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.05)


def python(code: str, settings: Settings) -> subprocess.Popen[bytes]:
    env = {**os.environ, **config.environment(settings), "PYTHONPATH": "src"}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


async def topics(settings: Settings) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


# Leaving nothing behind.


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_no_server_outlives_its_parent(settings: Settings, sign: signal.Signals) -> None:
    parent = python(HOLD, settings)
    assert parent.stdout
    try:
        while await asyncio.to_thread(parent.stdout.readline) != b"up\n":  # after lines of log
            assert parent.poll() is None
        assert len(processes(settings)) == len(NAMES)
        parent.send_signal(sign)
        await until(lambda: not processes(settings))
    finally:
        parent.kill()
        await asyncio.to_thread(parent.wait, 10)
        parent.stdout.close()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
async def test_an_up_that_is_killed_half_way_leaves_nothing(settings: Settings, sign: signal.Signals) -> None:
    parent = python(UP, settings)
    assert parent.stdout
    try:
        await until(lambda: processes(settings))
        run = state.read(settings)
        assert run
        parent.send_signal(sign)
        await until(lambda: not processes(settings) and not alive(run.pid, run.ticks))
    finally:
        parent.kill()
        await asyncio.to_thread(parent.wait, 10)
        parent.stdout.close()


async def test_a_taken_port_starts_nothing(settings: Settings) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", settings.connect_port))
        holder.listen(1)
        with pytest.raises(PlatformError, match=rf"Port {settings.connect_port}, which Kafka Connect needs"):
            async with running(settings, QUIET):
                pass
    assert not processes(settings)


async def test_a_failure_half_way_stops_the_others_and_shows_the_log(settings: Settings) -> None:
    (settings.state_dir / "data" / "mysql").mkdir(parents=True)  # no data folder, but there
    with pytest.raises(PlatformError, match=r"(?s)MySQL ended .*database\.log:\n.*ERROR"):
        async with running(settings, QUIET):
            pass
    assert not processes(settings)
    assert not taken(settings.kafka_port)


async def test_up_tells_what_failed(settings: Settings) -> None:
    (settings.state_dir / "data" / "mysql").mkdir(parents=True)
    with pytest.raises(PlatformError, match="MySQL ended"):
        await asyncio.to_thread(up, settings, QUIET)
    assert not processes(settings)


# In the background.


async def test_up_goes_on_without_its_caller_and_down_ends_it(settings: Settings) -> None:
    first = python(UP, settings)
    assert await asyncio.to_thread(first.wait, 120) == 0
    if first.stdout:
        first.stdout.close()
    run = state.live(settings)
    assert run
    assert [server.state for server in status(settings)] == ["running"] * 4
    assert up(settings, QUIET).pid == run.pid  # a second one changes nothing
    with pytest.raises(PlatformError, match="stop it first"):
        reset(settings)
    async with running(settings, QUIET) as platform:
        assert platform.attached
        pid = platform.kill("mongod")
        await platform.healthy("mongod", not_pid=pid)
    assert state.live(settings)
    moved = config.load(config.environment(settings) | {"SNACKS_MYSQL_PORT": str(settings.mysql_port + 1)})
    with pytest.raises(PlatformError, match="already runs"):
        up(moved, QUIET)
    assert await asyncio.to_thread(down, settings)
    assert not processes(settings)
    assert not alive(run.pid, run.ticks)
    assert [server.state for server in status(settings)] == ["stopped"] * 4
    assert not down(settings)


async def test_two_ups_at_once_make_one_platform(settings: Settings) -> None:
    runs = await asyncio.gather(*(asyncio.to_thread(up, settings, QUIET) for _ in range(2)))
    assert runs[0].pid == runs[1].pid
    assert len(processes(settings)) == len(NAMES)


async def test_data_survives_a_restart_on_other_ports_until_it_is_reset(settings: Settings) -> None:
    await asyncio.to_thread(up, settings, QUIET)
    await sql(settings, "CREATE TABLE kept (id INT PRIMARY KEY)", "INSERT INTO kept VALUES (7)")
    await make_topic(settings, "kept")
    async with documents(settings) as client:
        await client.test.kept.insert_one({"_id": 7})
    await asyncio.to_thread(down, settings)
    moved = place(settings.state_dir)
    await asyncio.to_thread(up, moved, QUIET)
    assert await sql(moved, "SELECT id FROM kept") == [(7,)]
    assert "kept" in await topics(moved)
    async with documents(moved) as client:
        assert await client.test.kept.find_one() == {"_id": 7}
    await asyncio.to_thread(down, moved)
    reset(moved)
    assert not (moved.state_dir / "data").exists()


async def test_mariadb_stands_in_for_mysql(fetched: None, tmp_path: Path) -> None:
    settings = place(tmp_path / "state", db="mariadb")
    async with running(settings, QUIET) as platform:
        assert [s.title for s in platform.status()] == ["MongoDB", "Kafka", "MariaDB", "Kafka Connect"]
        await capture_a_row(settings, "io.debezium.connector.mariadb.MariaDbConnector")
    assert not processes(settings)
