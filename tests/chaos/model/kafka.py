"""What the application has of aiokafka, over the simulated broker: a producer and a consumer."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from tests.chaos.model.broker import Headers
from tests.chaos.model.net import KAFKA, Process
from tests.chaos.model.virtual import RUNNING

if TYPE_CHECKING:
    from tests.chaos.model.world import World

BATCH_RECORDS = 3
"""So few that a cycle needs several batches."""


class Batch:
    """aiokafka's BatchBuilder."""

    def __init__(self) -> None:
        self.entries: list[tuple[bytes, bytes | None, Headers]] = []

    def append(self, *, key: bytes, value: bytes | None, timestamp: Any, headers: Any = ()) -> Any:
        """None if it is full."""
        del timestamp
        if len(self.entries) >= BATCH_RECORDS:
            return None
        self.entries.append((key, value, tuple(headers)))
        return self

    def record_count(self) -> int:
        return len(self.entries)


class Client:
    """What a producer and a consumer share: the process that they are in, and the way to the broker."""

    def __init__(self) -> None:
        process = RUNNING.get()
        assert isinstance(process, Process)
        self.process = process
        self.net = process.net
        self.world: World = process.net.world
        self.broker = self.world.broker

    def call(self, name: str, effect: Any) -> asyncio.Future[Any]:
        """Ask the broker."""
        return self.net.call(KAFKA, name, effect)


class Producer(Client):
    """AIOKafkaProducer with a transactional id."""

    def __init__(self, *, transactional_id: str, transaction_timeout_ms: int, **_: Any) -> None:
        super().__init__()
        self._id, self._timeout = transactional_id, transaction_timeout_ms / 1000
        self._epoch = 0

    async def start(self) -> None:
        if self.net.rng.random() < 0.2:
            self.world.compact()
        self._epoch = await self.call("init", lambda: self.broker.init(self._id, self.net.loop.time()))

    async def begin_transaction(self) -> None:
        """Nothing goes to the broker before the first record."""
        self.world.commits_begun(self.process, self._id)

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Awaitable[Any]:
        """The future of its acknowledgement."""
        now = self.net.loop.time
        source, expires = TopicPartition(topic, partition), now() + self._timeout

        def produce() -> object:
            return self.broker.produce(
                self._id, self._epoch, source, batch.entries, expires=expires, now=now()
            )

        return self.call("produce", produce)

    async def commit_transaction(self) -> None:
        def commit() -> None:
            transaction = self.broker.commit(self._id, self._epoch, self.net.loop.time())
            if transaction is not None:
                # Acknowledged is not yet shown: the markers take their time.
                self.net.later(self.net.rng.choice((0.0, 0.01, 0.1)), self.broker.show, transaction)

        await self.call("commit", commit)

    async def stop(self) -> None:
        """What is open stays open, until a fence or its time-out."""


