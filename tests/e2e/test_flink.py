"""The story by Flink SQL on a real cluster: the same documents as the actors' fold and as MySQL's rows."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bson.decimal128 import Decimal128
from pymongo import AsyncMongoClient
from tests import oracle
from tests.conftest import settings_for
from tests.e2e.app_process import ROOT, App, environment, serving
from tests.e2e.lives import (
    assert_all_shipped_and_nothing_stepped_back,
    assert_mongodb_equals_mysql,
    live,
    published,
)
from tests.sql import sql
from tests.waiting import until

from snacks.cdc.decode import CDC_TOPICS, decode, table_of
from snacks.config import Settings
from snacks.domain.order import NEW, OrderState, RowChange, fold, project
from snacks.flink import FlinkEngine, job
from snacks.platform import Platform, artifacts, running
from snacks.story import CHAPTERS, Teller

FLINK_OFFSET = 5700
pytestmark = pytest.mark.timeout(480)  # the first one starts eight processes


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    settings = settings_for(FLINK_OFFSET, tmp_path_factory.mktemp("flink"), SNACKS_ENGINE="flink")
    folder = settings.cache_dir / f"flink-{artifacts.key(artifacts.locked('flink'))}"
    if not folder.exists() and not os.environ.get("CI"):
        pytest.skip("Flink was not fetched yet (150 MB): ./snacks up --engine flink")
    async with running(settings) as platform:
        yield platform


@pytest.fixture(scope="module")
async def app(servers: Platform) -> AsyncIterator[App]:
    async with serving(servers.settings, within=240) as one:
        yield one


async def captured(settings: Settings) -> list[tuple[TopicPartition, bytes, bytes]]:
    """All records of the CDC topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        sources = [TopicPartition(topic, n) for topic in CDC_TOPICS for n in range(settings.partitions)]
        consumer.assign(sources)
        ends = await consumer.end_offsets(sources)
        found: list[tuple[TopicPartition, bytes, bytes]] = []
        for source in sources:
            while await consumer.position(source) < ends[source]:
                records = (await consumer.getmany(source, timeout_ms=500)).get(source, ())
                found += [(source, record.key, record.value) for record in records]
        return found
    finally:
        await consumer.stop()


async def test_the_story_by_flink_ends_in_the_documents_of_mysqls_rows(app: App) -> None:
    """Lives beside each other; then items whose ids sort as text, a correction, deletions, repeats."""
    settings = app.settings
    ids = await asyncio.gather(*(live(app.url(0), chapter) for chapter in CHAPTERS))
    assert await assert_mongodb_equals_mysql(settings) == len(CHAPTERS)
    await assert_all_shipped_and_nothing_stepped_back(settings, ids)
    for history in (await published(settings)).values():
        assert None not in history, "an order that lives has a tombstone"

    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        teller = Teller(client, app.url(0))
        kept, emptied, homeless = [await teller.order(CHAPTERS[0]) for _ in range(3)]
        await client.post(f"{app.url(0)}/api/payment", json={"orderId": kept, **CHAPTERS[0].payment})
        # Published before they are deleted, or nobody need hear that they are gone.
        assert await assert_mongodb_equals_mysql(settings) == len(CHAPTERS) + 3
        for item in (
            "10",
            "a b",
            "a",
            'q"\\é',
            "\U0001f36c",
            "\ufb01",
        ):  # code points, not UTF-16, not numbers
            await sql(
                settings,
                "INSERT INTO item_detail VALUES (%s, %s, %s, 'REQUESTED', 123456789.10, 'USD', 3)",
                kept,
                item,
                f"{item}\n\ttab",
            )
        await sql(settings, "UPDATE item_detail SET item_name = 'Corrected' WHERE item_id = '10'")
        await sql(settings, "DELETE FROM item_detail WHERE order_id = %s AND item_id = '1'", kept)
        await sql(settings, "DELETE FROM payment WHERE order_id = %s", kept)
        await sql(settings, "DELETE FROM item_detail WHERE order_id = %s", emptied)
        await sql(settings, "DELETE FROM shipping_location WHERE order_id = %s", homeless)
        # Deleted and made again: it counts anew.
        await sql(settings, "DELETE FROM item_detail WHERE order_id = %s", ids[0])
        await sql(
            settings,
            "INSERT INTO item_detail VALUES (%s, '1', 'Anew', 'REQUESTED', 0.10, 'USD', 1)",
            ids[0],
        )
        assert await assert_mongodb_equals_mysql(settings) == len(CHAPTERS) + 1
        for gone in (emptied, homeless):
            assert (await client.get(f"{app.url(2)}/api/orders/{gone}")).status_code == 404
            assert (await published(settings))[gone][-1] is None
        shown = (await client.get(f"{app.url(2)}/api/orders/{kept}")).json()
    assert [item["itemId"] for item in shown["items"]] == sorted(item["itemId"] for item in shown["items"])
    assert len(shown["items"]) == 7
    await _equal_to_the_actors_fold(settings)
    await _repeats_change_nothing(settings)


def folded(records: list[tuple[TopicPartition, bytes, bytes]]) -> dict[str, Any]:
    """What the actors make of these records."""
    states: dict[str, OrderState] = {}
    for source, key, value in records:
        change = decode(table_of(source.topic) or "", key, value, 0)
        assert isinstance(change, RowChange)
        states[change.order_id] = fold(states.get(change.order_id, NEW), change)
    orders = {order_id: project(order_id, state) for order_id, state in states.items()}
    return {
        order_id: msgspec.to_builtins(order, builtin_types=(Decimal,))
        for order_id, order in orders.items()
        if order is not None
    }


