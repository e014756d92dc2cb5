"""How long the app needs after a server was away, and what it costs meanwhile.

One process with all roles, orders coming in all the time. MongoDB, the broker and Kafka Connect are frozen
(SIGSTOP) or kept down for `--seconds`. `ready`: from the server's return until the app calls itself ready.
`fresh`: from then until an order that is sent now can be queried. `grown`: the app's memory at its
most, above what it was before. `lost`: accepted orders that are not in MongoDB at the end.
"""

import argparse
import asyncio
import signal
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
from pymongo import AsyncMongoClient
from rich.console import Console

from bench import processes, servers
from bench.report import Result, begin
from snacks.config import Settings
from snacks.platform import Platform, PlatformError

NAMES = ("mongod", "kafka", "connect")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60, help="how long each server is away")
    parser.add_argument("--rate", type=float, default=40, help="orders a second meanwhile")
    parser.add_argument("--only", default=",".join(NAMES), help="which servers, by comma")


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    settings = servers.fresh(servers.settings(), f"outages-{uuid4().hex[:6]}")
    units = {"ready": "s", "fresh": "s", "grown": "MB", "lost": "orders"}
    result = begin("outages", f"After {chosen.seconds:g} s without a server", units, "ready")
    async with (
        servers.platform(settings, console, "kafka", "mongod", "connect", "database") as platform,
        processes.app(settings) as app,
    ):
        await processes.until(app.ready)
        load = Load(app, chosen.rate)
        loading = asyncio.create_task(load.run())
        try:
            for number in range(chosen.runs):
                for name in chosen.only.split(","):
                    for fault in ("frozen", "down"):
                        figures, why = await _outage(platform, app, name, fault, chosen.seconds)
                        figures["lost"] = await _lost(settings, load)
                        result.add(f"{name} {fault}", **figures)
                        console.print(
                            f"run {number + 1}: {name} {fault}: ready after {figures['ready']:.1f} s"
                        )
                        console.print(f"  meanwhile: {why[:160]}", style="dim", highlight=False)
        finally:
            loading.cancel()
    return result


class Load:
    """Orders, one after the other at a rate; `accepted` are the ids of those answered 2xx."""

    def __init__(self, app: processes.App, rate: float) -> None:
        self.accepted: list[str] = []
        self._app, self._pause = app, 1 / rate

    async def run(self) -> None:
        while True:
            await asyncio.gather(self.send(uuid4().hex), asyncio.sleep(self._pause))

    async def send(self, order_id: str) -> None:
        item = {"itemId": "1", "itemName": "Pretzels", "price": 0.5, "quantity": 2}
        place = {
            "orderId": order_id,
            "customerName": "Ada",
            "customerAddress": "1 Snack St",
            "zipCode": "08505",
            "latitude": 40.7,
            "longitude": -74.0,
        }
        with suppress(httpx.HTTPError):
            post, url = self._app.client.post, f"{self._app.url}/api"
            first = await post(f"{url}/item-details", json={"orderId": order_id, "items": [item]})
            second = await post(f"{url}/shipping-location", json=place)
            if first.is_success and second.is_success:
                self.accepted.append(order_id)


async def _outage(
    platform: Platform, app: processes.App, name: str, fault: str, seconds: float
) -> tuple[dict[str, float], str]:
    before = peak = app.memory()
    if fault == "frozen":
        platform.kill(name, signal.SIGSTOP)
    else:
        platform.kill(name)
        await platform.stop(name)
    why = ""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        peak = max(peak, app.memory())
        why = await app.why_not() or why
    if not why:
        raise PlatformError(f"{name} was {fault} for {seconds:g} s, and the app said that it was ready.")
    if fault == "frozen":
        platform.kill(name, signal.SIGCONT)
    else:
        await platform.start(name)
    ready = await processes.until(app.ready)
    order_id = uuid4().hex
    await Load(app, 1).send(order_id)

    async def seen() -> bool:
        return (await app.client.get(f"{app.url}/api/orders/{order_id}")).is_success

    fresh = await processes.until(seen)
    return {"ready": ready, "fresh": fresh, "grown": (max(peak, app.memory()) - before) / 2**20}, why


async def _lost(settings: Settings, load: Load) -> float:
    """Accepted orders that do not come, however long one waits; 0 as soon as all are there."""
    wanted = set(load.accepted)
    missing = wanted
    end = time.monotonic() + 60
    async with AsyncMongoClient[dict[str, Any]](settings.mongo) as client:
        documents = client[settings.mongo_database]["customerOrder"]
        while missing and time.monotonic() < end:
            found = {one["_id"] async for one in documents.find({"_id": {"$in": list(missing)}}, {"_id": 1})}
            missing = missing - found
            await asyncio.sleep(0.2)
    return float(len(missing))
