"""The actors against a real broker and a real MongoDB; the tests write the CDC records themselves."""

import json
from contextlib import suppress
from functools import partial

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import ProducerFenced
from tests.folding import actors, everything, produce, runs, status_is, status_of, total
from tests.given import item, payment, place, value
from tests.waiting import until

from snacks.actors import members
from snacks.actors.checkpoint import Checkpoint
from snacks.actors.orders import Entry
from snacks.actors.status import GroupStatus
from snacks.cdc import CDC_TOPICS
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS, DEAD_LETTERS
from snacks.config import Settings
from snacks.domain.order import CustomerOrder
from snacks.platform import Platform


async def test_records_become_an_aggregate_a_checkpoint_and_a_document(given: Settings) -> None:
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        await produce(given, *map(value, (item(), place(), payment())), partition=3)
        await until(lambda: total(host, "folded") == 3)
    published = await everything(given, AGGREGATES)
    assert {key for key, _ in published} == {"kit-1"}
    last = msgspec.json.decode(published[-1][1] or b"", type=CustomerOrder)
    assert (last.order_status, last.payment is not None) == ("PAID", True)
    checkpoints = dict(await everything(given, CHECKPOINTS))
    assert set(checkpoints) == {"kit-1", "@shard", "@read"}
    assert json.loads(checkpoints["@shard"] or b"") == dict.fromkeys(CDC_TOPICS, 1)


async def test_a_restart_goes_on_where_it_was_and_publishes_nothing_twice(given: Settings) -> None:
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        await produce(given, *map(value, (item(), place())))
        await until(lambda: total(host, "folded") == 2)
    before = await everything(given, AGGREGATES)
    await produce(given, value(payment()))
    async with actors(given) as host:
        await until(lambda: status_is(given, "PAID"))
        # MongoDB comes first, then the commit: what is counted is committed.
        await until(lambda: total(host, "folded") == 1)
    assert len(await everything(given, AGGREGATES)) == len(before) + 1


async def test_a_former_owner_cannot_commit_after_the_shard_was_fenced(given: Settings) -> None:
    former, next_owner = Checkpoint(given, 2), Checkpoint(given, 2)
    try:
        await former.fence()
        await former.commit([Entry(b"kit-1", b"{}")], [], [], {"t": 1}, {})
        await next_owner.fence()
        with pytest.raises(ProducerFenced):
            await former.commit([Entry(b"kit-1", b'{"revision":9}')], [], [], {"t": 9}, {})
        restored = await next_owner.restore(lambda _read, _total: None)
        assert (restored.states, restored.offsets) == ({"kit-1": b"{}"}, {"t": 1})
    finally:
        await former.close()
        await next_owner.close()


async def test_restore_reads_over_gaps_and_tombstones_to_the_end(given: Settings) -> None:
    checkpoint = Checkpoint(given, 1)
    try:
        await checkpoint.fence()
        for number in range(20):
            entries = [Entry(f"kit-{number}".encode(), b"{}"), Entry(b"kit-0", None if number % 2 else b"{}")]
            await checkpoint.commit(entries, [], [], {"t": number}, {})
        await checkpoint.fence()  # as a shard does before: it waits until what was committed shows
        seen: list[tuple[int, int]] = []
        restored = await checkpoint.restore(lambda read, total: seen.append((read, total)))
    finally:
        await checkpoint.close()
    assert set(restored.states) == {f"kit-{number}" for number in range(1, 20)}
    assert restored.offsets == {"t": 19}
    assert seen[-1][0] >= seen[-1][1] - 1  # the last marker of the last transaction may be unread


async def test_a_poison_record_is_set_aside_and_the_partition_goes_on(given: Settings) -> None:
    poison = (CDC_TOPICS[0], b'{"order_id":"kit-1","item_id":"1"}', b"not json")
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        await produce(
            given, value(item()), poison, value(place()), poison, value(item(item_status="FULFILLED"))
        )
        await until(lambda: status_is(given, "FULFILLED"))
        await until(lambda: total(host, "dead_letters") == 2)
    letters = await everything(given, DEAD_LETTERS)
    assert [key for key, _ in letters] == [f"{CDC_TOPICS[0]}/0/1", f"{CDC_TOPICS[0]}/0/2"]


