"""The real servers, without Docker: they come up, survive what users do to them, and leave nothing behind."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncmy
import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pymongo import AsyncMongoClient
from rich.console import Console

from snacks import config
from snacks.config import Settings
from snacks.platform import (
    Platform,
    PlatformError,
    down,
    fetch,
    log_path,
    reset,
    running,
    state,
    status,
    supervisor,
    up,
)
from snacks.platform.process import alive, start_ticks

pytestmark = [pytest.mark.timeout(240)]
QUIET = Console(quiet=True)
NAMES = ["mongod", "kafka", "database", "connect"]
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


@pytest.fixture(scope="module")
def fetched() -> None:
    try:
        fetch(config.load())
    except PlatformError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the servers cannot be fetched: {error}")


def place(folder: Path, **more: str) -> Settings:
    """Settings of a checkout of its own, on ports that are free, and below those of outgoing connections."""
    given = {f"SNACKS_{name.upper()}": value for name, value in more.items()}
    given |= {"SNACKS_STATE": str(folder), "SNACKS_CACHE": os.environ.get("SNACKS_CACHE", "")}
    while True:
        first = random.randrange(20_000, 29_990)
        numbers = {f"SNACKS_{name.upper()}": str(first + i) for i, name in enumerate(config.PORTS)}
        settings = config.load(given | numbers)
        if not any(taken(getattr(settings, name)) for name in config.PORTS):
            return settings


def taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def settings(fetched: None, tmp_path: Path) -> Iterator[Settings]:
    settings = place(tmp_path / "state")
    yield settings
    down(settings)
    assert not processes(settings)


@pytest.fixture(scope="module")
async def platform(fetched: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with running(place(tmp_path_factory.mktemp("platform")), QUIET) as platform:
        yield platform


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


async def sql(settings: Settings, *statements: str) -> list[Any]:
    connection = await asyncmy.connect(
        host="127.0.0.1",
        port=settings.mysql_port,
        user="snacks",
        password="snacks",
        db="order-command-db",
        autocommit=True,
    )
    try:
        async with connection.cursor() as cursor:
            for statement in statements:
                await cursor.execute(statement)
            return list(await cursor.fetchall())
    finally:
        await connection.ensure_closed()


async def make_topic(settings: Settings, name: str, partitions: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()


async def topics(settings: Settings) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


def documents(settings: Settings) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(settings.mongo, serverSelectionTimeoutMS=10_000)


# Coming up.


async def test_all_servers_come_up_and_are_small_enough(platform: Platform) -> None:
    servers = platform.status()
    assert [(server.name, server.state) for server in servers] == [(name, "running") for name in NAMES]
    assert sum(server.rss for server in servers) < 800e6  # leaves 100 MB of the 900 to the app
    assert all(server.rss and server.uptime > 0 and server.start_seconds > 0 for server in servers)
    assert all(log_path(platform.settings, name).exists() for name in NAMES)


async def test_mongod_has_transactions(platform: Platform) -> None:
    async with documents(platform.settings) as client:
        async with client.start_session() as session, await session.start_transaction():
            await client.test.things.insert_one({"_id": 1}, session=session)
        assert await client.test.things.count_documents({}) == 1


async def test_a_topic_is_never_made_by_a_typing_error(platform: Platform) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=platform.settings.kafka)
    await admin.start()
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    finally:
        await admin.close()
    [(*_, entries)] = answer.resources
    assert {entry[0]: entry[1] for entry in entries}["auto.create.topics.enable"] == "false"


async def test_a_committed_row_reaches_a_topic_and_no_password_is_shown(platform: Platform) -> None:
    await capture_a_row(platform.settings, "io.debezium.connector.mysql.MySqlConnector")


async def capture_a_row(settings: Settings, connector: str) -> None:
    topic = "test.order-command-db.captured"
    await sql(settings, "CREATE TABLE captured (id INT PRIMARY KEY)", "INSERT INTO captured VALUES (7)")
    await make_topic(settings, topic)
    configuration = {
        "connector.class": connector,
        "database.hostname": "127.0.0.1",
        "database.port": str(settings.mysql_port),
        "database.user": "${env:SNACKS_CDC_USER}",
        "database.password": "${env:SNACKS_CDC_PASSWORD}",
        "database.server.id": "4711",
        "topic.prefix": "test",
        "database.include.list": "order-command-db",
        "table.include.list": "order-command-db.captured",
        "schema.history.internal.kafka.bootstrap.servers": settings.kafka,
        "schema.history.internal.kafka.topic": "test.history",
        "include.schema.changes": "false",
    }
    if "mysql" in connector:
        configuration["driver.allowPublicKeyRetrieval"] = "true"
    async with httpx.AsyncClient(base_url=settings.connect, timeout=30) as client:
        (await client.put("/connectors/test/config", json=configuration)).raise_for_status()
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            record = await asyncio.wait_for(consumer.getone(), 60)
        finally:
            await consumer.stop()
        assert b'"id":7' in record.value
        assert "dbz" not in (await client.get("/connectors/test")).text
        (await client.delete("/connectors/test")).raise_for_status()


# What users do to servers.


@pytest.mark.parametrize("name", NAMES)
async def test_a_server_that_is_killed_comes_back(platform: Platform, name: str) -> None:
    pid = platform.kill(name)
    await platform.healthy(name, not_pid=pid)
    assert platform.pid(name) != pid
    assert platform.run.servers[name].restarts >= 1


async def test_what_mysql_committed_survives_kill_9(platform: Platform) -> None:
    settings = platform.settings
    await sql(settings, "CREATE TABLE kept (id INT PRIMARY KEY)")
    for i in range(50):
        await sql(settings, f"INSERT INTO kept VALUES ({i})")
    pid = platform.kill("database")
    await platform.healthy("database", not_pid=pid)
    assert await sql(settings, "SELECT COUNT(*) FROM kept") == [(50,)]


async def test_a_stopped_server_stays_down_until_it_is_started(platform: Platform) -> None:
    await platform.stop("mongod")
    assert not taken(platform.settings.mongo_port)
    assert {s.name: s.state for s in platform.status()}["mongod"] == "stopped"
    await platform.start("mongod")
    assert taken(platform.settings.mongo_port)


async def test_a_server_that_keeps_dying_is_given_up_and_can_be_started_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "DEATH_WINDOW", 600)
    for _ in range(supervisor.DEATHS + 1):
        pid = platform.kill("mongod")
        try:
            await platform.healthy("mongod", not_pid=pid)
        except PlatformError as error:
            assert "given up" in str(error)  # noqa: PT017
            break
    else:
        pytest.fail("it was started again and again")
    await platform.restart("mongod")
    assert taken(platform.settings.mongo_port)


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
