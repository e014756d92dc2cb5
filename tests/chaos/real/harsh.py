"""The further faults of L2: what happens to topics, schema, disks and clocks in years, within minutes."""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time

import httpx
import psutil
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.new_partitions import NewPartitions
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import RecordMetadata
from tests.chaos.real import evidence
from tests.chaos.real.faults import Fault, Kind, mark
from tests.chaos.real.load import execute
from tests.chaos.real.world import NAMES, World
from tests.e2e.app_process import ROOT, environment
from tests.waiting import until

from snacks.cdc import CDC_TOPICS, connector, topics
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS, DEAD_LETTERS
from snacks.config import Settings
from snacks.platform import PlatformError, clients, install

WITHIN = 90.0
NOTICED = 330.0
"""A consumer looks every five minutes whether a topic has more partitions."""
FULL = 4096
"""Bytes that a file may have on a full disk: what is longer cannot grow."""
COMPACTION = {"segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001", "max.compaction.lag.ms": "1000"}
POISON = (
    b"",
    b"{",
    b"[]",
    b"null-ish",
    b'{"order_id": 7}',
    b'{"order_id": "other", "item_id": "1"}',
    b"\xff\xfe",
)


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def _reconciled(world: World) -> None:
    """What was lost before anybody read it is brought back from MySQL, as the docs say."""
    argv = [sys.executable, "-m", "snacks", "reconcile"]
    child = await asyncio.create_subprocess_exec(
        *argv,
        env=environment(world.settings),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(240):
            told, _ = await child.communicate()
    finally:
        with suppress(ProcessLookupError):
            child.kill()
    assert child.returncode == 0, told.decode()[-800:]


# ── topics ───────────────────────────────────────────────────────────────────────────────────────


async def compact(world: World, fault: Fault) -> str:
    """Checkpoints and aggregates are compacted without a pause; the settings stay for a while."""
    before = _cleaned(world)
    async with admin(world.settings) as client:
        for topic in (CHECKPOINTS, AGGREGATES):
            wanted = next(one.config for one in topics.load() if one.name == topic)
            changed = ConfigResource(ConfigResourceType.TOPIC, topic, dict(wanted) | COMPACTION)
            await client.alter_configs([changed])
    await until(lambda: _cleaned(world) > before, within=WITHIN, every=0.5)
    await asyncio.sleep(fault.seconds)
    return f"offsets cleaned: {before} before, {_cleaned(world)} now"


def _cleaned(world: World) -> int:
    """How far the broker's cleaner has come in all partitions of the compacted topics."""
    file = world.settings.state_dir / "data" / "kafka" / "cleaner-offset-checkpoint"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return sum(int(line.split()[2]) for line in lines if line.startswith((CHECKPOINTS, AGGREGATES)))


async def delete_records(world: World, _: Fault) -> str:
    """The CDC topics lose everything that was folded."""
    count = await _deleted(world, await _folded(world))
    return f"{count} records deleted" if count else ""


async def lose_records(world: World, fault: Fault) -> str:
    """Both processes are away, and the topics lose what they have not read: it comes back from MySQL."""
    said = [mark(member) for member in world.members]
    await asyncio.gather(*(member.stop() for member in world.members))
    await asyncio.sleep(fault.seconds)
    held = await evidence.records(world.settings, CDC_TOPICS)
    ends = {TopicPartition(one.topic, one.partition): one.offset + 1 for one in held}
    count = await _deleted(world, ends)
    for member in world.members:
        member.launch()
    for member in world.members:
        await until(member.ready, within=WITHIN, every=0.2)
    loud = any("records are missing between the checkpoint and the topic" in one() for one in said)
    await _reconciled(world)
    return f"{count} records deleted, and the log says which are missing" if loud else ""


async def _deleted(world: World, ends: dict[TopicPartition, int]) -> int:
    """Delete the records before these offsets. Those that were folded are kept for the rebuild.

    A broker that is killed within a minute brings some back. Nobody folded those that are lost then: they do
    not count in the rebuild.
    """
    folded = await _folded(world)
    held = await evidence.records(world.settings, CDC_TOPICS)
    async with admin(world.settings) as client:
        await client.delete_records({one: RecordsToDelete(before_offset=end) for one, end in ends.items()})
    gone = [one for one in held if one.offset < ends.get(TopicPartition(one.topic, one.partition), 0)]
    for one in gone:
        place = evidence.place(one)
        if one.offset >= folded[TopicPartition(one.topic, one.partition)]:
            world.lost.add(place)
        elif place not in world.lost:
            world.kept[place] = one
    return len(gone)


async def _folded(world: World) -> dict[TopicPartition, int]:
    """By the checkpoints, the next offset to fold of each source."""
    return {
        TopicPartition(topic, record.partition): offset
        for record in await evidence.records(world.settings, [CHECKPOINTS])
        if record.key == b"@shard"
        for topic, offset in evidence.offsets(record.value).items()
    }


async def poison(world: World, _: Fault) -> str:
    """Records that mean nothing, in every partition of every CDC topic."""
    sent: list[RecordMetadata] = []
    async with AIOKafkaProducer(bootstrap_servers=world.settings.kafka) as producer:
        for topic in CDC_TOPICS:
            for shard in range(world.settings.partitions):
                value = POISON[(shard + len(sent)) % len(POISON)]
                sent.append(await producer.send_and_wait(topic, value, b'{"order_id": "w-poison"}', shard))
    wanted = {f"{one.topic}/{one.partition}/{one.offset}" for one in sent}

    async def set_aside() -> bool:
        letters = await evidence.records(world.settings, [DEAD_LETTERS])
        return wanted <= {letter.key.decode() for letter in letters}

    await until(set_aside, within=WITHIN, every=0.5)
    return f"{len(sent)} records became dead letters"


async def add_partition(world: World, _: Fault) -> str:
    """One CDC topic gets a partition more: there is no way back, so it is the last that is done.

    Who starts then refuses, and who is running holds its shards and says why.
    """
    first, second = world.members
    async with admin(world.settings) as client:
        await client.create_partitions({CDC_TOPICS[0]: NewPartitions(world.settings.partitions + 1)})
    said = mark(first)
    await first.stop()
    first.launch()
    assert first.child is not None
    code = await asyncio.to_thread(first.child.wait, WITHIN)
    refused = code != 0 and "SNACKS_PARTITIONS" in said()

    async def held() -> bool:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(f"{second.url(0)}/health/ready")
        return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "partitions" in answer.text

    await until(held, within=NOTICED, every=0.5)
    return f"the start ended with {code}, the other process holds and says why" if refused else ""


# ── MySQL and Debezium ───────────────────────────────────────────────────────────────────────────


async def snapshot_again(world: World, _: Fault) -> str:
    """The connector's place in the binlog is lost; all rows come again. Deletes of that moment need MySQL."""
    before = await _captured(world)
    rows = sum(map(len, (await evidence.tables(world.settings)).values()))
    with suppress(connector.ConnectorError):  # it did not run in time: what comes of it is waited for below
        await connector.snapshot_again(world.settings)

    async def came() -> bool:
        await connector.resume(world.settings)  # in case that it was stopped, and no more
        return await _captured(world) - before >= rows // 2

    await until(came, within=WITHIN, every=0.5)
    await _reconciled(world)
    return f"{await _captured(world) - before} records for {rows} rows"


async def _captured(world: World) -> int:
    return sum(one.records for one in await topics.describe(world.settings) if one.name in CDC_TOPICS)


async def change_schema(world: World, fault: Fault) -> str:
    """A column comes and goes while rows are written."""
    for table in ("item_detail", "shipping_location", "payment"):
        await execute(world.settings, [(f"ALTER TABLE {table} ADD COLUMN gift VARCHAR(9) DEFAULT 'no'", ())])
    try:
        await asyncio.sleep(fault.seconds)
        count = "SELECT COUNT(*) FROM information_schema.columns WHERE column_name = 'gift'"
        found = await execute(world.settings, [(count, ())])
    finally:
        for table in ("item_detail", "shipping_location", "payment"):
            await execute(world.settings, [(f"ALTER TABLE {table} DROP COLUMN gift", ())])
    return f"{found[0][0]} tables had a column more" if found[0][0] == 3 else ""


# ── disks and clocks ─────────────────────────────────────────────────────────────────────────────


async def fill_disk(world: World, fault: Fault) -> str:
    """No file of the server can grow (a limit of the process, EFBIG): it ends, or lives on and says so."""
    pid = world.platform.pid(fault.target)
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL, hard))
    try:
        await until(lambda: not psutil.pid_exists(pid), within=fault.seconds, every=0.1)
    except AssertionError:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        world.platform.kill(fault.target)
    await world.platform.healthy(fault.target, not_pid=pid)
    return f"process {pid} could not write"


