"""Room for large cycles: what bounds the memory of a process whose shards all have a backlog."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LARGE_CYCLE, LARGE_AT_ONCE = 2_000, 2
"""From so many records on a cycle needs memory that counts. Two of them at once, so that one folds while the
other writes: with all six a drain left 380 MB, with two 285, in the same time."""


class Room:
    """Shared by the shards of a process."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self.queue: set[int] = set()
        """The shards that wait for others: they have work, and are not stuck."""

    @asynccontextmanager
    async def for_cycle(self, shard: int, records: int) -> AsyncIterator[None]:
        """Wait until there is room for a cycle of so many records, and keep it until the end."""
        if records < LARGE_CYCLE:
            yield
            return
        self.queue.add(shard)
        try:
            await self._large.acquire()
        finally:
            self.queue.discard(shard)
        try:
            yield
        finally:
            self._large.release()
