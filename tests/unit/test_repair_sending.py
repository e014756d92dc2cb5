"""Repair records on their way: what is told when the broker is lost."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from tests.evidence import WHOLE, judged, state_of
from tests.given import item, payment, place

from snacks.config import Settings
from snacks.repair import RepairError, comparison
from snacks.repair.comparison import _producer, _send
from snacks.repair.spool import Spool

WRONG = judged(state_of(*WHOLE), item(quantity=3), place(), payment())
"""An order that needs a repair."""


class Lost:
    """A producer whose broker goes after it was started: it can neither send nor flush."""

    starts = True

    def __init__(self, **_: Any) -> None:
        pass

    async def start(self) -> None:
        if not self.starts:
            raise KafkaConnectionError

    async def send(self, *_: Any, **__: Any) -> Any:
        return asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
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