async def move_clock(world: World, fault: Fault) -> str:
    """A process whose wall clock is hours wrong, until the fault is over."""
    member = world.member(fault.target)
    hours = 3 if int(fault.seconds * 10) % 2 else -3
    library = await asyncio.to_thread(_faketime, world.settings)
    moved = {"LD_PRELOAD": str(library), "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    await member.stop()
    member.launch(moved)
    try:
        await until(member.ready, within=WITHIN, every=0.2)
        await asyncio.sleep(fault.seconds)
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(f"{member.url(0)}/health/live")
        off = parsedate_to_datetime(answer.headers["date"]).timestamp() - time()
    finally:
        await member.stop()
        member.launch()
    return f"its clock was {off / 3600:+.1f} h off" if abs(off) > 3600 else ""


def _faketime(settings: Settings) -> Path:
    """libfaketime from Debian's packages, in the cache.

    Raises:
        PlatformError: it cannot be had here.
    """
    folder = settings.cache_dir / "libfaketime"

    def make(unpacked: Path) -> None:
        clients.debian(["libfaketime"], unpacked, settings.cache_dir / "libfaketime.apt")

    install.template(folder, settings.cache_dir / f"libfaketime.{os.getpid()}", make)
    library = next(folder.glob("**/libfaketime.so.1"), None)
    if library is None:
        raise PlatformError(f"no libfaketime in {folder}")
    return library


HARSH = {
    "compaction": Kind(compact, ("kafka",), (5, 20)),
    "records deleted": Kind(delete_records, ("kafka",)),
    "records lost unread": Kind(lose_records, ("kafka",), (1, 4)),
    "poison": Kind(poison, ("kafka",)),
    "new snapshot": Kind(snapshot_again, ("connect",)),
    "live DDL": Kind(change_schema, ("database",), (2, 8)),
    "disk full": Kind(fill_disk, ("kafka", "database", "mongod"), (4, 10)),
    "clock moved": Kind(move_clock, NAMES, (4, 10)),
}
FINALE = {"partitions added": Kind(add_partition, ("kafka",))}
"""Comes once, at the very end."""
