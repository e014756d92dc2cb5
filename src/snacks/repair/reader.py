"""Reads topics into the spool, to the ends they have when asked, and further when asked again."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from snacks.actors.checkpoint import READ_KEY, SHARD_KEY
from snacks.cdc.topics import AGGREGATES, CDC_TOPICS, CHECKPOINTS
from snacks.config import Settings
from snacks.repair.errors import RepairError
from snacks.repair.spool import Spool

REQUEST_TIMEOUT = 30.0
STANDSTILL = 60.0
"""Seconds without a record, or without an actor that gets on, after which nobody waits any longer."""
POLL = 0.1
BATCH = 2_000
LARGEST_RECORD = 8 * 1024 * 1024

Progress = Callable[[int, int], None]
Apply = Callable[[Spool, Sequence[ConsumerRecord]], None]
_offsets = msgspec.json.Decoder(dict[str, int])


class Reader:
    """Keeps one part of the spool as the topics say. Use as `async with Reader(...)`.

    `apply` writes records, of one partition and in their order, to the spool; it is saved with the place
    in the topic, so that nothing is applied twice or left out, whenever it is stopped.
    """

    def __init__(self, settings: Settings, spool: Spool, topics: Sequence[str], apply: Apply) -> None:
        self._settings = settings
        self._spool = spool
        self._apply = apply
        self._sources = _partitions(settings, topics)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            client_id="snacks-repair",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=LARGEST_RECORD,
            fetch_max_bytes=LARGEST_RECORD,
            fetch_max_wait_ms=50,
        )
        self.begins: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await self._consumer.start()
                self._consumer.assign(self._sources)
                self.begins = await self._consumer.beginning_offsets(self._sources)
                ends = await self._consumer.end_offsets(self._sources)
        except (KafkaError, TimeoutError, OSError) as error:
            await self.__aexit__()
            raise RepairError(f"the broker {self._settings.kafka} does not answer: {error!r}") from error
        offsets = self._spool.offsets()
        for source in self._sources:
            offset = offsets.get((source.topic, source.partition), self.begins[source])
            if not self.begins[source] <= offset <= ends[source]:
                await self.__aexit__()
                raise RepairError(
                    f"{source.topic} is not the topic that was read before: begin anew (--fresh)"
                )
            self._consumer.seek(source, offset)
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await self._consumer.stop()

    async def spans(
        self, sources: Sequence[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """The first offset that each partition has now, and the next one that it will give; of any topics.

        Raises:
            RepairError: the broker does not answer.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                begins = dict(await self._consumer.beginning_offsets(sources))
                return begins, dict(await self._consumer.end_offsets(sources))
        except (KafkaError, TimeoutError) as error:
            raise RepairError(f"the broker {self._settings.kafka} does not answer: {error!r}") from error

    async def catch_up(self, progress: Progress = lambda _read, _total: None) -> None:
        """Read to the ends that are seen now; `progress` gets (read, total) offsets.

        Raises:
            RepairError: the broker does not answer, or a topic stands still before its end.
        """
        _, ends = await self.spans(self._sources)
        clock = asyncio.get_running_loop().time
        reached = {source: await self._consumer.position(source) for source in self._sources}
        begun, total = sum(reached.values()), sum(ends.values())
        moved = clock()
        while behind := [source for source in self._sources if reached[source] < ends[source]]:
            try:
                batches = await self._consumer.getmany(*behind, timeout_ms=200, max_records=BATCH)
            except KafkaError as error:
                raise RepairError(f"the topics cannot be read: {error!r}") from error
            for records in batches.values():
                self._apply(self._spool, records)
            before = dict(reached)
            for source in behind:
                # Compaction and transaction markers leave gaps: the position tells the end, not a count.
                reached[source] = await self._consumer.position(source)
            self._spool.read_to({(source.topic, source.partition): reached[source] for source in behind})
            self._spool.save()
            if reached != before:
                moved = clock()
            elif clock() - moved > STANDSTILL:
                raise RepairError(f"{behind[0].topic} stands still at offset {reached[behind[0]]}")
            progress(sum(reached.values()) - begun, total - begun)


def _partitions(settings: Settings, topics: Sequence[str]) -> list[TopicPartition]:
    return [TopicPartition(topic, n) for topic in topics for n in range(settings.partitions)]


def mirror(spool: Spool, records: Sequence[ConsumerRecord]) -> None:
    """Apply records of the checkpoint and aggregate topics. One whose key is no text is no order's."""
    topic, partition = records[0].topic, records[0].partition
    last: dict[str, tuple[int, bytes | None]] = {}
    for record in records:
        with suppress(AttributeError, UnicodeDecodeError):
            last[record.key.decode()] = partition, record.value
    if topic == AGGREGATES:
        spool.aggregates(last)
        return
    last.pop(READ_KEY, None)
    shard = last.pop(SHARD_KEY, None)
    if shard is not None:
        spool.remember(f"shard {partition}", (shard[1] or b"{}").decode())
    spool.states(last)


class Actors:
    """The actors as their topics tell of them: states, aggregates, and how far they have folded."""

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self._spool = spool
        self._settings = settings
        self._reader = Reader(settings, spool, [CHECKPOINTS, AGGREGATES], mirror)
        # Asked for their ends, never assigned: a client fetches ahead of whatever it is assigned to.
        self._sources = _partitions(settings, CDC_TOPICS)

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.__aexit__()

    async def catch_up(self, progress: Progress = lambda _read, _total: None) -> None:
        """Bring the spool up to what the topics say now."""
        await self._reader.catch_up(progress)

    def folded(self) -> dict[TopicPartition, int]:
        """The next offset of each CDC partition that the actors have not committed, as far as it was read."""
        return {
            TopicPartition(topic, partition): offset
            for partition in range(self._settings.partitions)
            for topic, offset in _offsets.decode(self._spool.fact(f"shard {partition}") or "{}").items()
        }

    async def settled(self) -> None:
        """Wait until the actors have folded every CDC record that is there now, and the spool has it.

        Raises:
            RepairError: they do not get on.
        """
        begins, ends = await self._reader.spans(self._sources)
        clock = asyncio.get_running_loop().time
        moved, before = clock(), dict[TopicPartition, int]()
        while True:
            await self.catch_up()
            folded = self.folded()
            # What a partition has lost is waited for in vain: its shard reads on from what is left.
            behind = [one for one, end in ends.items() if max(folded.get(one, 0), begins[one]) < end]
            if not behind:
                return
            if folded != before:
                moved, before = clock(), folded
            elif clock() - moved > STANDSTILL:
                raise RepairError(
                    f"the actors of partition {behind[0].partition} have not folded a record for "
                    f"{STANDSTILL:g} s: is the app running and ready (./snacks serve, /health/ready)?"
                )
            await asyncio.sleep(POLL)
