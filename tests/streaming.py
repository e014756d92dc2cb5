"""An aggregate topic of one's own on a real broker, and a real server whose feed follows it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from uuid import uuid4

import httpx
import uvicorn
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from litestar import Litestar
from litestar.di import Provide
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect

from snacks.config import Settings
from snacks.feed import Feed
from snacks.http import errors, queries, stream
from snacks.http.admission import Admission
from tests.waiting import until

Message = dict[str, Any]


def order(order_id: str, status: str, name: str = "Ada K") -> bytes:
    """A customer order's JSON."""
    place = {
        "customerName": name,
        "customerAddress": "9 Quay St",
        "zipCode": "00501",
        "geoLocation": {"latitude": 1.5, "longitude": -2.5},
    }
    return json.dumps(
        {
            "orderId": order_id,
            "orderStatus": status,
            "modifiedDate": "2026-01-01T00:00:00",
            "items": [],
            "shippingLocation": place,
            "payment": None,
        }
    ).encode()


class Orders:
    """Publishes orders to a topic of its own, as the actors do."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.settings = settings
        self.topic = topic
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka, max_request_size=8_000_000, transactional_id=f"tx-{topic}"
        )
        self._revisions: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        await self.make()
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._producer.stop(), 5)

    async def make(self, *, anew: bool = False) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka)
        await admin.start()
        try:
            if anew:
                await admin.delete_topics([self.topic])

                async def gone() -> bool:
                    return self.topic not in await admin.list_topics()

                await until(gone)
            await admin.create_topics([NewTopic(self.topic, self.settings.partitions, 1)])

            async def there() -> bool:
                return bool((await admin.describe_topics([self.topic]))[0]["partitions"])

            await until(there)
        finally:
            await admin.close()

    async def put(self, order_id: str, status: str | None, **more: Any) -> int:
        """One change in a transaction; its revision."""
        return (await self.put_all([(order_id, status)], **more))[0]

    async def put_all(self, changes: Iterable[tuple[str, str | None]], **more: Any) -> list[int]:
        """Changes in one transaction; their revisions. `abort` them to be read by nobody."""
        revisions, abort = [], more.pop("abort", False)
        await self._producer.begin_transaction()
        for order_id, status in changes:
            revision = self._revisions[order_id] = self._revisions.get(order_id, 0) + 1
            headers = [("revision", str(revision).encode()), ("stored", b"1767225600000")]
            body = None if status is None else order(order_id, status, **more)
            partition = sum(order_id.encode()) % self.settings.partitions
            await self._producer.send(
                self.topic, body, order_id.encode(), partition=partition, headers=headers
            )
            revisions.append(revision)
        await (self._producer.abort_transaction() if abort else self._producer.commit_transaction())
        return revisions


@asynccontextmanager
async def ordering(settings: Settings) -> AsyncIterator[Orders]:
    """A topic of one's own."""
    async with Orders(settings, f"orders-{uuid4().hex[:8]}") as orders:
        yield orders


@asynccontextmanager
async def feeding(settings: Settings, topic: str) -> AsyncIterator[Feed]:
    """A feed that has caught up; stopped at the end."""
    feed = Feed(settings, topic)
    task = asyncio.create_task(feed.run())
    try:
        await until(lambda: feed.present.live)
        yield feed
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=10)


class Served:
    """A server of the stream and the queries' routes, and what clients of it need."""

    def __init__(self, feed: Feed, port: int, server: uvicorn.Server) -> None:
        self.feed = feed
        self.port = port
        self.server = server

    def follow(self, path: str = "", **options: Any) -> connect:
        """A WebSocket client of `/ws/orders<path>`; use it as a context."""
        options = {"compression": None, "ping_interval": None, "proxy": None} | options
        return connect(f"ws://127.0.0.1:{self.port}/ws/orders{path}", **options)

    def events(self, **options: Any) -> Any:
        """An answer of `GET /api/orders/stream` to read lines from; use it as a context."""
        return streaming(f"http://127.0.0.1:{self.port}/api/orders/stream", **options)

    @property
    def tasks(self) -> int:
        """Requests and connections that the server works on."""
        return len(self.server.server_state.tasks)

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self.server.server_state.connections)


@asynccontextmanager
async def streaming(url: str, **options: Any) -> AsyncIterator[httpx.Response]:
    """An HTTP answer whose body is read as it comes."""
    async with (
        httpx.AsyncClient(timeout=20, trust_env=False) as client,
        client.stream("GET", url, **options) as answer,
    ):
        yield answer


@asynccontextmanager
async def serving(feed: Feed, port: int = 0, **uvicorn_options: Any) -> AsyncIterator[Served]:
    """A real server; at the end it is shut down as the app does it."""
    settings = feed._settings
    app = Litestar(
        [queries.router, stream.router],
        dependencies={
            "documents": Provide(lambda: None, sync_to_thread=False),
            "feed": Provide(lambda: feed, sync_to_thread=False),
            "admission": Provide(lambda: Admission.of(settings), sync_to_thread=False),
        },
        exception_handlers=errors.HANDLERS,
        logging_config=None,
    )
    options = stream.UVICORN | {"timeout_graceful_shutdown": 5} | uvicorn_options
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, **options))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    with socket.create_server(("127.0.0.1", port)) as listening:
        stream.make_room([listening])
        await server.startup(sockets=[listening])
        try:
            yield Served(feed, listening.getsockname()[1], server)
        finally:
            feed.close()
            await server.shutdown(sockets=[listening])


Following = tuple[Orders, Served]


@asynccontextmanager
async def following(settings: Settings, **options: Any) -> AsyncIterator[Following]:
    """A topic, a feed of it and a server. Options that are settings change these."""
    own = {name: options.pop(name) for name in list(options) if name in Settings.__struct_fields__}
    changed = replace(settings, **own)
    async with (
        ordering(changed) as orders,
        feeding(changed, orders.topic) as feed,
        serving(feed, **options) as served,
    ):
        yield orders, served


async def hear(client: ClientConnection, *, within: float = 10) -> Message:
    """The next message."""
    async with asyncio.timeout(within):
        message: Message = json.loads(await client.recv())
    return message


async def hear_until(client: ClientConnection, kind: str = "current", **fields: Any) -> list[Message]:
    """All messages to the first of this type with these fields."""
    messages = [await hear(client)]
    while messages[-1]["type"] != kind or any(messages[-1][name] != value for name, value in fields.items()):
        messages.append(await hear(client))
    return messages


def brief(messages: Iterable[Message]) -> list[str]:
    """`order kit-1 PAID` and the like."""
    return [
        " ".join([m["type"], *(str(m[key]) for key in ("orderId", "orderStatus") if key in m)])
        for m in messages
    ]
