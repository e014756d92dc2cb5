"""How long a shard waits before it starts over."""

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, ProducerFenced

from snacks.actors.room import Room
from snacks.actors.shard import RETRY_FIRST, RETRY_LONGEST, TAKEN_OVER, Shard
from snacks.config import Settings
from snacks.documents import Superseded


@pytest.mark.parametrize(
    ("errors", "pauses"),
    [
        ([KafkaConnectionError()] * 6, [RETRY_FIRST, 0.4, 0.8, 1.6, RETRY_LONGEST, RETRY_LONGEST]),
        ([ProducerFenced(), KafkaConnectionError()], [TAKEN_OVER, RETRY_LONGEST]),
        ([Superseded(), Superseded()], [TAKEN_OVER, TAKEN_OVER]),
    ],
    ids=["the broker is away", "fenced in Kafka", "fenced in MongoDB, twice"],
)
async def test_who_was_fenced_waits_until_the_group_must_have_told_it(
    errors: list[Exception], pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = None
    shard = Shard(Settings(), 0, nothing, nothing, elsewhere=lambda *_: None, room=Room())
    left, waited = list(errors), []

    async def opening() -> None:
        raise left.pop(0)

    async def waiting(seconds: float) -> None:
        waited.append(seconds)
        if not left:
            shard.drain()

    monkeypatch.setattr(shard, "_open", opening)
    monkeypatch.setattr(shard, "_wait", waiting)
    await shard.run()
    assert waited == pytest.approx(pauses)


async def test_a_cycle_that_was_committed_makes_the_next_pause_short_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing: Any = None
    shard = Shard(Settings(), 0, nothing, nothing, elsewhere=lambda *_: None, room=Room())
    waited: list[float] = []

    async def opening() -> None:
        if len(waited) == 2:
            shard._count(cycles=1)
        raise KafkaConnectionError

    async def waiting(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 4:
            shard.drain()

    monkeypatch.setattr(shard, "_open", opening)
    monkeypatch.setattr(shard, "_wait", waiting)
    await shard.run()
    assert waited == pytest.approx([RETRY_FIRST, 0.4, 0.8, RETRY_FIRST])