async def _equal_to_the_actors_fold(settings: Settings) -> None:
    """To the last field, `modifiedDate` too."""
    wanted = folded(await captured(settings))

    async def equal() -> bool:
        found = await documents(settings)
        return {order_id: oracle.plain(one["customerOrder"]) for order_id, one in found.items()} == wanted

    await until(equal, within=20, every=0.2)


async def _repeats_change_nothing(settings: Settings) -> None:
    """Debezium may write records again, old ones after newer ones."""
    before = await documents(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    try:
        for source, key, value in await captured(settings):
            await producer.send(source.topic, value, key, source.partition)
    finally:
        await producer.stop()
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        last = await Teller(client, f"http://127.0.0.1:{settings.http_ports[0]}").order(CHAPTERS[1])

    async def seen() -> bool:
        return last in await documents(settings)

    await until(seen)
    await assert_mongodb_equals_mysql(settings)
    after = await documents(settings)
    assert {order_id: after[order_id] for order_id in before} == before


async def documents(settings: Settings) -> dict[str, dict[str, object]]:
    async with AsyncMongoClient[dict[str, object]](settings.mongo) as client:
        found = await client[settings.mongo_database]["customerOrder"].find().to_list()
    return {str(one["_id"]): one for one in found}


async def test_documents_have_the_shape_and_the_exact_money_of_the_actors(app: App) -> None:
    for order_id, document in (await documents(app.settings)).items():
        assert list(document) == ["_id", "customerOrder"]
        order = document["customerOrder"]
        assert isinstance(order, dict)
        assert list(order) == [
            *("orderId", "orderStatus", "modifiedDate", "items", "shippingLocation", "payment")
        ]
        assert order["orderId"] == order_id
        assert oracle.DATE.fullmatch(order["modifiedDate"])
        assert all(isinstance(item["price"]["price"], Decimal128) for item in order["items"])
        if order["payment"] is not None:
            assert isinstance(order["payment"]["amount"]["amount"], Decimal128)


async def test_the_same_job_is_not_submitted_twice(app: App) -> None:
    first = await job.ensure(app.settings)
    assert (await job.ensure(app.settings)).id == first.id
    assert first.runs


async def test_sql_answers_the_paid_orders(app: App) -> None:
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        teller = Teller(client, app.url(0))
        order_id = await teller.order(CHAPTERS[3])
        await teller.step("PAID", order_id, CHAPTERS[3])()
        paid = f"{app.url(2)}/api/orders/{order_id}"

        async def is_paid() -> bool:
            answer = await client.get(paid)
            return answer.is_success and answer.json()["orderStatus"] == "PAID"

        await until(is_paid)
    query = "SELECT order_id, order_status, payment FROM customer_order WHERE order_status = 'PAID'"
    argv = [sys.executable, "-m", "snacks", "flink", "sql", "--timeout=170", "--json", "-e", query]
    told = await asyncio.to_thread(
        subprocess.run, argv, env=environment(app.settings), cwd=ROOT, capture_output=True, timeout=200
    )
    assert told.returncode == 0, told.stderr.decode()
    rows = {row["order_id"]: row for row in map(json.loads, told.stdout.splitlines())}
    assert {row["order_status"] for row in rows.values()} == {"PAID"}
    assert json.loads(rows[order_id]["payment"])["creditCardNumber"] == "****-****-****-7777"


async def test_a_task_manager_that_dies_turns_readiness_red_and_nothing_is_lost(
    app: App, servers: Platform
) -> None:
    pid = servers.kill("flink-tasks")

    async def red() -> bool:
        return "the Flink job" in (await FlinkEngine(app.settings).status()).problem and not await app.ready()

    await until(red)
    lives = asyncio.gather(*(live(app.url(0), chapter) for chapter in CHAPTERS))
    await servers.healthy("flink-tasks", not_pid=pid, within=240)  # one that does not join is started again
    await app.until_ready(within=150)
    await lives
    await assert_mongodb_equals_mysql(app.settings)


async def test_a_lost_job_manager_gets_the_job_again_from_its_newest_checkpoint(
    app: App, servers: Platform
) -> None:
    before = (await job.status(app.settings)).id
    pid = servers.kill("flink")
    await servers.healthy("flink", not_pid=pid)

    async def another() -> bool:
        status = (await FlinkEngine(app.settings).status()).job
        return status.runs and status.id != before

    await until(another, within=90)
    assert "/chk-" in app.log.read_text("utf-8")
    order_id = await live(app.url(0), CHAPTERS[2])
    await until(partial(_stored, app.settings, order_id))
    await assert_mongodb_equals_mysql(app.settings)


async def test_actors_are_not_ready_while_flinks_sink_connector_writes_the_same_documents(app: App) -> None:
    await app.stop()
    actors = App(msgspec.structs.replace(app.settings, engine="actors"))
    actors.launch()
    try:

        async def told() -> bool:
            return not await actors.ready() and "./snacks flink stop" in actors.why_not

        await until(told)
        argv = [sys.executable, "-m", "snacks", "flink", "stop"]
        for said in ("Stopped the job and the sink connector.", "Neither the job nor the sink connector"):
            stopped = await asyncio.to_thread(
                subprocess.run, argv, env=environment(app.settings), cwd=ROOT, capture_output=True, timeout=60
            )
            assert stopped.returncode == 0, stopped.stderr.decode()
            assert said in stopped.stdout.decode()
        await actors.until_ready()
        await live(actors.url(0), CHAPTERS[1])
        await assert_mongodb_equals_mysql(app.settings)
    finally:
        await actors.stop()


async def _stored(settings: Settings, order_id: str) -> bool:
    return order_id in await documents(settings)
