"""The orders of one partition: their actors, their encoded states, and the commit cycle.

    assigned ─► fencing ─► restoring ─► running ─► draining ─► closed
                   ▲                       │
                   └───────────────────────┘  any error: throw the producer away, fence, restore, fold again

Partition p of every topic together is shard p; one process owns it at a time (docs/architecture.md).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError, ProducerFenced

from snacks.actors.checkpoint import Checkpoint
from snacks.actors.consumer import HEARTBEAT, StartReading
from snacks.actors.inbox import Inbox
from snacks.actors.order import Outcome
from snacks.actors.orders import Orders, aggregates, checkpoints, read
from snacks.actors.room import Room
from snacks.actors.sources import TopicRemade
from snacks.actors.status import LEGAL, ShardStatus, State
from snacks.config import Settings
from snacks.documents import Claim, Documents, DocumentsUnavailable, Emission, Superseded

log = structlog.get_logger(__name__)

CYCLE_RECORDS, SMALLEST_CYCLE = 10_000, 100
"""Records folded between two commits: about 100 ms of work, so that the loop stays responsive. With half as
many a drain writes a quarter more documents: an order is written once a cycle. After a time-out there are
fewer, once what MongoDB has is committed: servers that are too slow for so many at once would be so again."""

RETRY_FIRST, RETRY_LONGEST = 0.2, 2.0
TAKEN_OVER = 2.5 * HEARTBEAT
"""Until a fenced shard fences back, in seconds: by then the group has told who has lost it."""
TOO_SLOW = 2
"""Writes that ran out of time although MongoDB answers, until the shard starts over with smaller cycles."""
PROGRESS_EVERY = 2.0  # seconds between two lines of log about a restore


class TooMuch(Exception):  # noqa: N818  (a state, named like one)
    """MongoDB answers, but does not get through with the write in time."""


class Shard:
    """Owns the orders of one partition from its assignment to its revocation.

    The host calls `offer` with records, `drain` when the shard is revoked; `run` is its one task.
    """

    def __init__(
        self,
        settings: Settings,
        partition: int,
        documents: Documents,
        start_reading: StartReading,
        *,
        elsewhere: Callable[[str, int], int | None],
        room: Room,
    ) -> None:
        """`elsewhere(order_id, partition)` names another shard of this process that has the order."""
        self.partition = partition
        self.inbox = Inbox(partition)
        self.offsets: dict[str, int] = {}
        self.steps = 0
        """Goes up with whatever the shard does, also in vain: one that is busy and takes no step hangs."""
        self._marks: dict[str, str] = {}
        self._settings = settings
        self._checkpoint = Checkpoint(settings, partition, step=self._step)
        self._documents = documents
        self._start_reading = start_reading
        self._state = State.ASSIGNED
        self._reason = ""
        self._orders = Orders(partition, elsewhere)
        self._claim: Claim | None = None
        self._room = room
        self._in_cycle = False
        self._most = self._tried = CYCLE_RECORDS
        self._wake = asyncio.Event()
        self._drain = asyncio.Event()
        self._progress = (0, 0)
        self._told = 0.0
        self._counts = dict.fromkeys(("folded", "repeated", "published", "dead_letters", "cycles"), 0)

    # ── the host's side ──────────────────────────────────────────────────────────────────────────

    def offer(self, records: Sequence[ConsumerRecord]) -> None:
        """Take records of one topic to fold. Before the shard runs they are dropped: it will seek."""
        if self._state is State.RUNNING and records:
            self.inbox.put(records)
            self._wake.set()

    def passed(self, topic: str, offset: int) -> None:
        """The topic is read beyond this offset, and no record came."""
        self.inbox.passed(topic, offset)
        self._wake.set()

    @property
    def running(self) -> bool:
        """True if records are folded."""
        return self._state is State.RUNNING

    @property
    def busy(self) -> bool:
        """True if it has something to do now, and need not wait for other shards first."""
        work = self._in_cycle or (
            self.inbox and self.inbox.caught_up and self.partition not in self._room.queue
        )
        return self._state is not State.RUNNING or bool(work)

    def has(self, order_id: str) -> bool:
        """True if the order lives here."""
        return order_id in self._orders

    def drain(self) -> None:
        """Finish the cycle under way, commit nothing after it, and let `run` return."""
        self._drain.set()
        self._wake.set()

    def status(self, lag: int) -> ShardStatus:
        """What the shard does now; `lag` is the records not yet committed, as the host sees them."""
        return ShardStatus(
            self.partition,
            self._state.value,
            self._reason,
            len(self._orders),
            lag,
            *self._progress,
            **self._counts,
        )

    # ── its life ─────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Live until drained. Errors of MongoDB or the broker are waited out; the reason is in `status`."""
        pause = RETRY_FIRST
        try:
            while not self._drain.is_set():
                cycles = self._counts["cycles"]
                try:
                    await self._open()
                    await self._serve()
                except (ProducerFenced, Superseded):
                    self._fail("another process took this shard over")
                    pause = max(pause, TAKEN_OVER)
                except TopicRemade as error:
                    self._fail(f"{error} was made anew")
                except TooMuch:
                    self._shrink()
                    self._fail(f"MongoDB is too slow: at most {self._most} records at once now")
                except DocumentsUnavailable as error:
                    self._fail(f"MongoDB does not answer: {error}")
                except (KafkaError, TimeoutError) as error:
                    self._shrink()
                    self._fail(f"the broker does not answer: {error!r}")
                except Exception as error:
                    log.exception("shard failed", shard=self.partition)
                    self._fail(f"unexpected: {error!r}")
                if self._drain.is_set():
                    break
                await self._wait(pause)
                pause = RETRY_FIRST if self._counts["cycles"] > cycles else min(pause * 2, RETRY_LONGEST)
        finally:
            self._to(State.DRAINING)
            self.inbox.clear()
            await self._checkpoint.close()
            await self._release()
            self._to(State.CLOSED)

    async def _open(self) -> None:
        """Fence, restore, and read on from where the checkpoint says."""
        self._to(State.FENCING)
        self._in_cycle = False
        self.inbox.clear()
        await self._checkpoint.fence()
        self._step()
        await self._release()
        self._step()
        self._claim = await self._documents.claim(self.partition)
        self._to(State.RESTORING)
        self._progress, self._told = (0, 0), time.monotonic()
        restored = await self._checkpoint.restore(self._restoring)
        self._orders.restore(restored.states)
        if self._drain.is_set():
            return
        # Nothing is awaited between the seek in there and RUNNING: no record from elsewhere gets in.
        self.offsets, ends = await self._start_reading(self.partition, restored.offsets)
        self._marks = {topic: one for topic, one in restored.marks.items() if topic in restored.offsets}
        self.inbox.begin(self.offsets, self._claim.ahead, ends)
        self._to(State.RUNNING)
        self._reason = "" if self.inbox.caught_up else "reads on to where a former owner's documents are"
        log.info("shard runs", shard=self.partition, orders=len(self._orders), offsets=self.offsets)

    async def _serve(self) -> None:
        while not self._drain.is_set():
            if not self.inbox or not self.inbox.caught_up:
                self._wake.clear()
                await self._wake.wait()
                continue
            async with self._room.for_cycle(self.partition, len(self.inbox)):
                if self._drain.is_set():
                    return
                self._in_cycle = True
                await self._cycle()
                self._in_cycle = False

    async def _cycle(self) -> None:
        """Decode, fold, emit, commit: whatever dies in between, the same records are folded again."""
        self._reason = ""
        records = self.inbox.take(self._most)
        self._tried = len(records)
        batch = read(records, self.offsets, self._marks)
        outcomes = await self._orders.fold(batch, self._step)
        if not await self._emit(outcomes, batch.offsets):
            return  # drained while MongoDB was away: the next owner folds these records
        states = checkpoints(outcomes)
        published = aggregates(outcomes, batch, stored=time.time_ns() // 1_000_000)
        await self._checkpoint.commit(states, published, batch.letters, batch.offsets, batch.marks)
        self.offsets, self._marks = batch.offsets, batch.marks
        self._most = min(CYCLE_RECORDS, self._most * 2)
        self._orders.settle(states)
        self._step()
        self._count(
            folded=batch.folded,
            repeated=batch.repeated,
            published=len(published),
            dead_letters=len(batch.letters),
            cycles=1,
        )

    async def _emit(self, outcomes: dict[str, Outcome], offsets: dict[str, int]) -> bool:
        """Write the documents, waiting while MongoDB is away. False if drained before it was possible.

        Raises:
            TooMuch: MongoDB is there, and still they cannot be written in time.
        """
        emissions = [
            Emission(order_id, outcome.state.revision, outcome.order)
            for order_id, outcome in outcomes.items()
            if outcome.order is not None or outcome.forget
        ]
        pause = RETRY_FIRST
        too_slow = 0
        while emissions:
            self._step()
            try:
                await self._documents.emit(emissions, self._claim, offsets)
            except DocumentsUnavailable as error:
                if self._reason == "":
                    log.warning("MongoDB is away, waiting", shard=self.partition, error=str(error)[:200])
                self._reason = f"MongoDB does not answer: {str(error)[:200]}"
                too_slow += error.timeout and await self._mongodb_answers()
                if too_slow >= TOO_SLOW:
                    raise TooMuch from error
                await self._wait(pause)
                pause = min(pause * 2, RETRY_LONGEST)
                if self._drain.is_set():
                    return False
            else:
                self._reason = ""
                break
        return True

    async def _mongodb_answers(self) -> bool:
        with suppress(DocumentsUnavailable):
            await self._documents.ping()
            return True
        return False

    # ── small things ─────────────────────────────────────────────────────────────────────────────

    def _step(self) -> None:
        self.steps += 1

    def _to(self, state: State) -> None:
        self._step()
        if state not in LEGAL[self._state]:
            raise RuntimeError(f"shard {self.partition}: {self._state} cannot become {state}")
        self._state = state

    def _fail(self, reason: str) -> None:
        self._to(State.FENCING)  # it takes no more records, and what it has is read again
        self.inbox.clear()
        self._reason = reason[:300]
        log.warning("shard starts over", shard=self.partition, reason=self._reason)

    async def _release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            with suppress(DocumentsUnavailable):
                await claim.release()

    def _shrink(self) -> None:
        """Fold half as many records at once as were too many."""
        self._most = max(SMALLEST_CYCLE, min(self._most, self._tried) // 2)

    def _count(self, **more: int) -> None:
        for name, count in more.items():
            self._counts[name] += count

    def _restoring(self, read: int, total: int) -> None:
        self._step()
        self._progress = (read, total)
        now = time.monotonic()
        if now - self._told >= PROGRESS_EVERY:
            self._told = now
            log.info("restoring", shard=self.partition, percent=read * 100 // total, records=total)

    async def _wait(self, seconds: float) -> None:
        """Wait, but not beyond a drain."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._drain.wait()
