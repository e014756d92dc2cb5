"""Plays rounds of faults under load, waits after each until all is converged, and checks what must hold."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import psutil
from pymongo.errors import PyMongoError
from tests.chaos.real import checks, evidence
from tests.chaos.real.faults import KINDS, Fault, Kind
from tests.chaos.real.harsh import FINALE
from tests.chaos.real.load import WILD, Load, insist, whole
from tests.chaos.real.plan import Round
from tests.chaos.real.readers import Readers
from tests.chaos.real.report import Done, Invariant, Report
from tests.chaos.real.world import World, world

from snacks.cdc import CDC_TOPICS
from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.documents import Documents
from snacks.repair.partition import partition_of

GIVEN_UP = 90.0
"""Seconds after which a round counts as never converged."""
SETTLED = 30.0
"""Seconds that the last changes get before everything is compared."""
CHECK_EVERY = 10
"""Rounds between two looks at everything."""
Say = Callable[[str], None]

MONGODB, TOPIC, ANSWERS = (
    "MongoDB is the fold of MySQL",
    "the topic's last value is MongoDB's",
    "answers were true",
)
STEPS, REBUILT, RECOVERY = "no reader saw a step back", "rebuilt byte by byte", "converged in time"
READY, RESOURCES, HIT = "ready again by itself", "memory, descriptors, tasks as before", "every fault hit"
INVARIANTS = (MONGODB, TOPIC, ANSWERS, STEPS, REBUILT, RECOVERY, READY, RESOURCES, HIT)


async def play(
    settings: Settings,
    seed: int,
    rounds: Iterable[Round],
    *,
    seconds: float = float("inf"),
    limit: float = 10.0,
    kinds: Mapping[str, Kind] = KINDS,
    finale: Sequence[Round] = (),
    plant: str = "",
    say: Say = print,
    tell: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Play these rounds, or as many as fit into `seconds`.

    `tell` gets the report as it is after each look at everything.
    `limit`: seconds from healing within which 99 of 100 rounds must have converged.
    """
    began = time.monotonic()
    async with world(settings, plant) as system:
        say(f"seed {seed}: everything is up ({time.monotonic() - began:.0f} s)")
        conductor = Conductor(system, seed, {**kinds, **FINALE}, say)
        return await conductor.run(rounds, finale, seconds, limit, tell)


