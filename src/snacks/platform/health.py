"""Whether a server answers for real. Each check raises while it does not, and has its own time-out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncmy
import httpx
from aiokafka.admin import AIOKafkaAdminClient
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from snacks.config import Settings

CHECK_SECONDS = 5.0
NOT_INITIATED = 94
REPLICA_SET = "rs0"
_MILLISECONDS = int(CHECK_SECONDS * 1000)


class NotReadyError(Exception):
    """The server answers, but cannot do its work yet."""


def reach(settings: Settings) -> str:
    """The address by which clients on this machine, and the servers themselves, reach a server."""
    return "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host


async def _open(settings: Settings, port: int) -> None:
    """Raise at once when nobody listens: cheaper, and quieter, than a client library's own attempt."""
    _, writer = await asyncio.open_connection(reach(settings), port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def kafka(settings: Settings) -> None:
    """The broker is in its own metadata, so it is registered and unfenced."""
    async with asyncio.timeout(CHECK_SECONDS):
        await _open(settings, settings.kafka_port)
        admin = AIOKafkaAdminClient(
            bootstrap_servers=f"{reach(settings)}:{settings.kafka_port}", request_timeout_ms=_MILLISECONDS
        )
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
        finally:
            await admin.close()
        if not cluster["brokers"]:
            raise NotReadyError("the broker is not registered yet")


async def connect(settings: Settings) -> None:
    """The worker has joined its group and lists its connectors."""
    async with asyncio.timeout(CHECK_SECONDS), _http() as client:
        answer = await client.get(f"http://{reach(settings)}:{settings.connect_port}/connectors")
        answer.raise_for_status()


async def flink(settings: Settings) -> None:
    """The job manager answers."""
    async with asyncio.timeout(CHECK_SECONDS), _http() as client:
        (await client.get(f"http://{reach(settings)}:{settings.flink_port}/overview")).raise_for_status()


async def flink_tasks(settings: Settings) -> None:
    """A task manager that runs now has joined the job manager that runs now."""
    async with asyncio.timeout(CHECK_SECONDS), _http() as client:
        answer = await client.get(f"http://{reach(settings)}:{settings.flink_port}/taskmanagers")
        answer.raise_for_status()
        for joined in answer.json()["taskmanagers"]:  # one that died is still listed for seconds
            with contextlib.suppress(OSError):
                return await _open(settings, urlsplit(joined["path"]).port)
        raise NotReadyError("the task manager has not joined yet")


async def flink_sql(settings: Settings) -> None:
    """The SQL gateway answers."""
    async with asyncio.timeout(CHECK_SECONDS), _http() as client:
        (await client.get(f"http://{reach(settings)}:{settings.flink_sql_port}/info")).raise_for_status()


def _http() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=False, trust_env=False)  # noqa: S501  (plain HTTP: spare loading CAs)


async def database(settings: Settings) -> None:
    """`SELECT 1` as the app's user, in the app's database."""
    async with asyncio.timeout(CHECK_SECONDS):
        connection = await asyncmy.connect(
            host=reach(settings),
            port=settings.mysql_port,
            user="snacks",
            password="snacks",  # noqa: S106  (made by conf/*-init.sql)
            db="order-command-db",
        )
        try:
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT 1")
                await cursor.fetchone()
        finally:
            await connection.ensure_closed()


async def end_binlog_readers(settings: Settings) -> None:
    """Cut off whoever still reads the binary log: a server that stops waits 8 s for a reader that is gone."""
    async with asyncio.timeout(CHECK_SECONDS):
        connection = await asyncmy.connect(host=reach(settings), port=settings.mysql_port, user="root")
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(
                    "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"
                )
                for (thread,) in await cursor.fetchall():
                    await cursor.execute("KILL %s", (thread,))
        finally:
            await connection.ensure_closed()


async def mongo(settings: Settings) -> None:
    """The one member is primary; initiates the replica set, or tells it its new port."""
    me = f"{reach(settings)}:{settings.mongo_port}"
    async with asyncio.timeout(CHECK_SECONDS):
        await _open(settings, settings.mongo_port)
        async with _mongo_client(settings) as client:
            hello = await client.admin.command("hello")
            if hello.get("isWritablePrimary") and hello.get("me") == me:
                return
            member = {"_id": 0, "host": me}
            try:
                config = (await client.admin.command("replSetGetConfig"))["config"]
            except OperationFailure as error:
                if error.code != NOT_INITIATED:
                    raise
                await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
            else:
                if config["members"][0]["host"] != me:  # the port was moved since the last run
                    config["version"] += 1
                    config["members"][0]["host"] = me
                    await client.admin.command("replSetReconfig", config, force=True)
            raise NotReadyError("no primary yet")


@contextlib.asynccontextmanager
async def _mongo_client(settings: Settings) -> AsyncIterator[AsyncMongoClient[dict[str, object]]]:
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(
        reach(settings), settings.mongo_port, directConnection=True, serverSelectionTimeoutMS=_MILLISECONDS
    )
    try:
        yield client
    finally:
        await client.close()
