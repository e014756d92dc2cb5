"""The restore of many orders from the checkpoint, and what an idle order costs in memory.

`restore`: finished orders lie in the checkpoint topic (written by the benchmark, without a marker or a gap);
a process that only folds starts and takes all shards: from its assignment until all of them run.
`touch`: orders come through the CDC topics, two or three items and a place each, and are not touched again;
the process folds them into MongoDB and passivates them.

Memory is the resident set of the process; `an order` is what it has grown by since it held none, per order.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Awaitable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer, ConsumerRecord
from msgspec.structs import replace
from rich.console import Console

from bench import generator, processes, servers
from bench.report import Result, begin
from snacks.actors.orders import Orders, checkpoints, read
from snacks.cdc.topics import CDC_TOPICS, CHECKPOINTS
from snacks.config import Settings

TEMPLATES = 2_000
"""Orders that are really folded; the others have one of their states, under an id of their own."""
LONGEST = 600.0
POLL = 0.05
Record = tuple[str, int, bytes, bytes]
"""Topic, partition, key, value."""


class Sample(NamedTuple):
    """Seconds since 1970, resident bytes, and processor seconds used."""

    at: float
    memory: int
    cpu: float


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--orders", type=int, default=1_000_000, help="in the checkpoint")
    parser.add_argument("--touched", type=int, default=300_000, help="through the CDC topics")


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    settings = replace(servers.settings(), role="actors")
    units = {"time": "s", "CPU": "s", "memory": "MB", "peak": "MB", "an order": "bytes"}
    result = begin("restore", "Orders in memory", units, "time")
    async with servers.platform(settings, console, "kafka", "mongod"):
        for number in range(chosen.runs):
            if chosen.orders:
                await _clear(settings)
                await _write(settings, _states(await _folded(), chosen.orders, settings.partitions))
                figures = await _lap(servers.fresh(settings, f"restore-{number}"), chosen.orders)
                result.add(f"restore of {chosen.orders:,}", **figures)
                console.print(f"run {number + 1}: restored in {figures['time']:.1f} s")
            if chosen.touched:
                await _clear(settings)
                await _write(settings, _touches(chosen.touched, settings.partitions))
                figures = await _lap(servers.fresh(settings, f"touch-{number}"), chosen.touched)
                result.add(f"touch of {chosen.touched:,}", **figures)
                console.print(f"run {number + 1}: folded in {figures['time']:.1f} s")
    return result


async def _clear(settings: Settings) -> None:
    await servers.clear(settings, sources=True)
    await servers.clear_documents(settings)


async def _folded() -> list[bytes]:
    """States of finished orders, as the actors write them."""
    encode, orders = generator.Encoder("flat"), Orders(0, lambda _id, _partition: None)
    dice = random.Random(1)
    records: list[Any] = []
    for _ in range(TEMPLATES):
        for table, row in (one for step in generator.steps(dice) for one in step):
            key, value = encode(table, row, generator.START)
            records.append(_record(generator.TOPICS[table], len(records), key, value))
    outcomes = await orders.fold(read(records, {}))
    return [entry.value for entry in checkpoints(outcomes) if entry.value is not None]


def _record(topic: str, offset: int, key: bytes, value: bytes) -> Any:
    """A record as a consumer would give it."""
    return ConsumerRecord(topic, 0, offset, generator.START, 0, key, value, None, len(key), len(value), ())


def _states(states: list[bytes], orders: int, partitions: int) -> Iterator[Record]:
    for number in range(orders):
        order_id = f"{number:08x}-0000-4000-8000-{number * 2654435761 % 2**48:012x}"
        place = generator.partition_of(order_id, partitions)
        yield CHECKPOINTS, place, order_id.encode(), states[number % len(states)]
    offsets = msgspec.json.encode(dict.fromkeys(CDC_TOPICS, 0))
    for partition in range(partitions):
        yield CHECKPOINTS, partition, b"@shard", offsets


def _touches(orders: int, partitions: int) -> Iterator[Record]:
    encode, dice = generator.Encoder("flat"), random.Random(2)
    for _ in range(orders):
        items, place, *_ = generator.steps(dice)
        for table, row in (*items, *place):
            key, value = encode(table, row, generator.START)
            yield generator.TOPICS[table], generator.partition_of(row["order_id"], partitions), key, value


async def _write(settings: Settings, records: Iterator[Record]) -> None:
    """Whole batches, each written once and in order."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        enable_idempotence=True,
        max_batch_size=generator.BATCH_BYTES,
        max_request_size=4 * generator.BATCH_BYTES,
        compression_type="snappy",
    )
    waiting: list[Awaitable[object]] = []
    batches: dict[tuple[str, int], Any] = {}
    async with producer:
        for topic, partition, key, value in records:
            batch = batches.get((topic, partition))
            if batch is None or batch.append(key=key, value=value, timestamp=None) is None:
                if batch is not None:
                    waiting.append(await producer.send_batch(batch, topic, partition=partition))
                batch = batches[topic, partition] = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
            if len(waiting) > generator.AT_ONCE:
                await asyncio.gather(*waiting)
                waiting.clear()
        for (topic, partition), batch in batches.items():
            waiting.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*waiting)


async def _lap(settings: Settings, orders: int) -> dict[str, float]:
    """Start a process on what is there, and wait until it has all orders and nothing more to fold."""
    async with processes.app(settings) as app, asyncio.timeout(LONGEST):
        samples: list[Sample] = []
        sampling = asyncio.create_task(_sample(app, samples))
        try:
            while not _folded_all(settings, await app.shards(), orders):
                await asyncio.sleep(POLL)
            end = samples[-1]
            await asyncio.sleep(2)  # what the last cycle needed is given back
        finally:
            sampling.cancel()
        assigned, runs = _told(app, "shards assigned"), _told(app, "shard runs")
        base = next(one for one in reversed(samples) if one.at <= assigned)
        folded = end.at if end.at - runs > 2 * POLL else runs
        return {
            "time": folded - assigned,
            "CPU": end.cpu - base.cpu,
            "memory": samples[-1].memory / 2**20,
            "peak": max(one.memory for one in samples) / 2**20,
            "an order": (samples[-1].memory - base.memory) / orders,
        }


def _folded_all(settings: Settings, shards: list[dict[str, Any]], orders: int) -> bool:
    running = [shard for shard in shards if shard["state"] == "running"]
    held = sum(shard["orders"] for shard in running)
    return len(running) == settings.partitions and held >= orders and not any(one["lag"] for one in running)


async def _sample(app: processes.App, samples: list[Sample]) -> None:
    while True:
        samples.append(Sample(time.time(), app.memory(), app.cpu()))
        await asyncio.sleep(POLL)


def _told(app: processes.App, event: str) -> float:
    """When the process logged this last, in seconds since 1970: it is too busy to be asked meanwhile."""
    lines = (json.loads(line) for line in app.log.read_text("utf-8").splitlines() if f'"{event}"' in line)
    return max(datetime.fromisoformat(one["timestamp"]).timestamp() for one in lines)
