"""The servers of a benchmark: the platform's own, with data and ports apart from the checkout's."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec.structs import replace
from pymongo import AsyncMongoClient
from rich.console import Console

from snacks import config
from snacks.cdc import topics
from snacks.config import Settings
from snacks.platform import Platform, live, running

OFFSET = 50
"""How far the ports are from the checkout's."""
ALL = ("mongod", "kafka", "database", "connect")


def settings() -> Settings:
    """The checkout's settings, with ports and data of a benchmark's own."""
    own = config.load()
    variables = {name: value for name, value in os.environ.items() if name.startswith(config.PREFIX)}
    variables |= {
        "SNACKS_PORT_OFFSET": str(own.port_offset + OFFSET),
        "SNACKS_STATE": str(own.state_dir / "bench"),
    }
    return config.load(variables)


@asynccontextmanager
async def platform(settings: Settings, console: Console, *names: str) -> AsyncIterator[Platform]:
    """The real servers of these names, with empty data; others would take part of the machine.

    Whatever an earlier suite left would be folded again beside what is measured. The broker gets memory and
    the optimizing compiler: the checkout's starts fast instead, and would hold back the rivals, who send much
    more through it than we do.
    """
    # This variable alone overrides what a command line says. Children that we start later do not get it.
    os.environ["_JAVA_OPTIONS"] = "-Xmx1g -XX:TieredStopAtLevel=4"
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    if live(settings) is None:  # else `running` says what is wrong
        shutil.rmtree(settings.state_dir / "data", ignore_errors=True)
    async with running(settings, console, names) as servers:
        del os.environ["_JAVA_OPTIONS"]
        yield servers


async def clear(settings: Settings, *, sources: bool) -> None:
    """Empty output topics, no topics of rivals, no documents; with `sources` the CDC topics are empty too."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka, request_timeout_ms=30_000)
    await admin.start()
    try:
        kept = set() if sources else set(topics.CDC_TOPICS)
        gone = [name for name in await admin.list_topics() if not name.startswith("__") and name not in kept]
        if gone:
            await admin.delete_topics(gone)
        while set(gone) & set(await admin.list_topics()):
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)  # the broker deletes a little later than it says
    finally:
        await admin.close()
    await topics.ensure(settings)


def mongo(settings: Settings) -> AsyncMongoClient[dict[str, Any]]:
    """A client of MongoDB."""
    return AsyncMongoClient(settings.mongo)


async def clear_documents(settings: Settings) -> None:
    """Drop the documents, claims with them."""
    async with mongo(settings) as client:
        await client.drop_database(settings.mongo_database)


async def make_topics(settings: Settings, names: Iterable[str]) -> None:
    """Topics that a rival does not make itself, partitioned as all others."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, settings.partitions, 1) for name in names])
    finally:
        await admin.close()


@asynccontextmanager
async def reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no group that sees committed records only."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 * 2**20,
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await consumer.stop()


def partitions(settings: Settings, topic: str) -> list[TopicPartition]:
    """All partitions of a topic."""
    return [TopicPartition(topic, number) for number in range(settings.partitions)]


def fresh(settings: Settings, group: str) -> Settings:
    """The same servers, another consumer group and so other transactional ids."""
    return replace(settings, group_id=group)
