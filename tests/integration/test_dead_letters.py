"""Dead letters against a real broker: written once, listed, sent again, dropped. Cases C8, C10, C12."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from tests.folding import (
    CARD,
    POISON,
    actors,
    everything,
    fold_until,
    listed,
    produce,
    runs,
    status_is,
    total,
)
from tests.fresh import bound, lost
from tests.given import item, payment, place, value
from tests.waiting import until

from snacks.actors.checkpoint import Checkpoint
from snacks.cdc import CDC_TOPICS, topics
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS, DEAD_LETTERS
from snacks.config import Settings
from snacks.letters import Letters, LettersUnavailable, NoSuchLetter, NotReplayable, Standing


@pytest.fixture
async def given(given: Settings) -> AsyncIterator[Settings]:
    """Here a test may end without one of the topics, which others then miss."""
    yield given
    await topics.ensure(given)


async def test_a_letter_is_listed_with_its_code_and_without_its_card(given: Settings) -> None:
    await produce(given, value(item()), POISON)
    await fold_until(given, dead_letters=1)
    await listed(given, 1)
    letters = Letters(given)
    (one,) = await letters.newest(10)
    assert (one.id, one.status, one.letter.code) == ("item_detail-0-1", Standing.OPEN, "not-json")
    assert one.letter.value == "not json ****-****-****-4295"
    assert one.letter.masked == ("value",)
    assert one.letter.order_id == "kit-1"
    assert one.letter.set_aside >= one.letter.timestamp > 0
    assert await letters.get(one.id) == one
    assert await letters.counts() == {"not-json": 1}


async def test_a_replayed_record_is_folded_by_its_order_and_its_letter_is_closed(given: Settings) -> None:
    bad = value(item(item_status="EATEN"))
    await produce(given, bad, value(place()), partition=2)
    letters = Letters(given)
    async with actors(given) as host:
        await until(lambda: total(host, "dead_letters") == 1)
        await listed(given, 1)
        edited = (bad[2] or b"").replace(b"EATEN", b"FULFILLED")
        assert (await letters.replay("item_detail-2-0", edited)).status is Standing.REPLAYED
        await until(lambda: status_is(given, "FULFILLED"))
    assert await letters.counts() == {}
    assert await letters.newest(10) == []
    (closed,) = await letters.newest(10, closed=True)
    assert closed.status is Standing.REPLAYED


async def test_a_replay_that_is_as_bad_becomes_another_letter(given: Settings) -> None:
    await produce(given, POISON)
    letters = Letters(given)
    async with actors(given) as host:
        await until(lambda: total(host, "dead_letters") == 1)
        await listed(given, 1)
        await letters.replay("item_detail-0-0")
        await until(lambda: total(host, "dead_letters") == 2)
    await listed(given, 2)
    (second,) = await letters.newest(10)
    assert second.id == "item_detail-0-1"
    assert CARD not in str(await everything(given, CDC_TOPICS[0]))[300:]


async def test_all_of_a_code_are_dropped_and_all_others_replayed_oldest_first(given: Settings) -> None:
    unknown = [
        (CDC_TOPICS[0], None, b'{"order_id":"kit-1","item_id":"1","item_name":"%d"}' % n) for n in range(30)
    ]
    await produce(given, *[POISON] * 20, *unknown)
    letters = Letters(given)
    async with actors(given) as host:
        await until(lambda: total(host, "dead_letters") == 50)
        await listed(given, 50)
        assert await letters.counts() == {"partial-row": 30, "not-json": 20}
        assert await letters.drop_all("not-json") == 20
        await produce(given, *map(value, (item(), place())))
        await until(lambda: status_is(given, "PENDING"))
        assert await letters.replay_all() == (30, [])
        await until(lambda: total(host, "folded") == 32)
    assert await letters.counts() == {}
    assert b'"itemName":"29"' in (await everything(given, AGGREGATES))[-1][1]  # type: ignore[operator]
    with pytest.raises(NoSuchLetter):
        await letters.drop("payment-0-99")
    with pytest.raises(NoSuchLetter):
        await letters.get("nonsense")


async def test_what_was_cut_or_lost_its_key_needs_an_edited_record(given: Settings) -> None:
    long = (CDC_TOPICS[2], b"kit-1", b'{"order_id":"kit-1","payment_type":"' + b"x" * 1_000_000 + b'"}')
    masked = (CDC_TOPICS[2], CARD.encode(), b"not json")
    await produce(given, long, masked)
    await fold_until(given, dead_letters=2)
    await listed(given, 2)
    letters = Letters(given)
    whole = await letters.get("payment-0-0")
    assert (whole.letter.truncated, whole.letter.value_bytes) == (False, len(long[2]))
    assert whole.letter.code == "bad-payment_type"
    with pytest.raises(NotReplayable, match="key"):
        await letters.replay("payment-0-1")
    assert await letters.replay_all() == (1, ["payment-0-1"])
    await letters.replay("payment-0-1", key=b"kit-1")


async def test_c8_a_record_above_every_fetch_limit_is_folded_or_set_aside_and_never_just_gone(
    given: Settings,
) -> None:
    name = b"n" * 1_500_000
    big = (CDC_TOPICS[0], None, b'{"order_id":"kit-1","item_id":"1","item_name":"' + name + b'"}')
    await bound(given, CDC_TOPICS[0], 3_000_000)
    producer = AIOKafkaProducer(bootstrap_servers=given.kafka, max_request_size=3_000_000)
    async with producer:
        await producer.send_and_wait(big[0], big[2], partition=0)
    await produce(given, *map(value, (item(), place())))
    async with actors(given) as host:
        await until(lambda: status_is(given, "PENDING"))
        await until(lambda: total(host, "dead_letters") == 1)
    await listed(given, 1)
    (one,) = await Letters(given).newest(10)
    assert one.letter.truncated
    assert one.letter.value_bytes == len(big[2])
    assert one.letter.order_id == "kit-1"
    with pytest.raises(NotReplayable, match="beginning"):
        await Letters(given).replay(one.id)


async def test_c12_one_poison_record_in_a_hundred_costs_only_itself(given: Settings) -> None:
    poisons = [b"not json", b"\x00\xff", b"[]"]
    records: list[tuple[str, bytes | None, bytes | None]] = []
    for number in range(300):
        if number % 100 == 50:
            records.append((CDC_TOPICS[0], b"kit-x", poisons[number // 100]))
        records += [value(item(f"kit-{number}")), value(place(f"kit-{number}"))]
    await produce(given, *records)
    await fold_until(given, folded=600, dead_letters=3)
    assert {key for key, _ in await everything(given, AGGREGATES)} == {f"kit-{n}" for n in range(300)}
    await listed(given, 3)
    assert await Letters(given).counts() == {"not-json": 2, "not-an-object": 1}
    binary = next(one for one in await Letters(given).newest(9) if one.letter.base64)
    assert binary.letter.value == "AP8="


async def test_c12_while_a_letter_cannot_be_written_no_offset_passes_its_record(given: Settings) -> None:
    await lost(given, DEAD_LETTERS)
    quick = msgspec.structs.replace(given, commit_timeout=2.0)
    await produce(given, value(item()), POISON, value(place()))
    async with actors(quick) as host:
        await until(lambda: "broker" in host.status().reason)
        assert not host.status().ready
        assert await everything(given, CHECKPOINTS) == []
        with pytest.raises(LettersUnavailable):
            await asyncio.wait_for(Letters(given).counts(), 20)
        await topics.ensure(given)
        await until(lambda: total(host, "dead_letters") == 1, within=60)
    assert [key for key, _ in await everything(given, DEAD_LETTERS)] == [f"{CDC_TOPICS[0]}/0/1"]


class _Killed(BaseException):
    """A process that dies: nothing that it owns is closed in an orderly way."""


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_record_is_set_aside_once_though_its_shard_dies_around_the_commit(
    given: Settings, monkeypatch: pytest.MonkeyPatch, *, after_commit: bool
) -> None:
    await produce(given, value(item()), POISON, value(place()))
    commit, died = Checkpoint.commit, asyncio.Event()

    async def dying(self: Checkpoint, *arguments: object) -> None:
        letters = list(arguments[2])  # type: ignore[call-overload]
        if not letters or died.is_set():
            return await commit(self, *arguments)  # type: ignore[arg-type]
        died.set()
        if after_commit:
            await commit(self, *arguments)  # type: ignore[arg-type]
        else:
            # All is sent, and the transaction is left open, as by a kill.
            assert self._producer is not None
            await self._producer.begin_transaction()
            for sent in await self._send(DEAD_LETTERS, letters):
                await sent
        raise _Killed

    monkeypatch.setattr(Checkpoint, "commit", dying)
    with suppress(_Killed, AssertionError):
        async with actors(given):
            await until(died.is_set)
            await until(lambda: False, within=0.5)
    await produce(given, value(payment()))
    async with actors(given) as host:
        await until(runs(host, given.partitions))
        await until(lambda: status_is(given, "PAID"))
        await until(lambda: total(host, "cycles") > 0)
    assert [key for key, _ in await everything(given, DEAD_LETTERS)] == [f"{CDC_TOPICS[0]}/0/1"]
    assert len(await Letters(given).newest(10, closed=True)) == 1


async def test_c10_restore_and_commits_work_over_gaps(given: Settings) -> None:
    """Transaction markers leave gaps in the letters' and the checkpoints' offsets; aborted records too."""
    checkpoint = Checkpoint(given, 0)
    await checkpoint.fence()
    assert checkpoint._producer is not None
    await checkpoint._producer.begin_transaction()
    await checkpoint._producer.send_and_wait(DEAD_LETTERS, b"never", b"never", partition=0)
    await checkpoint.close()
    for _ in range(3):
        await produce(given, POISON, value(item()))
        await fold_until(given, dead_letters=1)
    await listed(given, 3)
    letters = await Letters(given).newest(10)
    assert [one.letter.offset for one in letters] == [4, 2, 0]
