"""Tails the aggregate topic: from its beginning, committed records only, over every gap and every restart.

No consumer group: each process reads all partitions for itself. When the broker is lost the consumer is
thrown away and built anew from where the last one got to, and subscribers are told meanwhile.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from snacks.config import Settings
from snacks.domain.cards import mask_card, mask_cards
from snacks.domain.order import decode_order, encode
from snacks.domain.values import OrderStatus
from snacks.feed.cursor import decode_cursor
from snacks.feed.present import Change, Present
from snacks.feed.subscription import Subscription, subscribe

log = structlog.get_logger(__name__)
T = TypeVar("T")

RECORDS_AT_ONCE = 500
POLL_SECONDS = 0.5
ASK_EVERY = 2.0
ANSWER_WITHIN = 5.0
"""Seconds between two questions to the broker whether it is there, and how long it may think about one."""
STANDSTILL = 10.0
"""Seconds without a record while there are some: the consumer is stuck, a new one is not."""
CATCH_UP_WITHIN = 2.0
RETRY_FIRST, RETRY_LONGEST = 0.2, 5.0
LARGEST_FETCH = 8 * 1024 * 1024
STOP_WITHIN = 2.0
HOPS = ("changed", "captured", "stored")


class Behind(Exception):  # noqa: N818  (a state, named like one)
    """The feed does not know what the subscriber needs to know yet: come again; the message says why."""


class Full(Exception):  # noqa: N818  (a state, named like one)
    """As many subscribers as one process takes; another one may have room."""


class Closed(Exception):  # noqa: N818  (a state, named like one)
    """The process is shutting down."""


class _MadeAnew(Exception):  # noqa: N818  (a state, named like one)
    """The topic was deleted and made again."""


class FeedStatus(msgspec.Struct, frozen=True):
    """Of one process. `problem`: why it is not live, or empty; `orders` it holds, `subscribers` it has."""

    problem: str
    orders: int
    subscribers: int


class Feed:
    """The newest state of all orders in this process. `run` keeps it so until it is cancelled."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.present = Present(settings.partitions, settings.stream_finished)
        self.skipped = 0
        self._settings = settings
        self._sources = [TopicPartition(topic, number) for number in range(settings.partitions)]
        self._room = settings.stream_connections
        self._was_live = False
        self._closed = False

    @property
    def problem(self) -> str:
        """Why the feed is not live; empty if it is."""
        return "" if self.present.live else self.present.reason

    def status(self) -> FeedStatus:
        """How it gets on, and how much it holds for how many."""
        return FeedStatus(self.problem, len(self.present.orders), len(self.present))

    async def subscribe(self, order_id: str | None, status: OrderStatus | None, cursor: str) -> Subscription:
        """A reader; see `feed.subscription.subscribe`. Close it in every case.

        Raises:
            Behind: the orders have not been read yet, or the cursor's reader has seen more than this process.
            Full: too many subscribers.
            Closed: the process is shutting down.
        """
        seen = decode_cursor(cursor)
        if seen is not None and len(seen.offsets) == len(self._sources):
            deadline = time.monotonic() + CATCH_UP_WITHIN
            # The reader saw them on another process, which was a moment ahead of this one.
            while self._was_live and not self.present.reached(seen) and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            if not self.present.live and not self.present.reached(seen):
                raise Behind(self.present.reason)  # an older state now would be a step back
        if self._closed:
            raise Closed("the process is shutting down")
        if not self._was_live:
            raise Behind(self.present.reason)
        if len(self.present) >= self._room:
            raise Full(f"there are {self._room} subscribers already")
        return subscribe(self.present, order_id, status, cursor, int(time.time() * 1000))

    def close(self) -> None:
        """End every subscription and take no new one: the process is shutting down."""
        self._closed = True
        self.present.end()

    async def run(self) -> None:
        """Read until cancelled; whatever happens to the broker."""
        pause = RETRY_FIRST
        while True:
            try:
                await self._tail()
            except _MadeAnew:
                log.warning("the aggregate topic was made anew: the feed begins again")
                self._lose("the orders are read again from the beginning")
                self.present.forget()
                self._was_live = False
            except (KafkaError, OSError, TimeoutError) as error:
                pause = RETRY_FIRST if self.present.live else min(pause * 2, RETRY_LONGEST)
                self._lose("the broker does not answer")
                log.warning("the feed lost the broker", reason=mask_cards(repr(error))[:300])
                await asyncio.sleep(pause)

    def _lose(self, reason: str) -> None:
        self.present.say(live=False, reason=reason)
        self.present.reason = reason

    async def _tail(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka,
            client_id="snacks-feed",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=int(ANSWER_WITHIN * 1000),
            max_partition_fetch_bytes=LARGEST_FETCH,
            fetch_max_wait_ms=100,
            retry_backoff_ms=100,
        )
        try:
            await _within(ANSWER_WITHIN, consumer.start())
            consumer.assign(self._sources)
            begins = await _within(ANSWER_WITHIN, consumer.beginning_offsets(self._sources))
            for source in self._sources:
                consumer.seek(source, max(begins[source], self.present.applied[source.partition]))
            moved = asked = time.monotonic()
            ends = await self._ends(consumer)
            while True:
                if await self._read(consumer):
                    moved = time.monotonic()
                if lag := await _within(ANSWER_WITHIN, self._lag(consumer, ends)):
                    if time.monotonic() - moved > STANDSTILL:
                        raise TimeoutError(f"nothing read for {STANDSTILL:.0f} s, {lag} records wait")
                elif not self.present.live:
                    log.info("the feed is live", orders=len(self.present.orders))
                    self._was_live = True
                    self.present.say(live=True)
                if time.monotonic() - asked > ASK_EVERY:
                    ends, asked = await self._ends(consumer), time.monotonic()
        finally:
            with suppress(KafkaError, TimeoutError):
                await _within(STOP_WITHIN, consumer.stop())  # without a broker it can wait for ever

    async def _ends(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await _within(ANSWER_WITHIN, consumer.end_offsets(self._sources))
        if any(ends[source] < self.present.applied[source.partition] for source in self._sources):
            raise _MadeAnew
        return ends

    async def _lag(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> int:
        """Offsets still to pass; gaps count until the consumer has passed them."""
        lag = 0
        for source, end in ends.items():
            lag += max(0, end - await consumer.position(source))
        return lag

    async def _read(self, consumer: AIOKafkaConsumer) -> bool:
        """Take what is there; true if there was something."""
        batches = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=RECORDS_AT_ONCE)
        for source, records in batches.items():
            if records and records[0].offset < self.present.applied[source.partition]:
                raise _MadeAnew
            self.present.apply(self._changes(records))
        await asyncio.sleep(0)  # a long catch-up must let others go on
        return bool(batches)

    def _changes(self, records: Sequence[ConsumerRecord]) -> list[Change]:
        changes = []
        for record in records:
            change = change_of(record)
            if change is None:
                self.skipped += 1
                log.warning("not a customer order", partition=record.partition, offset=record.offset)
                self.present.passed(record.partition, record.offset, record.timestamp)
            else:
                changes.append(change)
        return changes


def change_of(record: ConsumerRecord) -> Change | None:
    """What a record of the aggregate topic says; None if it is not a customer order.

    The order is rendered as the query side does, whatever engine wrote it: no card number, one line.
    """
    headers = {name: _number(value) for name, value in record.headers}
    times = {hop: headers.get(hop) for hop in HOPS} | {"published": record.timestamp}
    try:
        order_id = record.key.decode()
        if record.value is None:
            status = body = None
        else:
            order = decode_order(record.value)
            if order.payment is not None:
                card = mask_card(order.payment.credit_card_number)
                order = replace(order, payment=replace(order.payment, credit_card_number=card))
            status, body = order.order_status.value, encode(order).decode()
    except (AttributeError, UnicodeDecodeError, ValueError, msgspec.DecodeError):
        return None
    return Change(
        order_id,
        record.partition,
        record.offset,
        record.timestamp,
        headers.get("revision"),
        status,
        body,
        msgspec.json.encode(times).decode(),
    )


def _number(value: bytes | None) -> int | None:
    try:
        return int(value) if value else None
    except ValueError:
        return None


async def _within(seconds: float, asking: Coroutine[Any, Any, T]) -> T:
    """The answer, if it comes in time. Raises TimeoutError.

    In a task of its own: aiokafka may swallow a cancellation, or raise one that nobody asked for.
    """
    task = asyncio.create_task(asking)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        if not task.done():
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            task.cancel()
    if not task.done() or task.cancelled():
        raise TimeoutError(f"no answer within {seconds:g} s")
    return task.result()
