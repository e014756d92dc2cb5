"""Queries over HTTP at a million documents: one order by its id, and the list of a status.

Most orders are SHIPPED, as in a shop that has been open for long; fifty are in each of the other statuses, so
that a list is as long as a page is. The plan of each query is shown: without an index there would be a
`COLLSCAN`, and it would get slower with every order.
"""

import argparse
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import msgspec
from rich.console import Console

from bench import generator, load, processes, servers
from bench.report import Result, begin
from snacks.cdc import decode
from snacks.config import Settings
from snacks.documents import Documents
from snacks.domain.fold import fold
from snacks.domain.order import NEW
from snacks.domain.projection import project
from snacks.domain.values import OrderStatus

CHUNK = 5_000
OPEN_ORDERS = 50
STEPS = {"PENDING": 2, "PAID": 3, "FULFILLED": 4, "SHIPPED": 5}
"""Which of an order's five steps it has taken."""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--users", type=int, default=20)


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    units = {"rate": "requests/s", "p50": "ms", "p90": "ms", "p95": "ms", "p99": "ms", "errors": "answers"}
    result = begin(
        "queries", f"Queries at {chosen.documents:,} documents, {chosen.users} users", units, "rate"
    )
    settings = servers.settings()
    async with servers.platform(settings, console, *servers.ALL):
        async with Documents(settings.mongo, settings.mongo_database, wait=600) as documents:
            result.notes += await _fill(settings, documents, chosen.documents, console)
            for name, plan in (await plans(settings, documents, "query-0000001")).items():
                result.notes.append(f"{name}: {plan}")
        async with processes.serving(settings) as serving:
            for _ in range(chosen.runs):
                for name, argument in (("by id", f"id {chosen.documents}"), ("by status", "status PAID")):
                    figures = await load.load(
                        settings,
                        "queries.lua",
                        serving.url,
                        users=chosen.users,
                        seconds=chosen.seconds,
                        argument=argument,
                    )
                    result.add(name, **figures)
                    console.print(f"  {name}: {figures['rate']:.0f} requests/s, p99 {figures['p99']:.1f} ms")
    return result


async def _fill(settings: Settings, documents: Documents, count: int, console: Console) -> list[str]:
    began = time.monotonic()
    async with servers.mongo(settings) as client:
        collection = client[settings.mongo_database][documents.model.get_collection_name()]
        batch: list[dict[str, Any]] = []
        for number, document in enumerate(_documents(count), 1):
            batch.append(document)
            if len(batch) == CHUNK or number == count:
                await collection.insert_many(batch, ordered=False)
                batch = []
                if not number % 100_000:
                    console.print(f"  {number:,} documents")
        stats = await client[settings.mongo_database].command("collStats", collection.name)
    note = (
        f"{count:,} documents in {time.monotonic() - began:.0f} s: {stats['size'] / count:.0f} bytes each, "
        f"{stats['totalIndexSize'] / 2**20:.0f} MB of indexes"
    )
    return [note]


def _documents(count: int) -> Iterator[dict[str, Any]]:
    """A thousand different orders, again and again under new ids."""
    random_ = random.Random(1)
    encode = generator.Encoder("flat")
    made: dict[str, list[dict[str, Any]]] = {status: [] for status in STEPS}
    for status, taken in STEPS.items():
        for _ in range(250):
            state, order_id = NEW, ""
            for step in generator.steps(random_)[:taken]:
                for table, row in step:
                    change: Any = decode(table, *encode(table, row, generator.START), generator.START)
                    state, order_id = fold(state, change), change.order_id
            made[status].append(msgspec.to_builtins(project(order_id, state)))
    for number in range(count):
        status = [*STEPS][min(number // OPEN_ORDERS, 3)]
        order_id = f"query-{number:07d}"
        order = made[status][number % 250] | {"orderId": order_id}
        yield {"_id": order_id, "revision": 9, "customerOrder": order}


class Plan(msgspec.Struct, rename="camel"):
    """How MongoDB answered a query, as its profiler has seen it."""

    plan_summary: str
    keys_examined: int
    docs_examined: int
    nreturned: int = 0

    def __str__(self) -> str:
        read = f"{self.keys_examined} keys, {self.docs_examined} documents"
        return f"{self.plan_summary}; {read} for {self.nreturned} found"


async def plans(settings: Settings, documents: Documents, order_id: str) -> dict[str, Plan]:
    """Ask each query that is served, and have MongoDB say how it was answered."""
    served: dict[str, Callable[[], Awaitable[object]]] = {
        "by id": lambda: documents.get(order_id),
        "by status": lambda: _all(documents.by_status(OrderStatus.PAID)),
        "promotion": documents.promotion,
        "counts": documents.counts,
    }
    found = {}
    async with servers.mongo(settings) as client:
        database = client[settings.mongo_database]
        for name, ask in served.items():
            await database.command("profile", 0)
            await database["system.profile"].drop()
            await database.command("profile", 2)
            await ask()
            await database.command("profile", 0)
            of_ours = {"ns": f"{database.name}.{documents.model.get_collection_name()}"}
            seen = await database["system.profile"].find(of_ours).to_list()
            worst = max(seen, key=lambda entry: entry["docsExamined"])
            found[name] = msgspec.convert(worst, Plan, strict=False)
    return found


async def _all(orders: AsyncIterator[object]) -> None:
    async for _ in orders:
        pass
