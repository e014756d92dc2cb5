"""Repair records on their way: to which partition, and what is told when the broker is lost."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from tests.evidence import WHOLE, judged, state_of
from tests.given import item, payment, place

from snacks.config import Settings
from snacks.domain.order import encode
from snacks.repair import RepairError, comparison
from snacks.repair.comparison import _producer, _send
from snacks.repair.partition import partition_of
from snacks.repair.spool import Spool

WRONG = judged(state_of(*WHOLE), item(quantity=3), place(), payment())
"""An order that needs a repair."""

STATE = encode(state_of(*WHOLE))


class Noting:
    """A producer that notes the partitions."""

    def __init__(self) -> None:
        self.partitions: set[int] = set()

    async def send(self, *_: Any, partition: int) -> Any:
        self.partitions.add(partition)
        return asyncio.sleep(0)


@pytest.mark.parametrize(("held", "folded", "expected"), [(2, 3, 2), (None, 3, 3), (None, None, None)])
async def test_a_repair_goes_to_its_actor_else_where_the_records_lie_else_where_they_would(
    settings: Settings, tmp_path: Path, held: int | None, folded: int | None, expected: int | None
) -> None:
    assert partition_of("kit-1", settings.partitions) not in {2, 3}
    producer: Any = Noting()
    with Spool(tmp_path / "spool.db") as spool:
        if held is not None:
            spool.states({"kit-1": (held, STATE)})
        if folded is not None:
            spool.folded({"kit-1": (folded, STATE)})
        await _send(settings, producer, spool, {"kit-1": WRONG})
    computed = partition_of("kit-1", settings.partitions)
    assert producer.partitions == {computed if expected is None else expected}


class Lost(AIOKafkaProducer):  # type: ignore[misc]
    """A producer whose broker goes after it was started: it can neither send nor flush."""

    starts = True

    async def start(self) -> None:
        if not self.starts:
            raise KafkaConnectionError

    async def send(self, *_: Any, **__: Any) -> Any:
        return asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        self._closed = True
        await asyncio.Event().wait()


@pytest.mark.parametrize("starts", [True, False])
async def test_a_broker_that_is_lost_is_told_though_the_producer_never_ends(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, starts: bool
) -> None:
    monkeypatch.setattr(comparison, "AIOKafkaProducer", Lost)
    monkeypatch.setattr(comparison, "SEND_TIMEOUT", 0.02)
    monkeypatch.setattr(comparison, "STOP_TIMEOUT", 0.02)
    monkeypatch.setattr(Lost, "starts", starts)

    async def repair() -> None:
        with Spool(tmp_path / "spool.db") as spool:
            async with asyncio.timeout(5), _producer(settings) as producer:
                await _send(settings, producer, spool, {"kit-1": WRONG})

    with pytest.raises(RepairError, match="repair records cannot be written" if starts else "not answer"):
        await repair()
