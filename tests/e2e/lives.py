"""Whole order lives over HTTP, and what must hold after them whatever was killed meanwhile."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests import oracle
from tests.folding import ends_of
from tests.waiting import until

from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.story import STATUSES, Chapter, Refusal, Teller

RANK = {status: rank for rank, status in enumerate(STATUSES)}


async def live(commands: str, chapter: Chapter) -> str:
    """One whole order life, by a client that tries again while the app is away or not ready (503)."""
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        teller = Teller(client, commands)
        order_id: str = await _again(lambda: teller.order(chapter))
        for status in STATUSES[1:]:
            await _again(teller.step(status, order_id, chapter))
        return order_id


async def _again(step: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(300):
        try:
            return await step()
        except (httpx.HTTPError, Refusal) as error:
            if isinstance(error, Refusal) and "answered 503" not in str(error):
                raise
            await asyncio.sleep(0.1)  # a client's own back-off
    raise AssertionError("the app did not come back")


async def published(settings: Settings) -> dict[str, list[dict[str, Any] | None]]:
    """All that was committed to the aggregate topic, by order id, oldest first."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        sources = [TopicPartition(AGGREGATES, number) for number in range(settings.partitions)]
        consumer.assign(sources)
        ends = await ends_of(settings, sources)
        history: dict[str, list[dict[str, Any] | None]] = {}
        for source in sources:
            while await consumer.position(source) < ends[source]:
                for record in (await consumer.getmany(source, timeout_ms=500)).get(source, ()):
                    value = None if record.value is None else json.loads(record.value)
                    history.setdefault(record.key.decode(), []).append(value)
        return history
    finally:
        await consumer.stop()


async def committed(settings: Settings) -> int:
    """How many records the aggregate topic has."""
    return sum(map(len, (await published(settings)).values()))


async def grown(settings: Settings, before: int) -> bool:
    """Whether actors have published since: what is killed now has work under way."""
    return await committed(settings) > before


async def assert_mongodb_equals_mysql(settings: Settings) -> int:
    """Waits until both are equal; returns how many orders were compared."""
    host, port = settings.mysql
    differences: list[str] = []
    count = 0

    async def equal() -> bool:
        nonlocal differences, count
        left = await oracle.expected(
            host, port, settings.mysql_user, settings.mysql_password, settings.mysql_database
        )
        right = await oracle.stored(settings.mongo, settings.mongo_database)
        differences, count = oracle.differences(left, right), len(left)
        return not differences

    try:
        await until(equal, within=40, every=0.2)
    except AssertionError:
        raise AssertionError("\n".join(differences[:5])) from None
    return count


async def assert_all_shipped_and_nothing_stepped_back(settings: Settings, ids: Iterable[str]) -> None:
    """For these orders; and the topic's last value of every order is what MongoDB has."""
    stored = await oracle.stored(settings.mongo, settings.mongo_database)
    history = await published(settings)
    for order_id in ids:
        assert stored[order_id]["orderStatus"] == "SHIPPED"
        ranks = [RANK[order["orderStatus"]] for order in history[order_id] if order is not None]
        assert ranks == sorted(ranks), f"{order_id} stepped back: {ranks}"
    for order_id, orders in history.items():
        last = orders[-1]
        assert (last is None) == (order_id not in stored), order_id
        if last is not None:
            assert last["orderStatus"] == stored[order_id]["orderStatus"], order_id
