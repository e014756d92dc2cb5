"""The real servers, without Docker: they come up, and survive what users do to them."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.platforms import NAMES, QUIET, capture_a_row, documents, place, sql, taken

from snacks.platform import Platform, PlatformError, log_path, running, supervisor

pytestmark = [pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
async def platform(fetched: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with running(place(tmp_path_factory.mktemp("platform")), QUIET) as platform:
        yield platform


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
