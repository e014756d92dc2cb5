"""One history: processes of the real application in the simulated world, faults among them, and its end."""

import asyncio
import contextvars
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from tests.chaos.model import kafka, mongo
from tests.chaos.model.invariants import wrong
from tests.chaos.model.net import CALLS, KAFKA, LOSSES, MONGO, SERVERS, STOPS, Net, Process
from tests.chaos.model.virtual import RUNNING, VirtualLoop
from tests.chaos.model.world import SESSION, World

from snacks import documents
from snacks.actors import checkpoint, host, inbox, members, orders, room, shard, watchdog
from snacks.actors import consumer as group_consumer
from snacks.actors.status import GroupStatus
from snacks.config import Settings
from snacks.documents import Documents

SETTINGS = Settings(
    session_timeout=SESSION, commit_timeout=1.0, drain_timeout=0.5, partitions=2, static_member=False
)
SMALL = {
    "CYCLE_RECORDS": (shard, 6),
    "BACKLOG_RECORDS": (inbox, 8),
    "LARGE_CYCLE": (room, 2),
    "LARGE_AT_ONCE": (room, 1),
    "ACTIVE_ACTORS": (orders, 1),
    "POLL_TIMEOUT": (host, 1.0),
    "LOOK_EVERY": (watchdog, 4.0),
}
"""Bounds of the application, so low that each history meets them: full shards, shards that wait for another,
passivated orders."""

WORLD_FAULTS = ("join", "leave", "rebalance", "kafka away", "mongo away", "compaction", "group offsets moved")
NEW_AT_THE_END = 0.25
"""How often another process joins once the faults are over, though somebody is there to work."""
HEALED = 60.0
"""Seconds of virtual time within which all must be right again once the faults are over."""


class Played(NamedTuple):
    """What was wrong at the end of a history (empty: nothing), which faults struck, and what was stored.

    `story`: each call and each fault with its virtual time, if it was to be told.
    """

    wrong: list[str]
    struck: Counter[tuple[str, str]]
    world: World
    story: list[str]


class _Log:
    """In the place of the loggers: costs nothing, and notes what the application itself calls a defect."""

    def exception(self, event: str, **_: Any) -> None:
        process = RUNNING.get()
        if isinstance(process, Process):
            process.net.world.unexpected.append(f"{event}: {sys.exception()!r}")

    def info(self, event: str, **values: Any) -> None:
        process = RUNNING.get()
        if isinstance(process, Process) and process.net.tell is not None:
            process.net.tell(f"{process.name}: {event} {values}")

    debug = warning = info

    def error(self, event: str, **values: Any) -> None:
        process = RUNNING.get()
        if isinstance(process, Process):
            process.net.world.unexpected.append(f"{event}: {values}")


class _Dice:
    """In the place of `random`: the seed's own."""

    def uniform(self, low: float, high: float) -> float:
        process = RUNNING.get()
        assert isinstance(process, Process)
        return process.net.rng.uniform(low, high)


async def _describe(_settings: Settings) -> GroupStatus:
    """What the broker says of the group, asked for by the watchdog over a connection of its own."""
    process = RUNNING.get()
    assert isinstance(process, Process)
    group = process.net.world.group
    return await process.net.call(KAFKA, "describe", group.described)  # type: ignore[no-any-return]


@contextmanager
def simulated() -> Iterator[None]:
    """The application with the simulated clients in the place of aiokafka and pymongo."""
    log = _Log()
    modules = (checkpoint, group_consumer, host, orders, shard)
    places: list[tuple[Any, str, Any]] = [(module, "log", log) for module in modules]
    places += [(module, name, value) for name, (module, value) in SMALL.items()]
    places += [
        (checkpoint, "AIOKafkaProducer", kafka.Producer),
        (checkpoint, "AIOKafkaConsumer", kafka.Consumer),
        (group_consumer, "AIOKafkaConsumer", kafka.Consumer),
        (members, "describe", _describe),
        (documents, "AsyncMongoClient", mongo.Client),
        (documents, "document_class", mongo.document_class),
        (documents, "random", _Dice()),
    ]
    patches = [patch.object(*place) for place in places]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()


def play(seed: int, *, told: bool = False) -> Played:
    """The history of a seed. Call it within `simulated()`. `told`: with its story."""
    loop = VirtualLoop()
    history = History(loop, seed)
    story: list[str] = []
    if told:
        history.net.tell = lambda line: story.append(f"{loop.time():8.3f} {line}")
    try:
        found = loop.run_until_complete(history.run())
    finally:
        history.net.away = dict.fromkeys(history.net.away, float("inf"))
        for process in history.processes:
            loop.go_on(process)
        loop.bury()
    return Played(found, history.net.struck, history.world, story)


