"""aiokafka on uvloop: what a connection that was closed under it does."""

import asyncio
from contextlib import suppress

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from snacks import loop


async def answer_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        await reader.read()
    writer.close()


async def closed_under_it() -> AIOKafkaConnection:
    """As a reset leaves a connection for a moment: closed, and aiokafka has not been told."""
    async with await asyncio.start_server(answer_nothing, "127.0.0.1") as server:
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
    writer.transport.abort()
    with suppress(RuntimeError):
        while True:
            writer.write(b"")
            await asyncio.sleep(0)
    connection = AIOKafkaConnection(host, port)
    connection._reader, connection._writer = asyncio.StreamReader(), writer
    connection._read_task = asyncio.create_task(reader.read())
    connection._versions = {MetadataRequest.API_KEY: (0, 12)}
    return connection


def test_a_request_over_a_closed_connection_fails_as_aiokafka_expects_it() -> None:
    async def ask() -> None:
        connection = await closed_under_it()
        assert connection.connected()
        try:
            await connection.send(MetadataRequest([]))
        finally:
            assert not connection.connected()

    with pytest.raises(KafkaConnectionError, match="closed"):
        loop.run(ask())


def test_uvloop_alone_says_something_else() -> None:
    """Should this fail, uvloop or aiokafka has learnt it, and `loop._send` may go."""

    async def ask() -> None:
        connection = await closed_under_it()
        try:
            await loop._plain_send(connection, MetadataRequest([]))
        finally:
            connection.close()

    with pytest.raises(RuntimeError, match="closed"):
        uvloop.run(ask())
