"""How repair reads topics: what it asks the broker for."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from snacks.cdc import CDC_TOPICS
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS
from snacks.config import Settings
from snacks.repair import reader
from snacks.repair.reader import Actors
from snacks.repair.spool import Spool


class Consumer:
    """One of empty topics, that remembers which it was assigned, and whose offsets it was asked for."""

    def __init__(self) -> None:
        self.assigned: set[str] = set()
        self.asked: set[str] = set()

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def assign(self, sources: Sequence[TopicPartition]) -> None:
        self.assigned.update(source.topic for source in sources)

    def seek(self, source: TopicPartition, offset: int) -> None:
        pass

    async def position(self, _: TopicPartition) -> int:
        return 0

    async def beginning_offsets(self, sources: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.asked.update(source.topic for source in sources)
        return dict.fromkeys(sources, 0)

    end_offsets = beginning_offsets


async def test_the_topics_whose_ends_are_only_asked_for_are_not_fetched(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumers: list[Consumer] = []

    def make(**_: Any) -> Consumer:
        consumers.append(Consumer())
        return consumers[-1]

    monkeypatch.setattr(reader, "AIOKafkaConsumer", make)
    with Spool(tmp_path / "spool.db") as spool:
        async with Actors(settings, spool) as actors:
            await actors.settled()
    assert set[str]().union(*(one.asked for one in consumers)) >= set(CDC_TOPICS)
    assert set[str]().union(*(one.assigned for one in consumers)) == {CHECKPOINTS, AGGREGATES}
