"""What is thrown away is closed whole and in time, whatever hangs in it."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from itertools import chain

from aiokafka import AIOKafkaProducer


async def ended(work: Awaitable[None], within: float) -> bool:
    """True if it ended in time, well or badly. One that cannot even be cancelled is left behind.

    However badly: aiokafka raises there what its own tasks died of, and what comes next matters more.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=within)
    finally:
        task.cancel()
    if done:
        with suppress(Exception):
            task.result()
    return bool(done)


async def close_producer(producer: AIOKafkaProducer, within: float) -> None:
    """Close all of a producer in about `within` seconds; what it has not sent by then is lost.

    aiokafka first waits until everything is sent, without a broker for ever, and only then ends its tasks and
    connections. So each is ended here.
    """
    if await ended(producer.stop(), within):
        return
    unsent = producer._message_accumulator  # noqa: SLF001  (there is no public way to give up)
    for batch in chain(*unsent._batches.values(), unsent._pending_batches):  # noqa: SLF001
        batch.future.cancel()
    for closing in (producer._sender.close(), producer.client.close()):  # noqa: SLF001
        await ended(closing, within)
