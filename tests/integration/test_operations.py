"""How much is done for a record, counted, not timed: a drain that begins to do more fails here."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from bench import generator, servers
from bench.queries import plans
from msgspec import Struct
from msgspec.structs import replace
from pymongo import AsyncMongoClient
from tests.commanding import create
from tests.sql import connected, query
from tests.waiting import until

from snacks.actors import OrderHost
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS
from snacks.config import Settings
from snacks.documents import Documents
from snacks.platform import Platform
from snacks.tables import FACTS, Tables

ORDERS = 600


class Drained(Struct):
    """What a drain of ORDERS orders did."""

    records: int
    cycles: int
    published: int
    transactions: int
    documents: int
    document_transactions: int
    aggregate_bytes: int
    checkpoint_bytes: int


@pytest.fixture(scope="module")
async def drained(lab: Platform) -> AsyncIterator[Drained]:
    name = uuid4().hex[:8]
    settings = replace(lab.settings, group_id=f"g-{name}", mongo_database=f"d-{name}")
    await servers.clear(settings, sources=True)
    backlog = await generator.write(settings, ORDERS, "flat")
    async with (
        Documents(settings.mongo, settings.mongo_database) as documents,
        servers.mongo(settings) as client,
    ):
        before = await counters(client)
        host = OrderHost(settings, documents)
        hosting = asyncio.create_task(host.run())

        def done() -> bool:
            return sum(shard.folded for shard in host.status().shards) == backlog.records

        try:
            await until(done, within=60)
            shards = host.status().shards
        finally:
            hosting.cancel()
            with suppress(asyncio.CancelledError):
                await hosting
        after = await counters(client)
        published = sum(shard.published for shard in shards)

        async def all_to_be_seen() -> bool:  # a commit is acknowledged before it shows
            return (await contents(settings, AGGREGATES))[1] == published

        await until(all_to_be_seen)
        _, _, aggregate_bytes = await contents(settings, AGGREGATES)
        end, records, checkpoint_bytes = await contents(settings, CHECKPOINTS)
        yield Drained(
            records=backlog.records,
            cycles=sum(shard.cycles for shard in shards),
            published=published,
            transactions=end - records,  # each leaves one marker in the shard's checkpoint partition
            documents=after["documents"] - before["documents"],
            document_transactions=after["transactions"] - before["transactions"],
            aggregate_bytes=aggregate_bytes,
            checkpoint_bytes=checkpoint_bytes,
        )


async def counters(client: AsyncMongoClient[dict[str, Any]]) -> Mapping[str, int]:
    """What MongoDB has counted since it started."""
    status = await client.admin.command("serverStatus")
    document = status["metrics"]["document"]
    return {
        "documents": document["inserted"] + document["updated"],
        "transactions": status["transactions"]["totalCommitted"],
    }


async def contents(settings: Settings, topic: str) -> tuple[int, int, int]:
    """The sum of the partitions' ends, the committed records, and the bytes of their keys and values."""
    records = size = total = 0
    async with servers.reader(settings) as anybody:
        for source in servers.partitions(settings, topic):
            anybody.assign([source])
            end = (await anybody.end_offsets([source]))[source]
            total += end
            await anybody.seek_to_beginning(source)
            while await anybody.position(source) < end:
                for record in (await anybody.getmany(source, timeout_ms=500)).get(source, ()):
                    records += 1
                    size += len(record.key) + len(record.value or b"")
    return total, records, size


def test_a_cycle_is_one_transaction_in_kafka(drained: Drained) -> None:
    assert drained.transactions == drained.cycles


def test_a_cycle_is_at_most_one_transaction_in_mongodb(drained: Drained) -> None:
    assert 0 < drained.document_transactions <= drained.cycles


def test_a_document_is_written_once_for_each_aggregate_that_is_published(drained: Drained) -> None:
    claims = drained.document_transactions + 6  # the claim is written in each, and once by each new owner
    assert drained.published <= drained.documents <= drained.published + claims


def test_a_backlog_is_folded_in_few_cycles_and_an_order_is_published_once_in_each(drained: Drained) -> None:
    assert drained.cycles <= 6 * 6
    assert drained.published <= 2.5 * ORDERS
    assert drained.published < drained.records / 3


def test_what_is_written_for_a_record_stays_small(drained: Drained) -> None:
    assert drained.aggregate_bytes / drained.published < 830  # 762 when this was written
    assert drained.checkpoint_bytes / drained.published < 930  # 845; the positions of the rows among them


async def test_every_query_that_is_served_is_answered_from_an_index(lab: Platform) -> None:
    settings = replace(lab.settings, mongo_database=f"d-{uuid4().hex[:8]}")
    async with Documents(settings.mongo, settings.mongo_database) as documents:
        for name, plan in (await plans(settings, documents, "kit-1")).items():
            assert plan.plan_summary.startswith(("IDHACK", "IXSCAN", "COUNT_SCAN")), f"{name}: {plan}"
            assert plan.docs_examined <= plan.nreturned, f"{name}: {plan}"


async def test_what_a_command_looks_for_is_found_by_primary_keys(platform: Platform) -> None:
    settings = platform.settings
    tables = Tables(settings)
    await tables.open()
    try:
        await tables.execute(create("plan-1", "1", "2"))
        async with connected(settings) as connection:
            plan = await query(connection, f"EXPLAIN {FACTS} FOR UPDATE", "plan-1")
    finally:
        await tables.close()
    by_table = {row[2]: row for row in plan}
    assert set(by_table) == {"i", "s", "p"}
    assert {row[6] for row in plan} == {"PRIMARY"}, plan
