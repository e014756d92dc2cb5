"""The event loop under every command that talks to servers: uvloop, ended by Ctrl-C and SIGTERM."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C and SIGTERM cancel it, so that everything it owns is closed."""

    async def cancellable() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (for mypy; this is one)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    AIOKafkaConnection.send = _send
    return uvloop.run(cancellable())


_plain_send = AIOKafkaConnection.send


def _send(connection: AIOKafkaConnection, request: Any, expect_response: Any = True) -> Any:  # noqa: FBT002  (aiokafka's)
    """Say in aiokafka's words that a connection is closed: uvloop says RuntimeError, asyncio nothing.

    aiokafka's own tasks are not prepared for that. The one that fetches metadata ended for good, and a
    client that then wants to know where a topic begins waits for ever.
    """
    try:
        return _plain_send(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port}: {error}") from error
