"""Topics and connector against the real broker, Kafka Connect and database."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncmy
import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.e2e.app_process import ROOT, environment
from tests.sql import connected
from tests.waiting import until

from snacks.cdc import CDC_TOPICS, connector, decode, table_of, topics
from snacks.cdc.connect import ConnectorError
from snacks.cdc.connector import ABSENT
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS, DEAD_LETTERS, PartitionsDiffer, TopicError
from snacks.config import Settings
from snacks.domain.order import RowChange
from snacks.platform import Platform
from snacks.tables import Tables

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("platform")]
SECONDS = 30


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def admin(platform: Platform, settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
def renamed(monkeypatch):
    """Topics of this test alone, under names of their own: `ensure` then works on these."""
    mark = uuid4().hex[:8]
    ours = [msgspec.structs.replace(topic, name=f"{topic.name}-{mark}") for topic in topics.load()]
    monkeypatch.setattr(topics, "load", lambda: ours)
    return {topic.name.removesuffix(f"-{mark}"): topic for topic in ours}


async def made(admin: AIOKafkaAdminClient, *new: NewTopic) -> None:
    """Make the topics, and wait until the broker tells of them."""
    await admin.create_topics(list(new))

    async def told() -> bool:
        return {topic.name for topic in new} <= set(await admin.list_topics())

    await until(told)


async def config_of(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


# ── topics ────────────────────────────────────────────────────────────────────────────────────────


async def test_missing_topics_are_made_as_the_file_says_and_the_second_time_nothing_is_done(
    settings, admin, renamed
):
    first = await topics.ensure(settings)
    assert [status.done for status in first] == ["created"] * len(renamed)
    assert {status.partitions for status in first} == {settings.partitions}
    for topic in renamed.values():
        config = await config_of(admin, topic.name)
        assert {name: config[name] for name in topic.config} == topic.config
    second = await topics.ensure(settings)
    assert [status.done for status in second] == [""] * len(renamed)
    assert second == await topics.describe(settings)


async def test_a_process_whose_clock_is_hours_ahead_can_write_and_the_brokers_clock_counts(settings, renamed):
    """With the writer's own times the broker refuses what is an hour ahead, and its shards stand still."""
    await topics.ensure(settings)
    now = time.time_ns() // 1_000_000
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
        for name in (AGGREGATES, CHECKPOINTS, DEAD_LETTERS):
            ahead = now + 3 * 3600 * 1000
            sent = await producer.send_and_wait(renamed[name].name, b"", b"kit-1", timestamp_ms=ahead)
            assert abs(sent.timestamp - now) < 600_000


async def test_two_processes_may_make_the_topics_at_once(settings, renamed):
    both = await asyncio.gather(topics.ensure(settings), topics.ensure(settings))
    assert {status.partitions for statuses in both for status in statuses} == {settings.partitions}


async def test_c15_a_configuration_that_would_lose_data_is_set_back_and_the_rest_is_kept(
    settings, admin, renamed
):
    name = renamed[AGGREGATES].name
    losing = {
        "retention.ms": "60000",
        "cleanup.policy": "delete",
        "min.insync.replicas": "1",
        "segment.ms": "7200000",
    }
    await made(admin, NewTopic(name, settings.partitions, 1, topic_configs=losing))
    status = {status.name: status for status in await topics.ensure(settings)}[name]
    assert "retention.ms 60000 -> -1" in status.done
    assert "cleanup.policy delete -> compact" in status.done
    assert status.cleanup_policy == "compact"
    config = await config_of(admin, name)
    assert config["retention.ms"] == "-1"
    assert config["segment.ms"] == "7200000"


async def test_partition_counts_that_fit_each_other_name_the_setting_to_change(settings, admin, renamed):
    await made(admin, *(NewTopic(topic.name, 2, 1) for topic in renamed.values()))
    with pytest.raises(PartitionsDiffer, match="set SNACKS_PARTITIONS=2"):
        await topics.ensure(settings)


async def test_unequal_partition_counts_are_refused_before_anything_is_made(settings, admin, renamed):
    unequal = ((CHECKPOINTS, settings.partitions + 1), (CDC_TOPICS[0], settings.partitions))
    await made(admin, *(NewTopic(renamed[name].name, count, 1) for name, count in unequal))
    with pytest.raises(PartitionsDiffer) as refused:
        await topics.ensure(settings)
    assert f"{renamed[CHECKPOINTS].name} has {settings.partitions + 1}" in str(refused.value)
    there = await admin.list_topics()
    assert renamed[DEAD_LETTERS].name not in there


async def test_topics_that_are_missing_show_as_such(settings, renamed):
    assert {status.partitions for status in await topics.describe(settings)} == {0}


async def test_a_broker_that_is_away_is_named(settings):
    away = msgspec.structs.replace(settings, kafka_bootstrap="127.0.0.1:9")
    for work in (topics.ensure, topics.describe):
        with pytest.raises(TopicError, match=r"127\.0\.0\.1:9"):
            await work(away)


# ── connector ─────────────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(loop_scope="session")
async def applied(platform: Platform, settings: Settings) -> Settings:
    tables = Tables(settings)
    await tables.open()  # makes them
    await tables.close()
    await topics.ensure(settings)
    await connector.apply(settings)
    return settings


async def test_an_unchanged_connector_is_left_alone(applied):
    again = await connector.apply(applied)
    assert not again.changed
    assert again.status.running
    assert (await connector.status(applied)).running


