"""How long `snacks reconcile --check` takes for many orders, and its memory.

    PYTHONPATH=src:. .venv/bin/python -m bench.reconcile --orders 1000000

Servers of its own, beside the checkout's. The orders are written where their lives would have left them:
MySQL (past the binlog), checkpoints, aggregates and documents. So nothing is captured or folded meanwhile.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import asyncmy
import msgspec
import psutil
import typer
import uvloop
from aiokafka import AIOKafkaProducer
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from rich.console import Console
from rich.progress import track

from bench import servers
from snacks import config
from snacks.cdc import topics
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS
from snacks.config import Settings
from snacks.documents import Documents
from snacks.domain.order import ItemDetail, Kept, OrderState, Payment, ShippingLocation, encode, project
from snacks.domain.values import Currency, ItemStatus
from snacks.repair.partition import partition_of
from snacks.repair.stored import document
from snacks.tables import Tables

BATCH = 2_000
AT = 1_767_225_600_000
ITEM = ItemDetail("Pretzels", ItemStatus.SHIPPED, Decimal("0.25"), Currency.USD, 4)
PLACE = ShippingLocation("Ada", "9 Quay St", "00501", 1.5, -2.5)
PAYMENT = Payment("CREDIT", "Visa", "****-****-****-4242", Decimal("1.00"), Currency.USD)
STATE = OrderState(
    5,
    True,
    {"1": Kept(AT, ITEM, (1, 700)), "2": Kept(AT, ITEM, (1, 700))},
    Kept(AT, PLACE, (1, 400)),
    Kept(AT, PAYMENT, (1, 500)),
)
ENCODED = encode(STATE)
ROWS = {
    "item_detail": ",".join(f"('{{0}}','{n}','Pretzels','SHIPPED',0.25,'USD',4)" for n in (1, 2)),
    "shipping_location": "('{0}','Ada','9 Quay St','00501',1.5,-2.5)",
    "payment": "('{0}','CREDIT','Visa','****-****-****-4242',1.00,'USD')",
}


async def load(settings: Settings, orders: int, console: Console) -> None:
    """Write all orders to all four places."""
    host, port = settings.mysql
    mysql = await asyncmy.connect(
        host=host, port=port, user="root", password="", db=settings.mysql_database, autocommit=True
    )
    mongo = AsyncMongoClient[Any](settings.mongo)
    found = mongo[settings.mongo_database]["customerOrder"]
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka, linger_ms=20, max_batch_size=262_144, compression_type="snappy"
    )
    async with mongo, producer, mysql.cursor() as cursor:
        await cursor.execute("SET SESSION sql_log_bin = 0, unique_checks = 0")
        for table in ROWS:
            await cursor.execute(f"TRUNCATE {table}")
        batches = range(0, orders, BATCH)
        for start in track(batches, "orders", console=console):
            ids = [f"order-{number:09}" for number in range(start, min(start + BATCH, orders))]
            await asyncio.gather(
                _rows(cursor, ids), _documents(found, ids), _records(producer, settings, ids)
            )
        await producer.flush()


async def _rows(cursor: Any, ids: list[str]) -> None:
    for table, row in ROWS.items():
        await cursor.execute(f"INSERT INTO {table} VALUES {','.join(map(row.format, ids))}")


async def _documents(collection: Any, ids: list[str]) -> None:
    await collection.insert_many([RawBSONDocument(one) for one in _rendered(ids)], ordered=False)


def _rendered(ids: list[str]) -> Iterator[bytes]:
    for order_id in ids:
        order = project(order_id, STATE)
        assert order is not None
        yield document(order_id, STATE.revision, order)


async def _records(producer: AIOKafkaProducer, settings: Settings, ids: list[str]) -> None:
    for order_id in ids:
        order = project(order_id, STATE)
        assert order is not None
        partition, key = partition_of(order_id, settings.partitions), order_id.encode()
        await producer.send(CHECKPOINTS, ENCODED, key, partition=partition)
        await producer.send(AGGREGATES, encode(order), key, partition=partition)


class Cost(msgspec.Struct):
    """What a check took: wall seconds, seconds of CPU, and the most memory in bytes (RSS)."""

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0


async def measure(settings: Settings) -> tuple[dict[str, Any], Cost]:
    """The report of a check, and what it took."""
    argv = [sys.executable, "-m", "snacks", "reconcile", "--check", "--json"]
    began, cost = time.perf_counter(), Cost()
    child = await asyncio.create_subprocess_exec(
        *argv, env=os.environ | config.environment(settings), stdout=asyncio.subprocess.PIPE
    )
    telling = asyncio.create_task(child.communicate())
    watched = psutil.Process(child.pid)
    while not telling.done():
        try:
            cost.memory = max(cost.memory, watched.memory_info().rss)
            cost.cpu = sum(watched.cpu_times()[:2])
        except psutil.NoSuchProcess:
            break
        await asyncio.wait([telling], timeout=0.2)
    told, _ = await telling
    cost.seconds = time.perf_counter() - began
    return msgspec.json.decode(told), cost


async def run(orders: int, console: Console) -> None:
    """Load, check, and print what it took."""
    settings = servers.settings()
    async with servers.platform(settings, console, "database", "mongod", "kafka"):
        await topics.ensure(settings)
        tables = Tables(settings)
        await tables.open()
        await tables.close()
        async with Documents(settings.mongo, settings.mongo_database):
            await load(settings, orders, console)
        report, cost = await measure(settings)
    console.print_json(msgspec.json.encode(report).decode())
    console.print(
        f"{report['orders']:,} orders in {cost.seconds / 60:.1f} min, {cost.cpu / 60:.1f} min of CPU "
        f"({report['orders'] / cost.seconds:,.0f} orders/s), {cost.memory / 1e6:.0f} MB"
    )


def main(orders: Annotated[int, typer.Option(min=1)] = 1_000_000) -> None:
    """Measure `snacks reconcile --check`."""
    uvloop.run(run(orders, Console()))


if __name__ == "__main__":
    typer.run(main)