class Consumer(Client):
    """AIOKafkaConsumer, of a group (`subscribe`) or of none (`assign`)."""

    def __init__(
        self,
        *,
        group_id: str | None = None,
        client_id: str = "",
        auto_offset_reset: str = "latest",
        isolation_level: str = "read_uncommitted",
        enable_auto_commit: bool = True,
        **_: Any,
    ) -> None:
        super().__init__()
        self._group_id = group_id
        self.client_id = client_id
        self._reset = auto_offset_reset
        self._committed = isolation_level == "read_committed"
        self._auto_commit = enable_auto_commit and group_id is not None
        self._position: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._news = asyncio.Event()
        self._rejoin = asyncio.Event()
        self._joined = asyncio.Event()
        self._listener: Any = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._polled = 0
        self._coordinator = None
        self._client = SimpleNamespace(_sync_task=None)
        """aiokafka's, of which the application closes the parts when `stop` hangs: ours does not."""

    @property
    def silent(self) -> bool:
        """Whether the broker hears no heartbeat of it."""
        return self._closed or self.process.stopped

    # ── life ─────────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, _topics: Iterable[str], *, listener: Any) -> None:
        self._listener = listener

    def assign(self, sources: Iterable[TopicPartition]) -> None:
        self._position = {source: self._begin(source) for source in sources}

    async def start(self) -> None:
        await self.call("connect", lambda: None)
        self.world.consumers.append(self)
        if self._listener is not None:
            self._task = asyncio.create_task(self._coordinate())
            await self._joined.wait()

    async def stop(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self.world.group.watch(self)
            with suppress(KafkaError):
                await self.call("leave", lambda: self.world.group.leave(self))
        if self in self.world.consumers:
            self.world.consumers.remove(self)

    async def _coordinate(self) -> None:
        """Join, be given partitions, give them back when the broker asks for it."""
        while True:
            await self._listener.on_partitions_revoked(list(self._position))
            self.process.owned = frozenset()
            self._rejoin.clear()
            try:
                sources = await self.call("join", lambda: self.world.group.join(self))
            except KafkaError:
                await asyncio.sleep(0.1)
                continue
            self._position = {source: self._begin(source) for source in sources}
            self._paused.clear()
            self.process.owned = frozenset(source.partition for source in sources)
            await self._listener.on_partitions_assigned(sources)
            self._joined.set()
            await self._rejoin.wait()

    def ask_to_join(self) -> None:
        """What the answer to a heartbeat may say."""
        self._rejoin.set()

    def _begin(self, source: TopicPartition) -> int:
        held = self.broker.group_offsets.get(source) if self._group_id else None
        if held is not None:
            return held
        return 0 if self._reset == "earliest" else self.broker.partition(source).end

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    async def getmany(
        self, *sources: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """A few records of some partitions: which of them, and how many, is a matter of chance."""
        del max_records
        name = "fetch" if self._group_id else "restore"
        until = self.net.loop.time() + timeout_ms / 1000
        while not self._closed:
            self._news.clear()
            self._polled = int(self.net.loop.time() * 1000)
            if self._ready(sources):
                with suppress(KafkaError):
                    await self.call(name, lambda: None)
                    found = self._take(self._ready(sources))
                    if found:
                        return found
            left = until - self.net.loop.time()
            if left <= 0:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()
        return {}

    def _ready(self, sources: tuple[TopicPartition, ...]) -> list[TopicPartition]:
        return [
            source
            for source in sources or self._position
            if self._position[source] < self._end(source) and source not in self._paused
        ]

    def _take(self, ready: list[TopicPartition]) -> dict[TopicPartition, list[ConsumerRecord]]:
        rng, found = self.net.rng, {}
        for source in ready:
            if self._group_id and len(ready) > 1 and rng.random() < 0.5:
                continue
            most = rng.randint(1, 6) if self._group_id else 1000
            records, self._position[source] = self.broker.partition(source).read(
                self._position[source], most, committed=self._committed
            )
            if records:
                found[source] = records
        if self._auto_commit:
            self.broker.commit_group(self._position)
        return found

    def _end(self, source: TopicPartition) -> int:
        partition = self.broker.partition(source)
        return partition.stable if self._committed else partition.end

    def seek(self, source: TopicPartition, offset: int) -> None:
        if source not in self._position:
            raise IllegalStateError(f"{source} is not assigned")
        self._position[source] = offset

    async def position(self, source: TopicPartition) -> int:
        return self._position[source]

    def last_poll_timestamp(self, _source: TopicPartition) -> int:
        """Milliseconds: it asks for more all the time, whether there is something or not."""
        return self._polled

    def highwater(self, source: TopicPartition) -> int | None:
        return self._end(source)

    async def beginning_offsets(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = list(sources)
        return await self.call("offsets", lambda: dict.fromkeys(wanted, 0))  # type: ignore[no-any-return]

    async def end_offsets(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = list(sources)
        return await self.call("offsets", lambda: {one: self._end(one) for one in wanted})  # type: ignore[no-any-return]

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._position)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def pause(self, *sources: TopicPartition) -> None:
        self._paused.update(sources)

    def resume(self, *sources: TopicPartition) -> None:
        self._paused.difference_update(sources)
        self._news.set()

    def poke(self) -> None:
        """There may be something new to read."""
        self._news.set()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """The offsets of the group; refused for who is no member any more."""

        def commit() -> None:
            if self not in self.world.group.members:
                raise CommitFailedError
            self.broker.commit_group(offsets)

        await self.call("group commit", commit)

    async def committed(self, source: TopicPartition) -> int | None:
        return self.broker.group_offsets.get(source)