class History:
    """Starts processes, lets faults strike them one after the other, heals, and looks at what is left."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.rng = Random(seed)
        self.net = Net(loop, self.rng)
        self.world = self.net.world = World(self.net, self.rng)
        self.net.stopped, self.net.woken = self._stopped, self._woken
        self.processes: list[Process] = []
        self._mains: dict[Process, asyncio.Task[None]] = {}
        self._struck = asyncio.Event()
        self._healing = False

    async def run(self) -> list[str]:
        """What is wrong at the end."""
        self._start()
        for _ in self.world.pending:
            self.net.later(self.rng.random() * 4.0, self.world.grow)
        for _ in range(self.rng.randint(1, 4)):
            await self._fault()
        await self._heal()
        try:
            async with asyncio.timeout(HEALED):
                while not self.world.folded:
                    await asyncio.sleep(0.5)
        except TimeoutError:
            return [f"not back at work {HEALED:.0f} s after the faults ended", *self.world.unexpected]
        for process in self.processes:
            self.net.wake(process)  # who slept through it all must change nothing any more
        await asyncio.sleep(1.0)  # what former owners have under way
        return wrong(self.world)

    # ── processes ────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        process = Process(self.net, f"process-{len(self.processes)}")
        self.processes.append(process)
        context = contextvars.Context()
        context.run(RUNNING.set, process)
        loop = asyncio.get_running_loop()
        main = self._mains[process] = loop.create_task(self._main(process), context=context)
        main.add_done_callback(lambda _: self._ended(process), context=SERVERS)

    async def _main(self, process: Process) -> None:
        client = Documents("mongodb://simulated", "customer_order_db")
        client.model.collection = client._database["customerOrder"]
        client._opened = True
        with suppress(asyncio.CancelledError):
            await host.OrderHost(SETTINGS, client, process.name).run()

    def _ended(self, process: Process) -> None:
        """What a process has still under way ends with it; the broker hears no more heartbeats."""
        process.stopped = process.dead = True
        for consumer in self.world.consumers:
            if consumer.process is process:
                self.world.group.watch(consumer)

    def _working(self) -> list[Process]:
        return [one for one in self.processes if not one.stopped and not self._mains[one].done()]

    def _staying(self) -> list[Process]:
        return [one for one in self._working() if not self._mains[one].cancelling()]

    def _stopped(self, process: Process, kind: str) -> None:
        """Its heartbeats end. Somebody else takes over; a frozen process goes on in the middle of that."""
        rng, net = self.rng, self.net
        for consumer in self.world.consumers:
            if consumer.process is process:
                self.world.group.watch(consumer)
        if not self._working() or rng.random() < 0.3:
            net.later(rng.choice((0.0, 0.2)), self._start)
        if kind == "freeze":
            if rng.random() < 0.4:
                calls = rng.choice(("init", "restore", "claim", "check", "write", "store", "commit"))
                net.wakers.append((calls, process))
            else:
                net.later(rng.choice((0.1, SESSION + 0.2, 2 * SESSION, HEALED)), net.wake, process)
        self._struck.set()

    def _woken(self, process: Process) -> None:
        """Its next heartbeat is told that it is no member any more."""
        for consumer in self.world.consumers:
            if consumer.process is process and consumer not in self.world.group.members:
                self.net.later(self.rng.choice((0.0, 0.05, 0.3)), consumer.ask_to_join)

    # ── faults ───────────────────────────────────────────────────────────────────────────────────

    async def _fault(self) -> None:
        rng, net = self.rng, self.net
        chance = rng.random()
        if chance < 0.3:
            self._hit_world(rng.choice(WORLD_FAULTS))
            await asyncio.sleep(rng.choice((0.0, 0.05, 0.5)))
            return
        self._struck.clear()
        if chance < 0.4 and self._working():
            rng.choice(self._working()).fuse = rng.randint(1, 120)
        else:
            call = rng.choice(_TARGETS)
            kind = rng.choice(STOPS) if rng.random() < 0.65 else rng.choice(LOSSES)
            net.armed.append((kind, call, rng.choice(("sent", "served"))))
            if kind in LOSSES and rng.random() < 0.5:
                return  # and the next one on top of it
        with suppress(TimeoutError):
            async with asyncio.timeout(rng.choice((0.3, 3.0))):
                await self._struck.wait()

    def _hit_world(self, kind: str) -> None:
        rng, net, world = self.rng, self.net, self.world
        net.strike(kind, "world", "")
        if kind == "join":
            self._start()
        elif kind == "leave":
            for process in self._staying()[:1]:
                self._mains[process].cancel()
            self._start()
        elif kind == "rebalance":
            if world.group.members:
                world.group.rebalance()
        elif kind in ("kafka away", "mongo away"):
            net.away[KAFKA if kind == "kafka away" else MONGO] = net.loop.time() + rng.choice((0.3, 1.5))
        elif kind == "compaction":
            world.compact()
        else:
            for source in world.sources:
                world.broker.group_offsets[source] = rng.randint(0, world.broker.partition(source).end)

    async def _heal(self) -> None:
        """No more faults; some who are frozen go on, and somebody is there to work."""
        rng, net = self.rng, self.net
        net.armed.clear()
        net.wakers.clear()
        net.away = dict.fromkeys(net.away, 0.0)
        for process in self.processes:
            process.fuse = 0
            if rng.random() < 0.5:
                net.wake(process)
        if not self._staying() or rng.random() < NEW_AT_THE_END:
            self._start()
        while self.world.pending:
            self.world.grow()
            await asyncio.sleep(rng.choice((0.0, 0.02)))


_TARGETS = [name for calls in CALLS.values() for name in calls]
_TARGETS += ["check", "store", "produce", "commit"] * 6
"""The calls that faults wait for: those between the documents and the commit more often."""