async def test_all_connectors_of_connect_are_listed_with_their_tasks(applied):
    listed = {status.name: status for status in await connector.everyone(applied)}
    assert listed[applied.connector].running


async def test_it_can_be_paused_resumed_and_restarted(applied):
    assert (await connector.pause(applied)).state == "PAUSED"
    assert (await connector.resume(applied)).running
    assert (await connector.restart(applied)).running
    await connector.pause(applied)
    assert (await connector.apply(applied)).status.running


async def test_an_absent_connector_shows_as_such_and_deleting_it_is_no_error(settings):
    other = msgspec.structs.replace(settings, connector=f"none-{uuid4().hex[:8]}")
    status = await connector.status(other)
    assert (status.state, status.running) == (ABSENT, False)
    await connector.delete(other)
    for work in (connector.pause, connector.resume, connector.restart):
        with pytest.raises(ConnectorError, match="404"):
            await work(other)


async def test_a_database_that_connect_cannot_reach_is_refused_with_connects_own_words(settings):
    unreachable = msgspec.structs.replace(settings, connector=f"lost-{uuid4().hex[:8]}", cdc_mysql_port=9)
    with pytest.raises(ConnectorError, match=r"database\.hostname: .*connection"):
        await connector.apply(unreachable)
    assert (await connector.status(unreachable)).state == ABSENT


async def test_a_task_that_fails_is_reported_with_the_first_line_of_its_trace(settings, monkeypatch):
    broken = msgspec.structs.replace(settings, connector=f"broken-{uuid4().hex[:8]}")
    good = connector.configuration(settings)
    # It validates, and then finds nothing that it could recover. A prefix of its own keeps our topics clean.
    config = good | {
        "topic.prefix": broken.connector,
        "database.server.id": "5499",
        "schema.history.internal.kafka.topic": f"{broken.connector}-history",
        "snapshot.mode": "recovery",
    }
    monkeypatch.setattr(connector, "configuration", lambda _: config)
    try:
        with pytest.raises(ConnectorError, match=r"broken-\w+ failed: \S*Exception"):
            await connector.apply(broken)
        failed = await connector.status(broken)
        assert (failed.state, failed.running) == ("FAILED", False)
    finally:
        await connector.delete(broken)


async def test_connect_that_is_away_is_named(settings, monkeypatch):
    away = msgspec.structs.replace(settings, connect_url="http://127.0.0.1:9")
    monkeypatch.setattr(connector, "WAIT_SECONDS", 0.3)
    with pytest.raises(ConnectorError, match=r"127\.0\.0\.1:9"):
        await connector.status(away)


# ── rows from MySQL to changes ────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(loop_scope="session")
async def cursor(applied: Settings) -> AsyncIterator[asyncmy.cursors.Cursor]:
    async with connected(applied) as connection, connection.cursor() as cursor:
        yield cursor


async def read_until(consumer: AIOKafkaConsumer, order_id: str, count: int) -> list[ConsumerRecord]:
    """The order's next `count` records."""
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [record for record in records if order_id.encode() in (record.key or b"")]
    return found


async def test_the_rows_of_an_order_arrive_in_one_partition_in_our_shape(applied, cursor):
    order_id = f"cdc-{uuid4()}"
    consumer = AIOKafkaConsumer(
        *CDC_TOPICS, bootstrap_servers=applied.kafka, group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        await cursor.execute(
            "INSERT INTO item_detail (order_id, item_id, item_name, item_status, price, currency, quantity)"
            " VALUES (%s, '1', 'Apple Rings', 'REQUESTED', '1.25', 'USD', 2),"
            " (%s, '2', 'Gold Fish', 'REQUESTED', '0.01', 'USD', 1)",
            (order_id, order_id),
        )
        await cursor.execute(
            "INSERT INTO shipping_location VALUES (%s, 'Ada K', '9 Quay St', '00501', 1.5, -2.5)", (order_id,)
        )
        await cursor.execute(
            "INSERT INTO payment VALUES (%s, 'CREDIT', 'Visa', '****-****-****-4242', '2.51', 'USD')",
            (order_id,),
        )
        created = await read_until(consumer, order_id, 4)
        await cursor.execute("DELETE FROM item_detail WHERE order_id = %s AND item_id = '2'", (order_id,))
        deleted = await read_until(consumer, order_id, 1)
    finally:
        await consumer.stop()
    assert len({record.partition for record in [*created, *deleted]}) == 1
    changes = []
    for record in [*created, *deleted]:
        table = table_of(record.topic)
        assert table is not None
        change = decode(table, record.key, record.value, record.timestamp)
        assert isinstance(change, RowChange)
        assert change.position is not None
        assert change.at <= record.timestamp
        changes.append((change.table, change.item_id, change.row is None))
    assert sorted(changes[:4]) == [
        ("item_detail", "1", False),
        ("item_detail", "2", False),
        ("payment", "", False),
        ("shipping_location", "", False),
    ]
    assert changes[4] == ("item_detail", "2", True)


async def test_a_lost_schema_history_says_what_to_do_and_a_new_snapshot_repairs_it(applied, admin):
    await connector.delete(applied)
    await admin.delete_topics(["snacks-schema-history"])
    with pytest.raises(ConnectorError, match=r"\./snacks connector snapshot"):
        await connector.apply(applied)
    argv = [sys.executable, "-m", "snacks", "connector", "snapshot"]
    told = await asyncio.to_thread(
        subprocess.run, argv, env=environment(applied), cwd=ROOT, capture_output=True, timeout=120
    )
    assert told.returncode == 0, told.stderr
    assert (await connector.status(applied)).running
