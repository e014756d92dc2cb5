"""The consumer group hands out shards to this process; the host opens, feeds and drains them."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from snacks.actors import consumer as group_consumer
from snacks.actors import feeding, members
from snacks.actors.room import Room
from snacks.actors.shard import RETRY_FIRST, RETRY_LONGEST, Shard
from snacks.actors.sources import TopicRemade
from snacks.actors.status import HostStatus
from snacks.actors.watchdog import Sign, Stalled, Watchdog
from snacks.cdc.topics import CDC_TOPICS
from snacks.config import Settings
from snacks.documents import Documents

log = structlog.get_logger(__name__)

POLL_TIMEOUT = 0.2
POLL_RECORDS = 5_000
GROUP_COMMIT_EVERY = 1.0
CANCEL_TIMEOUT = 10.0
"""Seconds in which a shard that is cancelled ends: MongoDB's time-out (5 s), then the producer's stop."""


class Wedged(Exception):  # noqa: N818  (a state, named like one)
    """A task has hung and cannot even be cancelled: only the end of the process helps."""


class OrderHost(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """All shards of this process. `run` is its one task; it ends only when cancelled, or `Wedged`."""

    def __init__(
        self, settings: Settings, documents: Documents, member: str = "", instance: str | None = None
    ) -> None:
        """Give a group member its shards' life.

        `member`: a telling client id for Redpanda Console and other tools. `instance`: the id of a static
        member (KIP-345): one that comes back with it gets its shards at once, without a rebalance, and
        without waiting until the session of its former life has timed out.
        """
        self._settings = settings
        self._documents = documents
        self._member = member
        self._instance = instance
        self._reason = "not started"
        self._consumer: AIOKafkaConsumer | None = None
        self._leaving = False
        self._wedged = ""
        self._turns = 0
        self._watchdog = self._new_watchdog()
        self._assigned: set[int] = set()
        self._shards: dict[int, Shard] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._draining: list[asyncio.Task[None]] = []
        self._committed: dict[TopicPartition, int] = {}
        self._room = Room()

    def status(self) -> HostStatus:
        """What this process folds now."""
        shards = [shard.status(self._lag(shard)) for _, shard in sorted(self._shards.items())]
        stuck = [
            f"shard {one.partition}: {one.reason or one.doing}"
            for one in shards
            if one.reason or one.state != "running"
        ]
        reason = self._reason or self._watchdog.problem or "; ".join(stuck)
        return HostStatus(self._settings.group_id, self._member, not reason, reason, shards)

    # ── the poll loop ────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Join the group and fold until cancelled; a consumer that fails or stalls is built anew.

        Raises:
            Wedged: something hangs that cannot be cancelled.
        """
        pause = RETRY_FIRST
        leave = False
        self._reason = "joining the group"
        while True:
            try:
                await self._join()
                pause = RETRY_FIRST
                await self._work()
            except (KafkaError, TimeoutError) as error:
                self._reason = f"the broker does not answer: {error!r}"[:300]
                log.warning("consumer failed, building a new one", error=repr(error))
            except Stalled as error:
                self._reason = f"{error}: a new consumer is built"
                log.warning("consumer stalled, building a new one", reason=str(error))
            except asyncio.CancelledError:
                leave = True
                raise
            except TopicRemade as error:
                self._reason = f"{error} was made anew"
                log.warning("a topic was made anew, building a new consumer", topic=str(error))
            finally:
                await self._leave(leave=leave)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_LONGEST)

    async def _join(self) -> None:
        self._consumer = group_consumer.member(self._settings, self, self._member or "snacks", self._instance)
        async with asyncio.timeout(self._settings.session_timeout * 3):
            await self._consumer.start()

    async def _work(self) -> None:
        """Poll until it fails, or until the watchdog sees that it hangs."""
        self._watchdog = self._new_watchdog()
        tasks = {asyncio.create_task(self._poll()), asyncio.create_task(self._watchdog.run())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():  # aiokafka lets its own cancelled tasks look like our cancellation
                    raise Stalled("the consumer's coordination was cancelled")
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            _, late = await asyncio.wait(tasks, timeout=self._settings.drain_timeout)
            if late:
                raise Wedged(
                    "the poll loop hangs and cannot be cancelled: end this process and start it again"
                )

    def _new_watchdog(self) -> Watchdog:
        return Watchdog(
            self._settings.stall_timeout,
            self._signs,
            lambda: self._assigned,
            lambda: members.describe(self._settings),
            self._member or "snacks",
        )

    def _signs(self) -> Iterator[Sign]:
        """What changes from second to second as long as all is well."""
        yield Sign("the poll loop has not come round", self._turns)
        for partition, shard in self._shards.items():
            if shard.busy:
                yield Sign(f"shard {partition} has work and does nothing", shard.steps)
        consumer = self._consumer
        if consumer is not None:
            for source in consumer.assignment() - consumer.paused():
                polled = consumer.last_poll_timestamp(source)
                what = f"nothing was fetched of partition {source.partition} of {source.topic}"
                yield Sign(what, polled or 0, broker=True)

    async def _poll(self) -> None:
        consumer = self._consumer
        assert consumer is not None  # noqa: S101  (for mypy; _join() made it)
        loop = asyncio.get_running_loop()
        commit_at = loop.time() + GROUP_COMMIT_EVERY
        while True:
            self._turns += 1
            if self._wedged:
                raise Wedged(self._wedged)
            batch = await consumer.getmany(timeout_ms=int(POLL_TIMEOUT * 1000), max_records=POLL_RECORDS)
            # Nothing is awaited between here and the hand-over: a rebalance cannot come in between.
            gaps = feeding.hand_over(self._shards, batch)
            feeding.push_back(self._shards, consumer)
            if gaps:
                await group_consumer.tell_missing(consumer, gaps)
            if loop.time() >= commit_at:
                commit_at = loop.time() + GROUP_COMMIT_EVERY
                await self._commit_group(consumer)
                await feeding.pass_gaps(self._shards, consumer)
                group_consumer.check_alive(consumer)
                group_consumer.check_ends(
                    consumer, {n: one.offsets for n, one in self._shards.items() if one.running}
                )
            for task in self._tasks.values():
                if task.done():
                    task.result()  # a shard that died of a defect must stop the process from going on

    async def _commit_group(self, consumer: AIOKafkaConsumer) -> None:
        """The group's offsets, so that other tools show lag. Nothing depends on them."""
        offsets = feeding.folded(self._shards)
        news = {source: offset for source, offset in offsets.items() if self._committed.get(source) != offset}
        if not news:
            return
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                await consumer.commit(news)
            self._committed |= news
        except (KafkaError, TimeoutError) as error:
            log.debug("group offsets not committed", error=repr(error))

    # ── rebalances (called by aiokafka beside the poll loop) ─────────────────────────────────────

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Drain within the deadline; past it, commit nothing: the next owner folds again."""
        if revoked:
            log.info("shards revoked", shards=sorted({source.partition for source in revoked}))
        await self._drain()

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Open the shards. They restore beside this call, so that the group is not held up."""
        if self._leaving or self._consumer is None:
            return
        by_partition: dict[int, set[str]] = defaultdict(set)
        for source in assigned:
            by_partition[source.partition].add(source.topic)
        self._assigned = set(by_partition)
        log.info("shards assigned", shards=sorted(by_partition))
        for partition, topics in by_partition.items():
            if topics != set(CDC_TOPICS):
                # An exception here would only be logged by aiokafka; the reason keeps readiness red.
                self._reason = (
                    f"partition {partition} of {sorted(topics)} only was assigned: all members of the group "
                    f"{self._settings.group_id} must use the range assignor, all CDC topics must have as "
                    "many partitions (SNACKS_PARTITIONS)"
                )
                log.error("topics are split over members", reason=self._reason)
                return
        self._reason = ""
        self._consumer.pause(*assigned)
        for partition in by_partition:
            shard = Shard(
                self._settings,
                partition,
                self._documents,
                self._start_reading,
                elsewhere=self._elsewhere,
                room=self._room,
            )
            self._shards[partition] = shard
            self._tasks[partition] = asyncio.create_task(shard.run(), name=f"shard-{partition}")

    async def _start_reading(
        self, partition: int, offsets: dict[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        consumer = self._consumer
        assert consumer is not None  # noqa: S101  (for mypy; shards live within a consumer)
        async with asyncio.timeout(self._settings.commit_timeout):
            return await group_consumer.seek(consumer, partition, offsets)

    async def _drain(self) -> None:
        """Let the shards end, also those that are being drained already.

        A rebalance may come while this process leaves: it must not give away a shard that is in its cycle.
        """
        shards = list(self._shards.values())
        tasks = [task for task in (*self._draining, *self._tasks.values()) if not task.done()]
        self._draining = tasks
        self._shards, self._tasks, self._committed, self._assigned = {}, {}, {}, set()
        for shard in shards:
            shard.drain()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._settings.drain_timeout)
        for task in late:
            log.warning(
                "shard did not drain in time: what it had open is not committed", shard=task.get_name()
            )
            task.cancel()
        if late:
            _, never = await asyncio.wait(late, timeout=max(self._settings.drain_timeout, CANCEL_TIMEOUT))
            if never:
                names = ", ".join(task.get_name() for task in never)
                self._wedged = f"{names} hangs and cannot be cancelled: end this process and start it again"

    async def _leave(self, *, leave: bool) -> None:
        """Stop reading: aiokafka's stop() does not call the revoked callback. `leave`: for good."""
        self._leaving = True  # a rebalance may still come: it must open nothing
        try:
            await self._drain()
            if self._consumer is not None:
                await group_consumer.close(self._consumer, self._settings.drain_timeout, leave=leave)
        finally:
            self._consumer = None
            self._leaving = False
        if self._wedged:
            raise Wedged(self._wedged)

    # ── small things ─────────────────────────────────────────────────────────────────────────────

    def _elsewhere(self, order_id: str, partition: int) -> int | None:
        for other, shard in self._shards.items():
            if other != partition and shard.has(order_id):
                return other
        return None

    def _lag(self, shard: Shard) -> int:
        consumer = self._consumer
        return group_consumer.lag(consumer, shard.partition, shard.offsets) if consumer else 0
