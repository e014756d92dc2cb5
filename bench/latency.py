"""How late the world hears of a commit: whole order lives at a fixed rate, from MySQL to the pushed status.

Orders begin at a fixed rate, whether or not the system keeps up, and each goes its way in five commits half
a second apart. A status is late by the time from when its commit was *due* until it is seen: so a stall that
holds the load back counts in full (no coordinated omission). Seen are: the document (stored in MongoDB, as
the aggregate's header says), the aggregate (a consumer that reads committed records gets it), and the pushed
status (a WebSocket client gets it). The rows are written straight to MySQL, many orders in one transaction.
"""

import argparse
import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncmy
import msgspec
import websockets
from msgspec import Struct
from rich.console import Console

from bench import contestants, processes, servers
from bench.report import Result, begin
from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.platform import PlatformError

STATUSES = ("", "PENDING", "PAID", "FULFILLED", "SHIPPED")
"""What an order is after each of its five commits; after the first it is none yet."""
RANK = {status: step for step, status in enumerate(STATUSES)}
PAUSE = 0.5
"""Seconds between two commits of an order."""
TICK = 0.01
"""Seconds: all commits that are due by then go in one transaction."""
WRITERS = 8
"""Connections to MySQL: a slow transaction does not hold the next one back."""
WARM_UP = 4.0
GRACE = 20.0
"""Seconds that the last statuses get to arrive."""

INSERTS = (
    "INSERT INTO item_detail (order_id, item_id, item_name, price, quantity) VALUES ",
    "INSERT INTO shipping_location VALUES ",
    "INSERT INTO payment VALUES ",
)
ROWS = (
    "(%s, '1', 'Swedish Fish', 0.01, 2), (%s, '2', 'Pretzels', 0.02, 1)",
    "(%s, 'Ada K', '9 Quay St', '00501', 40.7127281, -74.0060152)",
    "(%s, 'CREDIT_CARD', 'Visa', '****-****-****-1111', 0.04, 'USD')",
)
UPDATE = "UPDATE item_detail SET item_status = %s WHERE order_id IN ({})"


class Aggregate(Struct, rename="camel"):
    order_status: str


class Pushed(Struct, rename="camel"):
    type: str
    order_id: str = ""
    order_status: str = ""


class Watch:
    """Who waits for which status since when, and how late it came, by what saw it."""

    def __init__(self) -> None:
        self.due: dict[str, list[float]] = {}
        self.late: dict[str, list[float]] = {"document": [], "aggregate": [], "pushed": []}
        self._seen: dict[tuple[str, str], int] = {}
        self.open = 0

    def expect(self, order_id: str, start: float) -> None:
        self.due[order_id] = [start + step * PAUSE for step in range(len(STATUSES))]
        self.open += (len(STATUSES) - 1) * len(self.late)

    def saw(self, by: str, order_id: str, status: str, at: float) -> None:
        """A newer status stands for those that it overtook."""
        due, step = self.due.get(order_id), RANK[status]
        seen = self._seen.get((by, order_id), 0)
        if due is None or step <= seen:
            return
        self._seen[by, order_id] = step
        self.late[by] += [1000 * (at - due[number]) for number in range(seen + 1, step + 1)]
        self.open -= step - seen


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rates", default="50,200,500", help="orders/s, by comma")
    parser.add_argument("--seconds", type=float, default=30.0, help="of load at each rate")


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    names = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    result = begin("latency", "Latency of a status, from its commit", dict.fromkeys(names, "ms"), "p99")
    settings = servers.settings()
    async with servers.platform(settings, console, *servers.ALL), processes.serving(settings) as serving:
        await measure(settings, serving, 50, WARM_UP)
        for _ in range(chosen.runs):
            for rate in map(float, chosen.rates.split(",")):
                busy, cpu = contestants.busy(), serving.cpu()
                watch = await measure(settings, serving, rate, chosen.seconds)
                for by, late in watch.late.items():
                    late.sort()
                    result.add(
                        f"{rate:.0f} orders/s, {by}",
                        **{
                            name: late[min(len(late) - 1, int(part * len(late)))]
                            for name, part in names.items()
                        },
                    )
                used = (serving.cpu() - cpu) / (contestants.busy() - busy)
                late = watch.late["pushed"]
                console.print(
                    f"  {rate:.0f} orders/s: pushed p50 {late[len(late) // 2]:.0f} ms, "
                    f"p99 {late[int(len(late) * 0.99)]:.0f} ms; the app did {used:.0%} of the machine's work"
                )
    return result