async def test_the_group_offsets_show_the_lag_to_other_tools(given: Settings) -> None:
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        await produce(given, value(item()))

        async def committed() -> bool:
            admin = AIOKafkaAdminClient(bootstrap_servers=given.kafka)
            await admin.start()
            try:
                offsets = await admin.list_consumer_group_offsets(given.group_id)
            finally:
                await admin.close()
            found = offsets.get(TopicPartition(CDC_TOPICS[0], 0))
            return found is not None and found.offset == 1

        await until(committed)


async def test_two_processes_share_the_shards_and_one_takes_over(given: Settings) -> None:
    async with actors(given) as first:
        await until(runs(first, given.partitions))
        async with actors(given) as second:
            await until(lambda: runs(first, 3)() and runs(second, 3)())
            for partition in range(given.partitions):
                rows = (item(f"kit-{partition}"), place(f"kit-{partition}"))
                await produce(given, *map(value, rows), partition=partition)
            for partition in range(given.partitions):
                await until(partial(status_of, given, f"kit-{partition}"))
        await until(runs(first, given.partitions))
        await produce(given, value(payment("kit-5")), partition=5)

        async def paid() -> bool:
            return await status_of(given, "kit-5") == "PAID"

        await until(paid)


async def test_topics_that_are_split_over_members_are_said_until_they_are_not(given: Settings) -> None:
    """A console consumer in our group takes partitions of one topic only."""
    stranger = AIOKafkaConsumer(
        CDC_TOPICS[0],
        bootstrap_servers=given.kafka,
        group_id=given.group_id,
        partition_assignment_strategy=(RangePartitionAssignor,),
    )
    await stranger.start()
    try:
        async with actors(given) as host:
            await until(lambda: "range assignor" in host.status().reason, within=30)
            assert not host.status().ready
            await stranger.stop()
            await until(runs(host, given.partitions), within=30)
    finally:
        await stranger.stop()


async def test_while_mongodb_is_away_the_shard_waits_and_says_so(given: Settings, lab: Platform) -> None:
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        await lab.stop("mongod")
        try:
            await produce(given, *map(value, (item(), place())))
            await until(lambda: "MongoDB does not answer" in host.status().reason)
            assert len(host.status().shards) == given.partitions
        finally:
            await lab.start("mongod")
        await until(runs(host, given.partitions))
        await until(lambda: status_of(given, "kit-1"))


async def test_a_broker_that_was_killed_is_read_on_from(given: Settings, lab: Platform) -> None:
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        await produce(given, *map(value, (item(), place())))
        await until(lambda: status_of(given, "kit-1"))
        await lab.healthy("kafka", not_pid=lab.kill("kafka"))
        await until(lambda: can_produce(given))
        await until(lambda: status_is(given, "PAID"), within=60)


async def can_produce(settings: Settings) -> bool:
    with suppress(Exception):
        await produce(settings, value(payment()))
        return True
    return False


# ── who folds what ───────────────────────────────────────────────────────────────────────────────


async def test_the_group_tells_every_process_and_its_shards(given: Settings) -> None:
    async def shared() -> GroupStatus | None:
        group = await members.describe(given)
        return group if [len(one.shards) for one in group.members] == [3, 3] else None

    async with actors(given) as one, actors(given) as two:
        group = await until(shared, within=30)
        assert {member.client_id for member in group.members} == {
            one.status().member_id,
            two.status().member_id,
        }
        assert sorted(n for member in group.members for n in member.shards) == list(range(given.partitions))
        assert {member.host for member in group.members} == {"127.0.0.1"}


async def test_what_waits_to_be_folded_is_told_of_shards_that_nobody_has(given: Settings) -> None:
    await produce(given, *map(value, (item(), place())), partition=4)
    group = await members.describe(given)
    assert group.members == []
    assert group.lags == {n: 2 if n == 4 else 0 for n in range(given.partitions)}

    async def folded() -> bool:
        return not any((await members.describe(given)).lags.values())

    async with actors(given):
        await until(folded, within=30)
    assert not any((await members.describe(given)).lags.values())
