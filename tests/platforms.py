"""The platform without Docker, for tests that start and break it: on free ports, in a folder of its own."""

import asyncio
import os
import random
import socket
from pathlib import Path
from typing import Any

import asyncmy
import httpx
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import AsyncMongoClient
from rich.console import Console

from snacks import config
from snacks.config import Settings

QUIET = Console(quiet=True)
NAMES = ["mongod", "kafka", "database", "connect"]


def place(folder: Path, **more: str) -> Settings:
    """Settings of a checkout of its own, on ports that are free, and below those of outgoing connections."""
    given = {f"SNACKS_{name.upper()}": value for name, value in more.items()}
    given |= {"SNACKS_STATE": str(folder), "SNACKS_CACHE": os.environ.get("SNACKS_CACHE", "")}
    while True:
        first = random.randrange(20_000, 29_990)
        numbers = {f"SNACKS_{name.upper()}": str(first + i) for i, name in enumerate(config.PORTS)}
        settings = config.load(given | numbers)
        if not any(taken(getattr(settings, name)) for name in config.PORTS):
            return settings


def free_port() -> int:
    """To listen on again and again: no outgoing connection gets it meanwhile."""
    while taken(port := random.randrange(20_000, 29_990)):
        pass
    return port


def taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def sql(settings: Settings, *statements: str) -> list[Any]:
    connection = await asyncmy.connect(
        host="127.0.0.1",
        port=settings.mysql_port,
        user="snacks",
        password="snacks",
        db="order-command-db",
        autocommit=True,
    )
    try:
        async with connection.cursor() as cursor:
            for statement in statements:
                await cursor.execute(statement)
            return list(await cursor.fetchall())
    finally:
        await connection.ensure_closed()


async def make_topic(settings: Settings, name: str, partitions: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()


def documents(settings: Settings) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(settings.mongo, serverSelectionTimeoutMS=10_000)


async def capture_a_row(settings: Settings, connector: str) -> None:
    topic = "test.order-command-db.captured"
    await sql(settings, "CREATE TABLE captured (id INT PRIMARY KEY)", "INSERT INTO captured VALUES (7)")
    await make_topic(settings, topic)
    configuration = {
        "connector.class": connector,
        "database.hostname": "127.0.0.1",
        "database.port": str(settings.mysql_port),
        "database.user": "${env:SNACKS_CDC_USER}",
        "database.password": "${env:SNACKS_CDC_PASSWORD}",
        "database.server.id": "4711",
        "topic.prefix": "test",
        "database.include.list": "order-command-db",
        "table.include.list": "order-command-db.captured",
        "schema.history.internal.kafka.bootstrap.servers": settings.kafka,
        "schema.history.internal.kafka.topic": "test.history",
        "include.schema.changes": "false",
    }
    if "mysql" in connector:
        configuration["driver.allowPublicKeyRetrieval"] = "true"
    async with httpx.AsyncClient(base_url=settings.connect, timeout=30, trust_env=False) as client:
        (await client.put("/connectors/test/config", json=configuration)).raise_for_status()
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            record = await asyncio.wait_for(consumer.getone(), 60)
        finally:
            await consumer.stop()
        assert b'"id":7' in record.value
        assert "dbz" not in (await client.get("/connectors/test")).text
        (await client.delete("/connectors/test")).raise_for_status()
