"""The faults of L1: each is done for real, undone, and says by what it is known to have hit."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import psutil
from msgspec import Struct
from tests.chaos.real.evidence import epochs, logged
from tests.chaos.real.load import execute
from tests.chaos.real.proxy import DOWN, UP
from tests.chaos.real.world import NAMES, SERVERS, Member, World
from tests.waiting import until

from snacks.cdc import connector

LINKS = ("a-kafka", "a-mysql", "a-mongo", "b-kafka", "b-mysql", "b-mongo", "c-kafka", "c-mysql")
ENDS = {"kafka": "kafka", "mysql": "database", "mongo": "mongod", "c": "connect"}
HIT_WITHIN = 15.0
"""Seconds that a fault of a link waits for traffic to hit."""
SLOW_RESTORE = 20_000
"""Bytes a second at which a restore takes long enough to be caught at it."""


class Fault(Struct, frozen=True):
    """One thing that breaks: its kind (a key of `KINDS`), what it hits, for how many seconds."""

    kind: str
    target: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target}".strip() + (f" for {self.seconds:.1f} s" if self.seconds else "")

    @property
    def parts(self) -> set[str]:
        """What it takes away: two faults that share a part do not come at once."""
        if self.kind in ALONE:
            return {*NAMES, *SERVERS}
        if self.kind.startswith("link"):
            return {ENDS.get(end, end) for end in self.target.split("-")}
        if self.kind == "restart connector":
            return {"connect", "database", "kafka"}
        return {self.target}


class Kind(Struct, frozen=True):
    """How a kind of fault is done. `seconds` are the shortest and the longest that it lasts."""

    do: Callable[[World, Fault], Awaitable[str]]
    targets: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)
    weight: int = 1
    """How many of it are in a deck (see plan.py)."""


# ── processes ────────────────────────────────────────────────────────────────────────────────────


async def kill_process(world: World, fault: Fault) -> str:
    member = world.member(fault.target)
    pid = member.pid
    await member.kill()
    await asyncio.sleep(fault.seconds)
    member.launch()
    return "" if psutil.pid_exists(pid) else f"process {pid} is gone"


async def kill_restoring(world: World, fault: Fault) -> str:
    """Killed, started with a slow link, and killed again while it restores."""
    member = world.member(fault.target)
    shards = await _caught_restoring(world, member, signal.SIGKILL)
    pid = member.pid
    await member.kill()
    member.launch()
    gone = not psutil.pid_exists(pid)
    return f"process {pid} is gone, it was restoring shards {sorted(shards)}" if shards and gone else ""


async def freeze_restoring(world: World, fault: Fault) -> str:
    """Frozen while it restores, until the other process runs all shards: then it restores on."""
    member = world.member(fault.target)
    try:
        shards = await _caught_restoring(world, member, signal.SIGSTOP)
        before = await epochs(world.settings)
        taker = await _taken_over(world, member)
        await asyncio.sleep(fault.seconds)
        now = await epochs(world.settings)
        lost = sorted(shard for shard in shards if now[shard] > before[shard])
        stopped = psutil.Process(member.pid).status() == psutil.STATUS_STOPPED
    finally:
        member.send(signal.SIGCONT)
    return f"stopped while it restored shards {lost}; {taker}" if lost and stopped else ""


async def _caught_restoring(world: World, member: Member, how: signal.Signals) -> set[int]:
    """Kill it, start it with a slow link, and send it `how` while it restores. Which shards it was at.

    A shard restores from its claim in MongoDB on, until the log says that it runs.
    """
    link = world.links[f"{member.name}-kafka"]
    await member.kill()
    said = mark(member)
    link.throttle(SLOW_RESTORE)
    try:
        member.launch()
        assigned = await until(lambda: logged(said(), "shards assigned"), within=60)
        before = await epochs(world.settings)

        async def restoring() -> set[int]:
            now = await epochs(world.settings)
            claimed = {one for one in assigned[-1]["shards"] if now.get(one, 0) > before.get(one, 0)}
            return claimed - {one["shard"] for one in logged(said(), "shard runs")}

        await until(restoring, within=60)
        member.send(how)
        return await restoring()
    finally:
        link.heal()


def mark(member: Member) -> Callable[[], str]:
    """What its log has said since now."""
    begin = member.log.stat().st_size

    def said() -> str:
        with member.log.open("rb") as log:
            log.seek(begin)
            return log.read().decode("utf-8", errors="replace")

    return said


async def freeze_process(world: World, fault: Fault) -> str:
    member = world.member(fault.target)
    child = psutil.Process(member.pid)
    child.suspend()
    try:
        await asyncio.sleep(fault.seconds)
        evidence = f"process {child.pid} {child.status()}"
    finally:
        child.resume()
    return evidence if evidence.endswith(psutil.STATUS_STOPPED) else ""


async def freeze_past_session(world: World, fault: Fault) -> str:
    """Frozen until the other process runs all shards."""
    member = world.member(fault.target)
    child = psutil.Process(member.pid)
    child.suspend()
    try:
        taker = await _taken_over(world, member)
        await asyncio.sleep(fault.seconds)
    finally:
        child.resume()
    return taker


async def _taken_over(world: World, member: Member) -> str:
    """Wait until the other process runs all shards; says which one it is."""
    other = world.other(member)

    async def all_shards() -> bool:
        return await other.running_shards() == world.settings.partitions

    await until(all_shards, within=90, every=0.2)
    return f"process {other.pid} had taken over all shards"


async def leave_and_join(world: World, fault: Fault) -> str:
    member = world.member(fault.target)
    code = await member.stop()
    await asyncio.sleep(fault.seconds)
    member.launch()
    return f"it ended with code {code}" if code == 0 else ""


# ── servers ──────────────────────────────────────────────────────────────────────────────────────


async def kill_server(world: World, fault: Fault) -> str:
    pid = world.platform.kill(fault.target)
    await world.platform.healthy(fault.target, not_pid=pid)
    return f"process {pid} is gone, {world.platform.pid(fault.target)} is its successor"


async def freeze_server(world: World, fault: Fault) -> str:
    platform = world.platform
    child = psutil.Process(platform.kill(fault.target, signal.SIGSTOP))
    try:
        await asyncio.sleep(fault.seconds)
        evidence = f"process {child.pid} {child.status()}"
    finally:
        platform.kill(fault.target, signal.SIGCONT)
    return evidence if evidence.endswith(psutil.STATUS_STOPPED) else ""


async def stop_server(world: World, fault: Fault) -> str:
    pid = world.platform.pid(fault.target)
    try:
        await world.platform.stop(fault.target)
        await asyncio.sleep(fault.seconds)
        evidence = "" if psutil.pid_exists(pid) else f"process {pid} was gone for {fault.seconds:.1f} s"
    finally:
        await world.platform.start(fault.target)
    return evidence


async def restart_connector(world: World, fault: Fault) -> str:
    """Its reader of the binlog is another one afterwards."""
    before = await _binlog_readers(world)
    await connector.restart(world.settings)

    async def another() -> set[int]:
        return await _binlog_readers(world) - before

    return f"reads the binlog in session {await until(another, within=60, every=0.2)}, before in {before}"


async def _binlog_readers(world: World) -> set[int]:
    asked = "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%%'"
    return {row[0] for row in await execute(world.settings, [(asked, ())], root=True)}


# ── links ────────────────────────────────────────────────────────────────────────────────────────


async def cut_link(world: World, fault: Fault) -> str:
    return await _on_link(world, fault, world.links[fault.target].cut)


async def hold_link(world: World, fault: Fault) -> str:
    # Connect says next to nothing to MySQL: the binlog comes down.
    way = UP if int(fault.seconds * 10) % 2 and fault.target != "c-mysql" else DOWN
    return await _on_link(world, fault, lambda: world.links[fault.target].hold(way))


async def delay_link(world: World, fault: Fault) -> str:
    return await _on_link(world, fault, lambda: world.links[fault.target].delay(fault.seconds / 20))


async def throttle_link(world: World, fault: Fault) -> str:
    return await _on_link(world, fault, lambda: world.links[fault.target].throttle(int(fault.seconds * 2000)))


async def reset_link(world: World, fault: Fault) -> str:
    return await _on_link(world, fault, world.links[fault.target].reset)


async def _on_link(world: World, fault: Fault, break_it: Callable[[], None]) -> str:
    link = world.links[fault.target]
    before = link.touched
    break_it()
    try:
        await asyncio.sleep(fault.seconds)
        await until(lambda: link.touched > before, within=HIT_WITHIN)
    except AssertionError:
        return ""  # nobody used the link
    finally:
        link.heal()
    return f"{link.touched - before} connections or chunks were hit"


KINDS = {
    "kill process": Kind(kill_process, NAMES, (0, 9), weight=2),
    "kill while restoring": Kind(kill_restoring, NAMES),
    "freeze process": Kind(freeze_process, NAMES, (1, 4), weight=2),
    "freeze past session": Kind(freeze_past_session, NAMES, (0, 2)),
    "freeze while restoring": Kind(freeze_restoring, NAMES, (0, 2)),
    "leave and join": Kind(leave_and_join, NAMES, (0, 9), weight=2),
    "kill server": Kind(kill_server, SERVERS, weight=4),
    "freeze server": Kind(freeze_server, SERVERS, (1, 6), weight=4),
    "stop server": Kind(stop_server, SERVERS, (1, 8)),
    "restart connector": Kind(restart_connector, ("",)),
    "link cut": Kind(cut_link, LINKS, (1, 6), weight=2),
    "link cut one way": Kind(hold_link, LINKS, (1, 8), weight=2),
    "link delay": Kind(delay_link, LINKS, (2, 6)),
    "link throttle": Kind(throttle_link, LINKS, (2, 6)),
    "link reset": Kind(reset_link, LINKS),
}
ALONE = frozenset(
    {"freeze past session", "kill while restoring", "freeze while restoring", "records lost unread"}
    | {"records deleted", "new snapshot", "poison", "compaction"}
)
"""Kinds that need everything else to work."""