async def measure(settings: Settings, serving: processes.App, rate: float, seconds: float) -> Watch:
    """Live lives for so long; how late each status was.

    Raises:
        PlatformError: not every status came.
    """
    watch = Watch()
    async with _aggregates(settings, watch), _pushed(serving, watch):
        await _live(settings, watch, rate, seconds)
        deadline = time.monotonic() + GRACE
        while watch.open and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
    if watch.open:
        raise PlatformError(f"at {rate:.0f} orders/s {watch.open} statuses did not come within {GRACE:.0f} s")
    return watch


async def _live(settings: Settings, watch: Watch, rate: float, seconds: float) -> None:
    host, port = settings.mysql
    login: dict[str, Any] = {"user": settings.mysql_user, "password": settings.mysql_password}
    pool = await asyncmy.create_pool(
        WRITERS, WRITERS, host=host, port=port, database=settings.mysql_database, **login
    )
    random_ = random.Random(time.time_ns())
    count, start = int(rate * seconds), time.time() + 0.2
    ids = [str(UUID(int=random_.getrandbits(128), version=4)) for _ in range(count)]
    done = [0] * len(STATUSES)
    """How many orders have taken each step: they all take it in the same order."""
    writing: set[asyncio.Task[None]] = set()
    try:
        while done[-1] < count:
            now = time.time()
            while len(watch.due) < count and start + len(watch.due) / rate <= now:
                watch.expect(ids[len(watch.due)], start + len(watch.due) / rate)
            for step in range(len(STATUSES)):
                due = min(count, int((now - start - step * PAUSE) * rate) + 1)
                if due > done[step]:
                    task = asyncio.create_task(_write(pool, step, ids[done[step] : due]))
                    writing.add(task)
                    task.add_done_callback(writing.discard)
                    done[step] = due
            await asyncio.sleep(TICK)
        await asyncio.gather(*writing)
    finally:
        pool.close()
        await pool.wait_closed()


async def _write(pool: Any, step: int, ids: list[str]) -> None:
    async with pool.acquire() as connection, connection.cursor() as cursor:
        if step < len(INSERTS):
            values = [order_id for order_id in ids for _ in range(ROWS[step].count("%s"))]
            await cursor.execute(INSERTS[step] + ", ".join([ROWS[step]] * len(ids)), values)
        else:
            places = ", ".join(["%s"] * len(ids))
            await cursor.execute(UPDATE.format(places), [STATUSES[step], *ids])
        await connection.commit()


@asynccontextmanager
async def _aggregates(settings: Settings, watch: Watch) -> AsyncIterator[None]:
    decode = msgspec.json.Decoder(Aggregate).decode

    async def follow(consumer: Any) -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                now = time.time()
                for record in records:
                    if record.value is not None:
                        order_id = record.key.decode()
                        status = decode(record.value).order_status
                        stored = next(int(value) for name, value in record.headers if name == "stored")
                        watch.saw("document", order_id, status, stored / 1000)
                        watch.saw("aggregate", order_id, status, now)

    async with servers.reader(settings) as consumer:
        sources = servers.partitions(settings, AGGREGATES)
        consumer.assign(sources)
        await consumer.seek_to_end(*sources)
        following = asyncio.create_task(follow(consumer))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])


@asynccontextmanager
async def _pushed(serving: processes.App, watch: Watch) -> AsyncIterator[None]:
    decode = msgspec.json.Decoder(Pushed).decode
    current = asyncio.Event()

    async def follow(socket: Any) -> None:
        async for text in socket:
            message = decode(text)
            if message.type == "order":
                watch.saw("pushed", message.order_id, message.order_status, time.time())
            elif message.type == "current":
                current.set()

    url = serving.url.replace("http", "ws") + "/ws/orders"
    async with websockets.connect(url, max_size=None, proxy=None) as socket:
        following = asyncio.create_task(follow(socket))
        try:
            async with asyncio.timeout(60):
                await current.wait()
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])
