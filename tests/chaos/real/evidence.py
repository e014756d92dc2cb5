"""What the checkers read, past the proxies: tables, topics, documents, and what the processes use."""

import asyncio
import json
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import psutil
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pymongo import AsyncMongoClient
from tests import oracle
from tests.chaos.real.world import Member, Place

from snacks.config import Settings
from snacks.repair.stored import Stored

WAIT = 120.0


async def tables(settings: Settings) -> oracle.Tables:
    host, port = settings.mysql
    async with asyncio.timeout(WAIT):
        return await oracle.rows(
            host, port, settings.mysql_user, settings.mysql_password, settings.mysql_database
        )


async def documents(settings: Settings) -> dict[str, bytes]:
    """BSON by order id."""
    async with asyncio.timeout(WAIT), Stored(settings) as stored:
        return await stored.between("", None)


async def epochs(settings: Settings) -> dict[int, int]:
    """By shard, how often an owner has claimed its documents."""
    async with asyncio.timeout(WAIT), AsyncMongoClient[dict[str, Any]](settings.mongo) as client:
        claims = client[settings.mongo_database]["snacksClaims"]
        return {one["_id"]: one["epoch"] async for one in claims.find()}


async def records(settings: Settings, topics: Sequence[str]) -> list[ConsumerRecord]:
    """All committed records, one topic after the other: not the order in which the actors read them."""
    sources = [TopicPartition(topic, number) for topic in topics for number in range(settings.partitions)]
    # To the very end, not to that of the last stable offset: a commit is acknowledged before it shows.
    async with asyncio.timeout(WAIT), AIOKafkaConsumer(bootstrap_servers=settings.kafka) as anybody:
        ends = await anybody.end_offsets(sources)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, isolation_level="read_committed", enable_auto_commit=False
    )
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(WAIT):
        await consumer.start()
        try:
            for source in sources:
                consumer.assign([source])
                await consumer.seek_to_beginning(source)
                while await consumer.position(source) < ends[source]:
                    found += (await consumer.getmany(source, timeout_ms=500)).get(source, ())
        finally:
            await consumer.stop()
    return found


def place(record: ConsumerRecord) -> Place:
    """Where a record is, or was."""
    return record.topic, record.partition, record.offset


def newest(found: Sequence[ConsumerRecord]) -> dict[str, tuple[int, bytes | None]]:
    """By key the last revision and value."""
    return {
        record.key.decode(): (int(dict(record.headers).get("revision", b"0")), record.value)
        for record in found
    }


def offsets(shard: bytes | None) -> dict[str, int]:
    """The next source offsets by topic, from a shard's record in the checkpoints."""
    return msgspec.json.decode(shard or b"{}", type=dict[str, int])


def logged(log: str, event: str) -> list[dict[str, Any]]:
    """The lines of a process's log that tell this event; a line that is not whole yet is none."""
    lines = [line for line in log.splitlines() if f'"event": "{event}"' in line and line.endswith("}")]
    return [json.loads(line) for line in lines]


async def resources(member: Member) -> dict[str, int]:
    """Memory in MB, open descriptors and asyncio tasks of a process."""
    member.tasks_file.unlink(missing_ok=True)
    process = psutil.Process(member.pid)
    process.send_signal(signal.SIGUSR1)
    tasks = -1
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not member.tasks_file.exists():
                await asyncio.sleep(0.05)
            pid, count = member.tasks_file.read_text("utf-8").split()
            tasks = int(count) if int(pid) == member.pid else -1
    held = {"memory_mb": process.memory_info().rss // 2**20, "descriptors": process.num_fds()}
    return held | {"tasks": tasks}
