"""What many subscribers of the order stream cost one process, and how late they hear of a change.

Each subscriber follows one order of its own, as the visitors of the promotion do; with `--all` each follows
all of them, as a board does: then every change is told to every subscriber.

The server is a process of its own with the app's routes and feed. Latency is from the record's timestamp
(when it was handed to the producer, before its transaction is committed) to its receipt, same clock.
"""

import argparse
import asyncio
import os
import random
import re
import resource
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from uuid import uuid4

import psutil
import uvicorn
import uvloop
from aiokafka import AIOKafkaProducer
from litestar import Litestar
from litestar.di import Provide
from rich.console import Console

from bench import servers
from bench.report import Result, begin
from snacks import config
from snacks.config import Settings
from snacks.feed import Feed
from snacks.http import pages, stream
from snacks.http.admission import Admission

STATUSES = ("PENDING", "PAID", "FULFILLED")
CONNECTS_AT_ONCE = 100
COMMITS_A_SECOND = 50
ORDER = (
    '{"orderId":"%s","orderStatus":"%s","modifiedDate":"2026-01-01T00:00:00","items":[{"itemId":"1","itemName":'
    '"Snickers","itemStatus":"REQUESTED","price":{"price":0.01,"currency":"USD"},"quantity":1}],'
    '"shippingLocation":{"customerName":"A. Wisher","customerAddress":"2115 Summit Ave.","zipCode":"55105",'
    '"geoLocation":{"latitude":44.9374829167,"longitude":-93.1893875758}},"payment":null}'
)
PUBLISHED = re.compile(rb'"published":(\d+)\}\}')
HANDSHAKE = (
    "GET /ws/orders%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def serve(settings: Settings, topic: str, port: int) -> None:
    feed = Feed(settings, topic)
    app = Litestar(
        [stream.router, pages.router],
        dependencies={
            "feed": Provide(lambda: feed, sync_to_thread=False),
            "admission": Provide(lambda: Admission.of(settings), sync_to_thread=False),
        },
        openapi_config=None,
        logging_config=None,
    )
    options = stream.UVICORN | {"log_level": "warning", "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(app, port=port, backlog=2048, **options))
    reading = asyncio.create_task(feed.run())
    try:
        await server.serve()
    finally:
        reading.cancel()
        await asyncio.wait([reading])


class Subscriber(asyncio.Protocol):
    """A client that costs little: it only looks for the times in what it gets, and answers pings."""

    def __init__(self, path: str, heard: list[float], current: set["Subscriber"]) -> None:
        self._path, self._heard, self._current = path, heard, current
        self._rest = b""
        self.transport: asyncio.Transport
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.write((HANDSHAKE % self._path).encode())

    def data_received(self, data: bytes) -> None:
        now = time.time() * 1000
        if b"\x89\x04" in data:  # a ping: four bytes
            at = data.index(b"\x89\x04") + 2
            self.transport.write(b"\x8a\x84\x00\x00\x00\x00" + data[at : at + 4])
        data = self._rest + data
        end = 0
        for found in PUBLISHED.finditer(data):
            end = found.end()
            if self in self._current:
                self._heard.append(now - int(found[1]))
        if b'"type":"current"' in data[end:]:
            self._current.add(self)
        self._rest = data[max(end, len(data) - 64) :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True


async def publish(
    settings: Settings, topic: str, ids: list[str], rate: float, seconds: float, *, revision: int = 0
) -> int:
    """Change orders at random, some in each of 50 transactions a second; how many changes.

    `revision`: the highest that these orders have.
    """
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, transactional_id=f"bench-{topic}")
    sent, began = 0, time.perf_counter()
    async with producer:
        while (elapsed := time.perf_counter() - began) < seconds:
            due = int(elapsed * rate) - sent
            if due:
                async with producer.transaction():
                    for order_id in random.choices(ids, k=due):
                        sent += 1
                        body = ORDER % (order_id, STATUSES[sent % len(STATUSES)])
                        await producer.send(
                            topic,
                            body.encode(),
                            order_id.encode(),
                            headers=[("revision", b"%d" % (revision + sent))],
                        )
            await asyncio.sleep(1 / COMMITS_A_SECOND)
    return sent


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    units = {
        "p50": "ms",
        "p99": "ms",
        "max": "ms",
        "messages": "/s",
        "lost": "connections",
        "memory": "KB each",
        "server": "MB after",
        "CPU": "% of a core",
    }
    who = "all orders" if chosen.all else "one order each"
    title = f"Stream, {chosen.subscribers:,} subscribers of {who}, {chosen.rate:.0f} changes/s"
    result = begin("stream", title, units, "p99")
    settings = servers.settings()
    async with servers.platform(settings, console, "kafka"):
        for _ in range(chosen.runs):
            figures = await measure(settings, chosen)
            result.add("Snacks", **figures)
            console.print(f"  p50 {figures['p50']:.0f} ms, p99 {figures['p99']:.0f} ms")
    return result


async def measure(settings: Settings, options: argparse.Namespace) -> dict[str, float]:
    topic, port = f"bench-{uuid4().hex[:8]}", free_port()
    await servers.make_topics(settings, [topic])
    ids = [f"order-{number}" for number in range(options.orders)]
    command = [sys.executable, "-m", "bench.stream", topic, str(port)]
    environment = {**os.environ, **config.environment(settings)}
    server = subprocess.Popen(command, env=environment)  # noqa: ASYNC220
    subscribers: list[Subscriber] = []
    try:
        heard: list[float] = []
        current: set[Subscriber] = set()
        await answering(port)
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        loop = asyncio.get_running_loop()
        for number in range(options.subscribers):
            path = "" if options.all else f"/{ids[number % len(ids)]}"
            _, subscriber = await loop.create_connection(
                partial(Subscriber, path, heard, current), "127.0.0.1", port
            )
            subscribers.append(subscriber)
            while len(subscribers) - len(current) > CONNECTS_AT_ONCE:
                await asyncio.sleep(0.01)
        while len(current) < options.subscribers:
            await asyncio.sleep(0.01)
        idle = process.memory_info().rss
        cpu, began = sum(process.cpu_times()[:2]), time.perf_counter()
        await publish(settings, topic, ids, options.rate, options.seconds)
        took = time.perf_counter() - began
        busy = (sum(process.cpu_times()[:2]) - cpu) / took
        counted = -1
        while counted != len(heard):  # until nothing comes any more
            counted = len(heard)
            await asyncio.sleep(3)
        heard.sort()
        return {
            "p50": heard[len(heard) // 2],
            "p99": heard[len(heard) * 99 // 100],
            "max": heard[-1],
            "messages": len(heard) / took,
            "lost": sum(one.lost for one in subscribers),
            "memory": (idle - before) / options.subscribers / 1024,
            "server": process.memory_info().rss / 2**20,
            "CPU": 100 * busy,
        }
    finally:
        for one in subscribers:
            one.transport.abort()
        server.terminate()
        await asyncio.to_thread(server.wait, 20)


async def answering(port: int) -> None:
    """Wait until the server takes subscribers."""
    for _ in range(200):
        with suppress(OSError):
            reading, writing = await asyncio.open_connection("127.0.0.1", port)
            writing.write((HANDSHAKE % "").encode())
            answer = await reading.readline()
            writing.close()
            if b" 101 " in answer:
                return
        await asyncio.sleep(0.1)
    raise TimeoutError("the server takes no subscriber")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--subscribers", type=int, default=5000)
    parser.add_argument("--orders", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=500, help="changes a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--all", action="store_true", help="each subscriber follows all orders")


if __name__ == "__main__":
    uvloop.run(serve(config.load(), sys.argv[1], int(sys.argv[2])))
