"""Readers that watch orders move while everything breaks: the topic, MongoDB, HTTP and the WebSocket."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from tests.chaos.real.load import Load
from tests.chaos.real.steps import Steps
from tests.chaos.real.world import World
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from snacks.cdc.topics import AGGREGATES

EVERY = 0.25
SITTING = 10.0
"""Seconds after which the reader of the topic begins anew: one that lost the broker may stay deaf."""
AWAY = (OSError, KafkaError, PyMongoError, httpx.HTTPError, WebSocketException, TimeoutError)


class Readers:
    """All of them, each with its own `Steps`; `last` is the topic's newest status by order id."""

    def __init__(self, world: World, load: Load, seed: int) -> None:
        self.steps = {name: Steps(name) for name in ("topic", "mongodb", "http")}
        self.last: dict[str, str | None] = {}
        self._world, self._load = world, load
        self._rng = random.Random(f"readers-{seed}")
        self._positions: dict[TopicPartition, int] = {}
        self._resumed = Steps("websocket")
        self.steps["websocket"] = self._resumed
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        ways = (self._topic, self._mongodb, self._http, self._websocket)
        self._tasks = [asyncio.create_task(_again(way)) for way in ways]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """Raise what ended a reader: a defect of the harness, or an answer that nobody can read."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _topic(self) -> None:
        settings = self._world.settings
        consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, isolation_level="read_committed")
        try:
            async with asyncio.timeout(SITTING):
                await consumer.start()
            ends = asyncio.get_running_loop().time() + SITTING
            sources = [TopicPartition(AGGREGATES, number) for number in range(settings.partitions)]
            consumer.assign(sources)
            for source in sources:
                consumer.seek(source, self._positions.get(source, 0))
            while asyncio.get_running_loop().time() < ends:
                async with asyncio.timeout(SITTING):
                    found = await consumer.getmany(timeout_ms=500)
                for source, records in found.items():
                    for record in records:
                        self._published(record)
                        self._positions[source] = record.offset + 1
        finally:
            with suppress(*AWAY):
                async with asyncio.timeout(3):
                    await consumer.stop()

    def _published(self, record: Any) -> None:
        order_id = record.key.decode()
        revision = dict(record.headers).get("revision")
        status = None if record.value is None else json.loads(record.value)["orderStatus"]
        self.steps["topic"].saw(order_id, status, int(revision) if revision else None)
        self.last[order_id] = status

    async def _mongodb(self) -> None:
        settings = self._world.settings
        async with AsyncMongoClient[dict[str, Any]](settings.mongo, timeoutMS=5000) as client:
            database = client.get_database(settings.mongo_database, read_concern=ReadConcern("majority"))
            orders = database["customerOrder"]
            while True:
                await asyncio.sleep(EVERY)
                ids = list(self._load.lately)
                wanted = {"revision": 1, "customerOrder.orderStatus": 1}
                found = {one["_id"]: one async for one in orders.find({"_id": {"$in": ids}}, wanted)}
                for order_id in ids:
                    one = found.get(order_id)
                    if one is None:
                        self.steps["mongodb"].saw(order_id, None)
                    else:
                        status = one["customerOrder"]["orderStatus"]
                        self.steps["mongodb"].saw(order_id, status, one["revision"])

    async def _http(self) -> None:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while True:
                await asyncio.sleep(EVERY / 5)
                if not self._load.lately:
                    continue
                order_id = self._rng.choice(self._load.lately[-20:])
                url = self._rng.choice(self._world.members).url(2)
                answer = await client.get(f"{url}/api/orders/{order_id}")
                if answer.status_code in (200, 404):
                    status = answer.json()["orderStatus"] if answer.is_success else None
                    self.steps["http"].saw(order_id, status)

    async def _websocket(self) -> None:
        """Comes back with its cursor, to any process; drops what is older (docs/stream.md)."""
        cursor, newest = "", dict[str, int]()  # the latter across all connections
        while True:
            url = self._rng.choice(self._world.members).url(0).replace("http", "ws", 1)
            with suppress(*AWAY):
                async with connect(f"{url}/ws/orders?cursor={cursor}", proxy=None, open_timeout=5) as socket:
                    steps = Steps("websocket")  # within a connection nothing may step back at all
                    async for text in socket:
                        message = json.loads(text)
                        cursor = message.get("cursor", cursor)
                        if message["type"] == "order":
                            order_id, revision = message["orderId"], message["revision"]
                            before = len(steps.violations)
                            steps.saw(order_id, message["orderStatus"], revision)
                            self._resumed.violations += steps.violations[before:]
                            if revision >= newest.get(order_id, 0):
                                newest[order_id] = revision
                                self._resumed.saw(order_id, message["orderStatus"], revision)
            await asyncio.sleep(EVERY)


async def _again(way: Callable[[], Awaitable[None]]) -> None:
    """A reader whose server is away comes back."""
    me = asyncio.current_task()
    assert me is not None
    while True:
        try:
            await way()
        except AWAY:
            pass
        except asyncio.CancelledError:  # aiokafka raises one that nobody asked for, when the broker goes
            if me.cancelling():
                raise
        await asyncio.sleep(EVERY)
