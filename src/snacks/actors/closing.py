"""What is thrown away is closed whole and in time, whatever hangs or fails in it."""

import asyncio
from collections.abc import Awaitable
from itertools import chain

from aiokafka import AIOKafkaProducer


async def ended(work: Awaitable[None], within: float) -> bool:
    """True if it ended well and in time. One that cannot even be cancelled is left behind.

    aiokafka raises there what its own tasks died of: that is not told, for what comes next matters more.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=within)
    finally:
        task.cancel()
    return bool(done) and not task.cancelled() and task.exception() is None


async def close_producer(producer: AIOKafkaProducer, within: float) -> None:
    """Close all of a producer in about `within` seconds; what it has not sent by then is lost.

    aiokafka first waits until everything is sent, without a broker for ever, and only then ends its tasks and
    connections; nor does it go on if one of these steps fails. So each is done here.
    """
    if await ended(producer.stop(), within):
        return
    unsent = producer._message_accumulator  # noqa: SLF001  (there is no public way to give up)
    batches = [*chain(*unsent._batches.values(), unsent._pending_batches)]  # noqa: SLF001
    unsent._pending_batches.update(batches)  # noqa: SLF001  (their callbacks take them off there)
    for batch in batches:
        batch.future.cancel()
    for close in (producer._sender.close, producer.client.close):  # noqa: SLF001
        await ended(close(), within)
