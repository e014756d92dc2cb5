"""Large cycles take turns; small ones, and cycles that fail, are in nobody's way."""

import asyncio
from contextlib import suppress

import pytest

from snacks.actors.room import LARGE_AT_ONCE, LARGE_CYCLE, Room


class Cycle:
    """A cycle of so many records, which runs until it is told how to end."""

    def __init__(self, room: Room, shard: int, records: int = LARGE_CYCLE) -> None:
        self.runs = False
        self.end = asyncio.Event()
        self._fails = False
        self.task = asyncio.create_task(self._run(room, shard, records))

    async def _run(self, room: Room, shard: int, records: int) -> None:
        async with room.for_cycle(shard, records):
            self.runs = True
            await self.end.wait()
            if self._fails:
                raise RuntimeError

    async def over(self, *, badly: bool = False) -> None:
        self._fails = badly
        self.end.set()
        with suppress(RuntimeError):
            await self.task


async def steps() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("badly", [False, True])
async def test_so_many_large_cycles_run_at_once_and_the_next_waits_for_one_to_end(*, badly: bool) -> None:
    room = Room()
    cycles = [Cycle(room, shard) for shard in range(LARGE_AT_ONCE + 2)]
    await steps()
    assert [cycle.runs for cycle in cycles] == [True] * LARGE_AT_ONCE + [False, False]
    assert room.queue == {LARGE_AT_ONCE, LARGE_AT_ONCE + 1}
    await cycles[0].over(badly=badly)
    await steps()
    assert [cycle.runs for cycle in cycles] == [True] * (LARGE_AT_ONCE + 1) + [False]
    assert room.queue == {LARGE_AT_ONCE + 1}
    for cycle in cycles:
        await cycle.over()
    assert room.queue == set()


async def test_a_small_cycle_waits_for_nobody() -> None:
    room = Room()
    large = [Cycle(room, shard) for shard in range(LARGE_AT_ONCE)]
    small = Cycle(room, 9, LARGE_CYCLE - 1)
    await steps()
    assert small.runs
    for cycle in (small, *large):
        await cycle.over()


async def test_one_that_is_cancelled_while_it_waits_leaves_the_queue_and_takes_no_room() -> None:
    room = Room()
    cycles = [Cycle(room, shard) for shard in range(LARGE_AT_ONCE + 2)]
    await steps()
    cycles[-2].task.cancel()
    await asyncio.wait([cycles[-2].task])
    assert room.queue == {LARGE_AT_ONCE + 1}
    await cycles[0].over()
    await steps()
    assert cycles[-1].runs
    for cycle in cycles[1:-2] + cycles[-1:]:
        await cycle.over()