class Conductor:
    """One play. Its report grows as it goes on."""

    def __init__(self, system: World, seed: int, kinds: Mapping[str, Kind], say: Say) -> None:
        self.report = Report(seed, invariants=[Invariant(name) for name in INVARIANTS])
        self._world = system
        self._kinds = kinds
        self._say = say
        self._load = Load(system, seed)
        self._readers = Readers(system, self._load, seed)
        self._recovery: list[float] = []
        self._loads: list[float] = []
        self._documents = Documents(system.settings.mongo, system.settings.mongo_database)
        self._began = time.monotonic()

    async def run(
        self,
        rounds: Iterable[Round],
        finale: Sequence[Round],
        seconds: float,
        limit: float,
        tell: Callable[[Report], None],
    ) -> Report:
        report = self.report
        async with self._documents, self._readers.reading():
            self._load.start()
            try:
                await self._converged(-1)
                report.resources["beginning"] = await self._resources()
                for number, faults in enumerate(rounds):
                    if time.monotonic() - self._began > seconds:
                        break
                    await self._round(number, faults)
                    report.rounds += 1
                    if (number + 1) % CHECK_EVERY == 0:
                        await self._check()
                        self._sum_up()
                        tell(report)
                await self._check(last=True)
                for faults in finale:
                    self._say(f"at the end: {await self._hit(faults)}")
                self._readers.check()
            except Exception as error:  # noqa: BLE001  (what was seen until then is told all the same)
                report.failed = repr(error)
            finally:
                await self._load.stop()
        self._invariant(RECOVERY).add(*checks.recovery_in_time(self._recovery, limit))
        self._sum_up()
        return report

    def _sum_up(self) -> None:
        report = self.report
        hits = [(one.what, one.evidence) for one in report.faults]
        self._invariant(HIT).checked, wrong = checks.faults_hit(hits)
        self._invariant(HIT).violations = wrong
        report.seconds = round(time.monotonic() - self._began, 1)
        cores, loads = psutil.cpu_count() or 1, self._loads
        report.load = round(sum(loads) / len(loads) / cores, 1) if loads else 0.0
        report.commands, report.answers = self._load.commands, dict(self._load.ledger.answers)
        shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        report.recovery = {
            name: round(checks.percentile(self._recovery, of), 2) for name, of in shares.items()
        }

    async def _round(self, number: int, faults: Round) -> None:
        told = await self._hit(faults)
        took = await self._converged(number)
        self._recovery.append(took)
        at = time.monotonic() - self._began
        self._say(f"{at:6.0f} s  round {number}: {told}; converged in {took:.1f} s")

    async def _hit(self, faults: Round) -> str:
        done = await asyncio.gather(*(self._do(fault) for fault in faults))
        self.report.faults += done
        self._load.check()
        self._readers.check()
        return "; ".join(f"{one.what} ({one.evidence or 'HIT NOBODY'})" for one in done)

    async def _do(self, fault: Fault) -> Done:
        began = time.monotonic()
        try:
            found = await self._kinds[fault.kind].do(self._world, fault)
        except Exception as error:  # noqa: BLE001  (then it hit nobody, and the play goes on)
            self.report.notes.append(f"{fault}: {error!r:.500}")
            found = ""
        at, now = began - self._began, time.monotonic()
        return Done(round(at, 1), fault.kind, str(fault), found, round(now - began, 1))

    # ── convergence ──────────────────────────────────────────────────────────────────────────────

    async def _converged(self, number: int) -> float:
        """Seconds until a new order of each shard is in MongoDB. Waits until all are published and ready."""
        healed = time.monotonic()
        orders = [self._probe(number, shard) for shard in range(self._world.settings.partitions)]
        await insist(self._world.settings, [one for order_id in orders for one in whole(order_id)])
        took = await self._within(lambda: self._stored(orders), healed)
        if took is None:
            self._invariant(RECOVERY).add(0, [f"round {number}: not converged after {GIVEN_UP:.0f} s"])
        if await self._within(lambda: self._published(orders), healed) is None:
            self._invariant(RECOVERY).add(0, [f"round {number}: not published after {GIVEN_UP:.0f} s"])
        for member in self._world.members:
            ready = await self._within(member.ready, time.monotonic())
            wrong = [] if ready is not None else [f"round {number}: process {member.name} is not ready"]
            self._invariant(READY).add(1, wrong)
        return GIVEN_UP if took is None else took

    def _probe(self, number: int, shard: int) -> str:
        partitions = self._world.settings.partitions
        names = (f"{WILD}probe-{number}-{try_}" for try_ in itertools.count())
        return next(name for name in names if partition_of(name, partitions) == shard)

    async def _stored(self, orders: list[str]) -> bool:
        try:
            return all([await self._documents.get(order_id) for order_id in orders])
        except PyMongoError:
            return False

    async def _published(self, orders: list[str]) -> bool:
        self._readers.check()  # one that is dead sees nothing, and that is no fault of the system
        return all(self._readers.last.get(order_id) for order_id in orders)

    async def _within(self, reached: Callable[[], Awaitable[bool]], since: float) -> float | None:
        while not await reached():
            if time.monotonic() - since > GIVEN_UP:
                return None
            await asyncio.sleep(0.05)
        return time.monotonic() - since

    # ── invariants ───────────────────────────────────────────────────────────────────────────────

    async def _check(self, *, last: bool = False) -> None:
        """Let the load rest, and compare everything."""
        settings = self._world.settings
        await self._load.pause()
        await self._converged(10**6 + self.report.rounds)
        until = time.monotonic() + SETTLED
        while True:
            tables, documents = await evidence.tables(settings), await evidence.documents(settings)
            equal = checks.mongodb_equals_mysql(tables, documents)
            # In a cycle the documents come first: the topic may have its last batch a moment later.
            topic = evidence.newest(await evidence.records(settings, [AGGREGATES]))
            same = checks.topic_equals_mongodb(topic, documents)
            if not (equal[1] or same[1]) or time.monotonic() > until:
                break
            await asyncio.sleep(0.5)
        self._invariant(MONGODB).add(*equal)
        self._invariant(TOPIC).add(*same)
        self._invariant(ANSWERS).add(*self._load.ledger.check(tables))
        self._invariant(STEPS).checked = 0
        for steps in self._readers.steps.values():
            self._invariant(STEPS).add(steps.seen, steps.violations)
        self.report.orders = len(topic)
        self._loads.append(psutil.getloadavg()[0])
        self.report.seen = {name: steps.seen for name, steps in self._readers.steps.items()}
        if last:
            await self._rebuild(topic, documents)
            await asyncio.sleep(2)
            self.report.resources["end"] = await self._resources()
            self._invariant(RESOURCES).add(
                *checks.resources_back(self.report.resources["beginning"], self.report.resources["end"])
            )
        self._load.resume()
        broken = [one.name for one in self.report.invariants if one.violations]
        self._say(f"checked {len(documents)} documents, {len(topic)} keys: {broken or 'all holds'}")

    async def _rebuild(self, topic: checks.Topic, documents: dict[str, bytes]) -> None:
        world = self._world
        held = {evidence.place(one): one for one in await evidence.records(world.settings, CDC_TOPICS)}
        records = [one for place, one in (world.kept | held).items() if place not in world.lost]
        self._invariant(REBUILT).add(*checks.rebuilding_gives_the_same(records, topic, documents))

    async def _resources(self) -> dict[str, dict[str, int]]:
        return {member.name: await evidence.resources(member) for member in self._world.members}

    def _invariant(self, name: str) -> Invariant:
        return next(one for one in self.report.invariants if one.name == name)
