"""A server that is away for long: memory stays bounded, the reason is told, and all goes on by itself."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec.structs import replace
from pymongo.errors import NetworkTimeout
from tests.folding import actors, everything, produce, runs, status_is, total
from tests.given import item, payment, place, value
from tests.waiting import until

from snacks.actors import OrderHost, inbox
from snacks.actors.checkpoint import Checkpoint
from snacks.actors.host import POLL_RECORDS
from snacks.actors.orders import Entry
from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.documents import Documents, Emission
from snacks.domain.order import CustomerOrder
from snacks.platform import Platform

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def frozen(lab: Platform, name: str) -> AsyncIterator[None]:
    """The server does not answer, and does not refuse either."""
    lab.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        lab.kill(name, signal.SIGCONT)


async def published_statuses(settings: Settings, order_id: str) -> list[str]:
    found = [body for key, body in await everything(settings, AGGREGATES) if key == order_id]
    return [msgspec.json.decode(body or b"", type=CustomerOrder).order_status.value for body in found]


async def test_a_commit_that_timed_out_is_fenced_restored_and_folded_again_exactly_once(
    given: Settings, lab: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = replace(given, commit_timeout=4.0)
    commit = AIOKafkaProducer.commit_transaction
    froze: list[AIOKafkaProducer] = []

    async def freezes_the_broker(self: AIOKafkaProducer) -> None:
        if not froze:
            froze.append(self)
            lab.kill("kafka", signal.SIGSTOP)
        await commit(self)

    async with actors(hasty) as host:
        await until(runs(host, hasty.partitions))
        fenced = host._shards[0]._checkpoint._producer
        monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", freezes_the_broker)
        await produce(hasty, *map(value, (item(), place())))
        try:
            await until(lambda: froze)
            await until(lambda: "the broker does not answer" in host.status().shards[0].reason)
            assert froze == [fenced]
            assert host.status().shards[0].state != "running"
        finally:
            lab.kill("kafka", signal.SIGCONT)
        await until(runs(host, hasty.partitions), within=90)
        assert host._shards[0]._checkpoint._producer not in (None, fenced)
        # Or both are folded in one cycle, if its first had the item alone, and PENDING is never published.
        await until(lambda: status_is(hasty, "PENDING"), within=90)
        await produce(hasty, value(payment()))
        await until(lambda: status_is(hasty, "PAID"), within=90)
        # MongoDB comes first, then the commit.
        await until(lambda: published_is(hasty, ["PENDING", "PAID"]))


async def published_is(settings: Settings, statuses: list[str]) -> bool:
    return await published_statuses(settings, "kit-1") == statuses


async def test_while_mongodb_is_frozen_what_waits_is_bounded_and_nothing_is_lost(
    given: Settings, lab: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "BACKLOG_RECORDS", 1_000)
    records = [value(make(f"kit-{n}")) for n in range(6_000) for make in (item, place)]
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        members = host.status().shards
        most: Counter[str] = Counter()
        async with frozen(lab, "mongod"):
            await produce(given, *records)

            def full() -> bool:
                first = host._shards[0]
                most["waiting"] = max(most["waiting"], len(first.inbox))
                return first.inbox.full and "MongoDB does not answer" in host.status().reason

            await until(full)
            turns = host._turns
            await until(lambda: full() and host._turns > turns + 10)  # it polls on, and takes no more
            assert most["waiting"] < 1_000 + POLL_RECORDS
            assert not host.status().ready
            assert len(host.status().shards) == len(members), "it stays in the group"
        await until(lambda: total(host, "folded") == len(records), within=90)
        await until(runs(host, given.partitions))
    async with Documents(given.mongo, given.mongo_database) as documents:
        assert sum((await documents.counts()).values()) == 6_000


async def test_a_mongodb_that_is_too_slow_for_a_whole_cycle_gets_smaller_ones(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = Documents.emit
    sizes: list[int] = []

    async def slow(self: Documents, emissions: Sequence[Emission], *more: Any) -> None:
        sizes.append(len(emissions))
        if len(emissions) > 400:
            raise NetworkTimeout("it takes too long")
        await emit(self, emissions, *more)

    monkeypatch.setattr(Documents, "emit", slow)
    await produce(given, *[value(make(f"kit-{n}")) for n in range(2_000) for make in (item, place)])
    async with actors(given) as host:
        await until(lambda: "MongoDB is too slow" in host.status().reason, within=90)
        await until(lambda: total(host, "folded") == 4_000, within=90)
    assert max(sizes) > 400


async def test_a_broker_that_was_frozen_past_the_session_is_read_on_from_without_a_restart(
    given: Settings, lab: Platform
) -> None:
    hasty = replace(given, session_timeout=6.0, commit_timeout=3.0)
    async with actors(hasty) as host:
        await until(runs(host, hasty.partitions))
        await produce(hasty, *map(value, (item(), place())))
        await until(lambda: status_is(hasty, "PENDING"))
        tasks = len(asyncio.all_tasks())
        async with frozen(lab, "kafka"):
            await until(lambda: "the broker does not answer" in host.status().reason)
            await asyncio.sleep(hasty.session_timeout)  # how long it is away, not a wait
            assert not host.status().ready
        await until(lambda: sent(hasty))
        await until(lambda: status_is(hasty, "PAID"), within=90)
        await until(runs(host, hasty.partitions))
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 5)  # none are left behind


async def sent(settings: Settings) -> bool:
    with suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(5):
            await produce(settings, value(payment()))
            return True
    return False


async def test_a_consumer_that_is_closed_without_a_broker_leaves_no_task_behind(
    given: Settings, lab: Platform
) -> None:
    hasty = replace(given, drain_timeout=1.0, commit_timeout=1.0)
    await asyncio.sleep(0)
    before = asyncio.all_tasks()
    async with Documents(hasty.mongo, hasty.mongo_database) as documents:
        host = OrderHost(hasty, documents, "left")
        task = asyncio.create_task(host.run())
        await until(runs(host, hasty.partitions))
        async with frozen(lab, "kafka"):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await until(lambda: not _of_aiokafka(asyncio.all_tasks() - before))


async def test_a_producer_that_is_closed_without_a_broker_leaves_no_task_behind(
    given: Settings, lab: Platform
) -> None:
    before = asyncio.all_tasks()
    checkpoint = Checkpoint(replace(given, commit_timeout=3.0), 0)
    await checkpoint.fence()
    async with frozen(lab, "kafka"):
        with pytest.raises((TimeoutError, KafkaError)):
            await checkpoint.commit([Entry(b"kit-1", b"{}")], [], [], {"t": 1})
        await checkpoint.close()
        await until(lambda: not asyncio.all_tasks() - before, within=5)  # while the broker is away


def _of_aiokafka(tasks: set[asyncio.Task[object]]) -> list[str]:
    coroutines = [repr(task.get_coro()) for task in tasks]
    return [
        one for one in coroutines if "Fetcher" in one or "Coordinator" in one or "_md_synchronizer" in one
    ]


async def test_a_consumer_whose_metadata_task_has_ended_is_built_anew(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went on to fetch, and a shard that began anew waited for ever to learn where its topics begin."""

    async def broken(*_: object) -> bool:
        raise RuntimeError("the handler is closed")

    async with actors(given) as host:
        await until(runs(host, given.partitions))
        died = host._consumer
        assert died is not None
        monkeypatch.setattr(died._client, "_metadata_update", broken)
        waits_for_ever = died._client.force_metadata_update()
        await until(lambda: host._consumer not in (None, died), within=30)
        assert not waits_for_ever.done()
        assert not any(one.connected() for one in died._client._conns.values())
        await until(runs(host, given.partitions), within=60)
        await produce(given, *map(value, (item(), place())))
        await until(lambda: status_is(given, "PENDING"))
