"""Where a record's time goes in our process: processor time per record, stage by stage, without any server.

The same backlog as the drain's, in cycles of the same size. Reading and writing are aiokafka's and pymongo's
own code over memory: what is missing is the event loop, the sockets, and waiting. A figure is the least of
several rounds: what else runs on the machine only adds to it.
"""

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import bson
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from bson.codec_options import CodecOptions, TypeRegistry
from rich.console import Console

from bench import generator
from bench.generator import TOPICS
from bench.report import Result, begin
from snacks.actors.checkpoint import BATCH_BYTES
from snacks.actors.orders import Entry, Orders, aggregates, checkpoints, read
from snacks.actors.shard import CYCLE_RECORDS
from snacks.app import collect_rarely
from snacks.documents import DecimalCodec, Emission, _operation

STAGES = {
    "read: the fetched bytes to records": "read",
    "decode: a record to a row change": "decode",
    "fold: an order's changes, and what the world sees of it": "fold",
    "document: BSON for MongoDB": "document",
    "checkpoint: the state as JSON": "checkpoint",
    "aggregate: the order as JSON, with headers": "aggregate",
    "batch: records to bytes, with snappy": "batch",
}
PARTITIONS = 6
OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(type_registry=TypeRegistry([DecimalCodec()]))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--orders", type=int, default=8_000)
    parser.add_argument("--form", choices=("flat", "schemas", "both"), default="both")


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    result = begin("budget", "Budget of a record", {"time": "µs a record", "share": "%"}, "time")
    collect_rarely()
    for form in ("flat", "schemas") if chosen.form == "both" else (chosen.form,):
        fetched = list(_fetched(chosen.orders, form))
        best: dict[str, float] = {}
        published = records = 0
        for _ in range(max(3, chosen.runs)):
            spent, records, published = await _round(fetched)
            best = {stage: min(spent[stage], best.get(stage, spent[stage])) for stage in STAGES.values()}
        total = sum(best.values())
        for name, stage in STAGES.items():
            result.add(f"{form}, {name}", time=1e6 * best[stage] / records, share=100 * best[stage] / total)
        result.add(f"{form}, all", time=1e6 * total / records, share=100)
        per_order = published / chosen.orders
        note = f"{form}: {per_order:.2f} documents an order; {records / total:,.0f} records/s of CPU"
        console.print(note)
        result.notes.append(note)
    return result


def _fetched(orders: int, form: generator.Form) -> Iterable[tuple[TopicPartition, bytes]]:
    """What a fetch of each partition would bring, as the broker keeps it: in batches, not compressed."""
    encode = generator.Encoder(form)
    batches: dict[TopicPartition, list[BatchBuilder]] = defaultdict(list)
    for table, row, at in generator.rows(orders):
        key, value = encode(table, row, at)
        source = TopicPartition(TOPICS[table], generator.partition_of(row["order_id"], PARTITIONS))
        mine = batches[source]
        if not mine or mine[-1].append(timestamp=at, key=key, value=value) is None:
            mine.append(BatchBuilder(generator.BATCH_BYTES, 0))
            mine[-1].append(timestamp=at, key=key, value=value)
    for source, mine in batches.items():
        offset, data = 0, b""
        for batch in mine:
            batch.close()
            encoded = bytearray(batch._build())  # noqa: SLF001  (what the sender calls)
            encoded[:8] = offset.to_bytes(8, "big")  # the broker gives the first offset
            data += encoded
            offset += batch.record_count()
        yield source, data


async def _round(fetched: Iterable[tuple[TopicPartition, bytes]]) -> tuple[dict[str, float], int, int]:
    """Processor seconds of each stage, how many records there were, and how many orders were published."""
    spent = dict.fromkeys(STAGES.values(), 0.0)
    inbox: dict[int, list[ConsumerRecord]] = defaultdict(list)
    clock = time.process_time()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.process_time()
        spent[stage] += now - clock
        clock = now

    for source, data in fetched:
        unpacked = PartitionRecords(source, MemoryRecords(data), None, 0, None, None, True, READ_COMMITTED)
        inbox[source.partition] += list(unpacked)
    lap("read")
    published = 0
    for partition, records in inbox.items():
        records.sort(key=lambda record: record.timestamp)  # as they would come if all topics were read evenly
        orders = Orders(partition, lambda *_: None)
        offsets: dict[str, int] = {}
        for start in range(0, len(records), CYCLE_RECORDS):
            clock = time.process_time()
            batch = read(records[start : start + CYCLE_RECORDS], offsets)
            offsets = batch.offsets
            lap("decode")
            outcomes = await orders.fold(batch)
            lap("fold")
            for order_id, outcome in outcomes.items():
                if outcome.order is not None:
                    emission = Emission(order_id, outcome.state.revision, outcome.order)
                    bson.encode(_operation(emission, exists=False)._doc, codec_options=OPTIONS)  # noqa: SLF001
            lap("document")
            states = checkpoints(outcomes)
            lap("checkpoint")
            made = aggregates(outcomes, batch, stored=0)
            lap("aggregate")
            _build(states)
            _build(made)
            lap("batch")
            orders.settle(states)
            published += len(made)
            await asyncio.sleep(0)
    return spent, sum(map(len, inbox.values())), published


def _build(entries: Iterable[Entry]) -> None:
    batch = BatchBuilder(BATCH_BYTES, 2)
    for key, value, headers in entries:
        if batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
            batch.close()
            batch._build()  # noqa: SLF001
            batch = BatchBuilder(BATCH_BYTES, 2)
    batch.close()
    batch._build()  # noqa: SLF001
