"""One record in 300 means nothing, and the app is killed in the middle: no order is lost or damaged.

`SOAK_RECORDS=1000000 ./snacks test tests/e2e/test_soak.py` makes it longer.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from tests import oracle
from tests.e2e.app_process import App
from tests.e2e.lives import assert_all_shipped_and_nothing_stepped_back, committed, grown
from tests.folding import everything
from tests.poison import CARD, fuzzed, poisons
from tests.sql import connected
from tests.waiting import until

from snacks.cdc.topics import DEAD_LETTERS
from snacks.config import Settings
from snacks.repair.partition import partition_of

RECORDS = int(os.environ.get("SOAK_RECORDS", "30000"))
ONE_IN = 300
WAVE = 100
"""Orders that are made at a time; each gives about ten records in its life."""

pytestmark = pytest.mark.timeout(180 + RECORDS // 100)


class Stream:
    """Orders in MySQL that Debezium captures, with poison between their records."""

    def __init__(self, settings: Settings, cursor: Any, producer: AIOKafkaProducer) -> None:
        self.records = 0
        self.poison: dict[str, str] = {}
        self._settings = settings
        self._cursor = cursor
        self._producer = producer
        self._dice = random.Random(20_260_101)
        self._mark = uuid4().hex[:8]
        self._waves = 0
        self._kinds = poisons()

    async def wave(self) -> None:
        """A hundred new orders; those of the waves before move on, and some of them change or go."""
        ids = [self._id(self._waves, number) for number in range(WAVE)]
        await self._insert("item_detail", ids, "('{}', '1', 'Pretzels', 'REQUESTED', 0.25, 'USD', 4)")
        await self._insert("item_detail", ids, "('{}', '2', 'Gold Fish', 'REQUESTED', 0.5, 'USD', 1)")
        await self._insert("shipping_location", ids, "('{}', 'Ada', '9 Quay St', '00501', 1.5, -2.5)")
        await self._insert("payment", ids, "('{}', 'CREDIT', 'Visa', '****-****-****-4242', 1.5, 'USD')")
        await self._move(1, "UPDATE item_detail SET item_status = 'FULFILLED' WHERE order_id LIKE '{}%'")
        await self._move(2, "UPDATE item_detail SET item_status = 'SHIPPED' WHERE order_id LIKE '{}%'")
        await self._move(2, "UPDATE shipping_location SET zip_code = '9' WHERE order_id LIKE '{}7%'")
        await self._move(3, "DELETE FROM payment WHERE order_id LIKE '{}3%'")
        await self._move(3, "DELETE FROM shipping_location WHERE order_id LIKE '{}5%'")
        self._waves += 1

    async def _insert(self, table: str, ids: list[str], row: str) -> None:
        await self._run(f"INSERT INTO {table} VALUES {', '.join(map(row.format, ids))}")

    async def _move(self, back: int, statement: str) -> None:
        if self._waves >= back:
            await self._run(statement.format(f"{self._mark}-{self._waves - back}-"))

    async def _run(self, statement: str) -> None:
        self.records += await self._cursor.execute(statement)
        while len(self.poison) < self.records // ONE_IN:
            await self._poison()

    async def _poison(self) -> None:
        order_id = self._id(self._dice.randint(0, max(0, self._waves - 1)), self._dice.randrange(WAVE))
        made = len(self.poison)
        # Each kind in its turn, and as many that are made by chance.
        kind = self._kinds[made // 2 % len(self._kinds)]
        topic, key, body = kind(order_id) if made % 2 else fuzzed(self._dice)
        partition = partition_of(order_id, self._settings.partitions)
        sent = await self._producer.send_and_wait(topic, body, key, partition=partition)
        self.poison[f"{sent.topic}/{sent.partition}/{sent.offset}"] = order_id

    def _id(self, wave: int, number: int) -> str:
        return f"{self._mark}-{wave}-{number}"


@asynccontextmanager
async def streaming(settings: Settings) -> AsyncIterator[Stream]:
    async with (
        AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer,
        connected(settings) as connection,
        connection.cursor() as cursor,
    ):
        yield Stream(settings, cursor, producer)


async def letters(settings: Settings, wanted: dict[str, str]) -> list[tuple[str, bytes | None]]:
    """The dead letters of these identities."""
    return [(key, body) for key, body in await everything(settings, DEAD_LETTERS) if key in wanted]


async def test_poison_and_a_kill_cost_no_order_anything_and_each_poison_is_set_aside_once(app: App) -> None:
    settings = app.settings
    async with streaming(settings) as stream:
        while stream.records < RECORDS // 2:
            await stream.wave()
        before = await committed(settings)
        await until(lambda: grown(settings, before), within=60)
        await app.kill()
        coming_back = asyncio.create_task(app.start())
        while stream.records < RECORDS:
            await stream.wave()
        await coming_back
        poison = stream.poison

    async def all_set_aside() -> bool:
        return {key for key, _ in await letters(settings, poison)} == poison.keys()

    await until(all_set_aside, within=60 + RECORDS / 200, every=0.5)
    found = await letters(settings, poison)
    assert set(Counter(key for key, _ in found).values()) == {1}
    for key, body in found:
        letter = json.loads(body or b"")
        assert f"{letter['topic']}/{letter['partition']}/{letter['offset']}" == key
        assert letter["code"] != "other", letter["reason"]
        assert CARD not in (body or b"").decode()
    await until(lambda: equal(settings), within=60 + RECORDS / 200, every=0.5)
    await assert_all_shipped_and_nothing_stepped_back(settings, ())


async def equal(settings: Settings) -> bool:
    host, port = settings.mysql
    left = await oracle.expected(
        host, port, settings.mysql_user, settings.mysql_password, settings.mysql_database
    )
    return not oracle.differences(left, await oracle.stored(settings.mongo, settings.mongo_database))
