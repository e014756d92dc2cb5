"""What makes a shard's cycle durable: one transactional producer, one checkpoint partition.

The checkpoint topic is compacted: key the order id, value the order's state as JSON. The record `@shard`
holds the next offset of each source partition, `@read` what the record before it is known by. They, not the
consumer group, are the authority on where to read on: a frozen former owner can move the group's offsets
(aiokafka sends them without its generation), but cannot touch a fenced checkpoint.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from snacks.actors.closing import close_producer, ended
from snacks.actors.orders import Entry
from snacks.actors.sources import remade
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS, DEAD_LETTERS
from snacks.config import Settings

log = structlog.get_logger(__name__)

SHARD_KEY, READ_KEY = "@shard", "@read"
BATCH_BYTES = 256 * 1024
LARGEST_REQUEST = 8 * 1024 * 1024
STOP_TIMEOUT = 2.0
PATIENCE, LONGEST_TRANSACTION = 12, 900.0
"""How many times the commit's time-out a transaction may take, and the seconds that brokers allow unless told
otherwise. It is for slow brokers: what a dead owner left open, the next one's fence aborts at once."""

_offsets = msgspec.json.Decoder(dict[str, int])
_marks = msgspec.json.Decoder(dict[str, str])


class Restored(msgspec.Struct):
    """What the checkpoint holds: encoded states by order id, and the next offset of each source topic.

    `marks`: what the last record that was folded of each topic is known by.
    """

    states: dict[str, bytes]
    offsets: dict[str, int]
    marks: dict[str, str] = {}


class Checkpoint:
    """The transactional log of one shard. Fence, restore, then commit; close it in every case."""

    def __init__(
        self, settings: Settings, partition: int, *, step: Callable[[], None] = lambda: None
    ) -> None:
        """`step` is called whenever a commit has got on."""
        self.partition = partition
        self._settings = settings
        self._step = step
        self._longest = min(settings.commit_timeout * PATIENCE, LONGEST_TRANSACTION)
        self._producer: AIOKafkaProducer | None = None

    async def fence(self) -> None:
        """Start the producer: from here on no former owner of this shard can commit.

        `init_transactions` raises the epoch of the shard's transactional id and aborts what a former
        owner left open. Never share one transactional id between shards: it is the only fence.

        Raises:
            KafkaError, TimeoutError: the broker does not answer.
        """
        await self.close()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka,
            client_id=f"snacks-shard-{self.partition}",
            transactional_id=f"{self._settings.group_id}-{self.partition}",
            transaction_timeout_ms=int(self._longest * 1000),
            request_timeout_ms=int(self._settings.commit_timeout * 1000),
            max_batch_size=BATCH_BYTES,
            max_request_size=LARGEST_REQUEST,
            compression_type="snappy",
        )
        async with asyncio.timeout(self._settings.commit_timeout):
            await self._producer.start()

    async def restore(self, progress: Callable[[int, int], None]) -> Restored:
        """Read the checkpoint partition to the end that is seen now; `progress` gets (read, total) records.

        Compaction and transaction markers leave gaps, so the position tells the end, not a count. A source
        topic that was made anew since is said, and has no offset: it is read from its first record on.

        Raises:
            KafkaError, TimeoutError: the broker does not answer.
        """
        restored = Restored({}, {})
        source = TopicPartition(CHECKPOINTS, self.partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka,
            client_id=f"snacks-restore-{self.partition}",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=LARGEST_REQUEST,
            fetch_max_wait_ms=50,
        )
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                await consumer.start()
                consumer.assign([source])
                begin = (await consumer.beginning_offsets([source]))[source]
                end = (await consumer.end_offsets([source]))[source]
                consumer.seek(source, begin)
            position, quiet = begin, 0
            while position < end:
                records = await consumer.getmany(source, timeout_ms=500)
                for record in records.get(source, ()):
                    _apply(restored, record.key, record.value)
                reached = await consumer.position(source)
                quiet = quiet + 1 if reached == position else 0
                if quiet * 0.5 > self._settings.commit_timeout:
                    raise TimeoutError(f"restore of shard {self.partition} stands still at offset {position}")
                position = reached
                progress(position - begin, end - begin)
            for topic in await remade(consumer, self.partition, restored.offsets, restored.marks):
                log.error(
                    "a topic was made anew, it is read from its beginning: compare with MySQL",
                    topic=topic,
                    partition=self.partition,
                    next_offset=restored.offsets.pop(topic),
                )
        finally:
            await ended(consumer.stop(), STOP_TIMEOUT)
        return restored

    async def commit(
        self,
        states: Iterable[Entry],
        aggregates: Iterable[Entry],
        dead_letters: Iterable[Entry],
        offsets: Mapping[str, int],
        marks: Mapping[str, str] | None = None,
    ) -> None:
        """All of a cycle, or nothing of it: one transaction over the three topics.

        Without `marks` it is not noticed if a source topic is made anew. The time-out is for each next batch
        that the broker takes: a slow one that gets on has nearly as long as a transaction may take.

        Raises:
            ProducerFenced: another owner has taken the shard over; nothing was committed.
            KafkaError, TimeoutError: it may or may not be committed. Close, fence and restore.
        """
        if self._producer is None:
            raise RuntimeError("fence the shard before a commit")
        shard = Entry(SHARD_KEY.encode(), msgspec.json.encode(offsets))
        read = Entry(READ_KEY.encode(), msgspec.json.encode(marks or {}))
        loop, within = asyncio.get_running_loop(), self._settings.commit_timeout
        end = loop.time() + self._longest * 0.8  # before the broker ends it and calls us fenced
        async with asyncio.timeout(within) as deadline:

            def on() -> None:
                self._step()
                deadline.reschedule(min(loop.time() + within, end))

            await self._producer.begin_transaction()
            sent: list[asyncio.Future[Any]] = []
            sent += await self._send(AGGREGATES, aggregates, on)
            sent += await self._send(DEAD_LETTERS, dead_letters, on)
            sent += await self._send(CHECKPOINTS, [*states, read, shard], on)
            taken = asyncio.gather(*sent)
            taken.add_done_callback(lambda one: one.cancelled() or one.exception())  # somebody reads it
            try:
                for batch in sent:  # those of a topic are taken one after the other
                    await asyncio.wait([batch, taken], return_when=asyncio.FIRST_COMPLETED)
                    on()
                await taken
            finally:
                taken.cancel()
            await self._producer.commit_transaction()

    async def _send(
        self, topic: str, entries: Iterable[Entry], on: Callable[[], None] = lambda: None
    ) -> list[asyncio.Future[Any]]:
        """Whole batches: a record of its own costs three times as much (docs/performance.md)."""
        producer = self._producer
        assert producer is not None  # noqa: S101  (for mypy; commit() checked it)
        sent: list[asyncio.Future[Any]] = []
        batch = producer.create_batch()
        for key, value, headers in entries:
            if batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
                sent.append(await producer.send_batch(batch, topic, partition=self.partition))
                on()
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=list(headers))
        if batch.record_count():
            sent.append(await producer.send_batch(batch, topic, partition=self.partition))
        return sent

    async def close(self) -> None:
        """Drop the producer. An open transaction of it is aborted by the next fence, or times out."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer, STOP_TIMEOUT)


def _apply(restored: Restored, key: bytes, value: bytes | None) -> None:
    name = key.decode()
    if name == SHARD_KEY:
        restored.offsets = _offsets.decode(value or b"{}")
    elif name == READ_KEY:
        restored.marks = _marks.decode(value or b"{}")
    elif value is None:
        restored.states.pop(name, None)
    else:
        restored.states[name] = value
