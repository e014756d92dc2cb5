"""The shard's orders: actors, passivation, dead letters. No broker, no MongoDB."""

import gc
import json
import tracemalloc

import pytest
from tests.cycles import aggregates, cycle, orders
from tests.given import EPOCH, PREFIX, Log, item, payment, place, value

from snacks.actors import orders as orders_module
from snacks.actors.orders import ACTIVE_ACTORS, checkpoints, read
from snacks.actors.orders import aggregates as published
from snacks.actors.sources import TopicRemade


async def test_an_order_is_published_once_it_has_an_item_and_a_place() -> None:
    shard, log = orders(), Log()
    _, first = await cycle(shard, log.rows(item(), payment()))
    assert aggregates(first) == []
    assert [entry.key for entry in checkpoints(first)] == [b"kit-1"]
    _, second = await cycle(shard, log.rows(place()))
    ((key, body),) = aggregates(second)
    assert key == b"kit-1"
    assert body is not None
    assert json.loads(body)["orderStatus"] == "PAID"


async def test_a_burst_for_one_order_is_published_once() -> None:
    shard, log = orders(), Log()
    records = log.rows(item(), place(), payment(), item(item_status="FULFILLED"), item(item_status="SHIPPED"))
    batch, outcomes = await cycle(shard, records)
    assert batch.folded == 5
    ((_, body),) = aggregates(outcomes)
    assert body is not None
    assert json.loads(body)["orderStatus"] == "SHIPPED"


async def test_repeated_records_change_nothing_and_publish_nothing() -> None:
    shard, log = orders(), Log()
    await cycle(shard, log.rows(item(), place(), payment()))
    batch, outcomes = await cycle(shard, log.rows(item(), place(), payment()))
    assert (batch.folded, batch.repeated, outcomes) == (0, 3, {})


async def test_offsets_already_folded_are_skipped() -> None:
    shard, log = orders(), Log()
    records = log.rows(item(), place())
    batch, _ = await cycle(shard, records)
    again, outcomes = await cycle(shard, records, batch.offsets)
    assert again.repeated == 2
    assert outcomes == {}


async def test_a_tombstone_is_published_once_and_only_for_a_published_order() -> None:
    shard, log = orders(), Log()
    _, unknown = await cycle(shard, [log.record(*value(place("kit-none"))[:2], None)])
    assert aggregates(unknown) == []
    await cycle(shard, log.rows(item(), place()))
    _, gone = await cycle(shard, log.rows(place(), deleted=True))
    assert aggregates(gone) == [(b"kit-1", None)]
    _, repeated = await cycle(shard, log.rows(place(), deleted=True))
    assert aggregates(repeated) == []
    _, last = await cycle(shard, log.rows(item(), deleted=True))
    assert aggregates(last) == []


async def test_a_row_made_again_brings_the_order_back() -> None:
    shard, log = orders(), Log()
    await cycle(shard, log.rows(item(), place(), payment()))
    await cycle(shard, log.rows(place(), deleted=True))
    _, back = await cycle(shard, log.rows(place(zip_code="00502")))
    ((_, body),) = aggregates(back)
    assert body is not None
    order = json.loads(body)
    assert order["shippingLocation"]["zipCode"] == "00502"
    assert order["payment"]["amount"] == {"amount": 2.5, "currency": "USD"}


async def test_a_poison_record_costs_only_itself() -> None:
    shard, log = orders(), Log()
    topic = PREFIX + "payment"
    poison = log.record(topic, b'{"order_id":"kit-1"}', b"not json: card 4242 4242 4242 4242")
    batch, outcomes = await cycle(shard, [*log.rows(item(), place()), poison, *log.rows(payment())])
    ((identity, letter, _),) = batch.letters
    assert identity == f"{topic}/0/0".encode()
    told = json.loads(letter or b"")
    assert told["value"] == "not json: card ****-****-****-4242"
    assert told["reason"]
    ((_, body),) = aggregates(outcomes)
    assert body is not None
    assert json.loads(body)["orderStatus"] == "PAID"
    assert batch.offsets[topic] == 2


async def test_a_partial_row_of_a_row_never_seen_is_a_dead_letter_and_a_known_one_keeps_its_columns() -> None:
    shard, log = orders(), Log()
    table, key, row = item()
    partial = (table, key, {"item_status": row["item_status"].replace("REQUESTED", "FULFILLED")})
    batch, _ = await cycle(shard, log.rows(partial))
    assert len(batch.letters) == 1
    _, outcomes = await cycle(shard, [*log.rows(place(), item()), *log.rows(partial)])
    ((_, body),) = aggregates(outcomes)
    assert body is not None
    (only,) = json.loads(body)["items"]
    assert (only["itemName"], only["itemStatus"]) == ("Apple Rings", "FULFILLED")


async def test_an_order_of_another_partition_is_refused_loudly() -> None:
    shard, log = orders(partition=4, elsewhere=2), Log(partition=4)
    batch, outcomes = await cycle(shard, log.rows(item(), place()))
    assert outcomes == {}
    assert len(batch.letters) == 2
    assert all(
        "lives in partition 2" in json.loads(letter or b"")["reason"] for _, letter, _ in batch.letters
    )


@pytest.mark.parametrize("count", [ACTIVE_ACTORS + 500])
async def test_idle_orders_are_passivated_and_wake_up_as_they_were(count: int) -> None:
    shard, log = orders(), Log()
    await cycle(shard, [record for one in range(count) for record in log.rows(item(f"kit-{one}"))])
    assert len(shard) == count
    assert len(shard._actors) == ACTIVE_ACTORS
    assert "kit-0" not in shard._actors
    _, outcomes = await cycle(shard, log.rows(place("kit-0")))
    ((key, body),) = aggregates(outcomes)
    assert (key, json.loads(body or b"")["items"][0]["itemName"]) == (b"kit-0", "Apple Rings")


async def test_the_same_records_give_the_same_bytes_however_they_are_cut_into_cycles() -> None:
    log = Log()
    records = [
        *log.rows(item(), place(), payment(), item(item_id="2"), item(item_status="FULFILLED")),
        *log.rows(item(item_id="2"), deleted=True),
        *log.rows(payment(amount="3.50"), item(item_status="SHIPPED")),
    ]
    whole, pieces = orders(), orders()
    await cycle(whole, records)
    for record in records:
        await cycle(pieces, [record])
    assert whole._states == pieces._states


async def test_headers_tell_the_revision_and_the_order_s_way() -> None:
    shard, log = orders(), Log()
    records = [log.record(*value(row, at=EPOCH + 5), at=EPOCH + 9) for row in (item(), place())]
    _, outcomes = await cycle(shard, records)
    (entry,) = published(outcomes, outcomes.batch, stored=EPOCH + 20)
    assert dict(entry.headers) == {
        "revision": b"2",
        "changed": str(EPOCH + 5).encode(),
        "captured": str(EPOCH + 9).encode(),
        "stored": str(EPOCH + 20).encode(),
    }


async def test_a_repeat_at_a_newer_position_is_remembered_in_the_checkpoint_and_publishes_nothing() -> None:
    shard, log = orders(), Log()
    await cycle(shard, log.rows(item(), place(), payment(), position=1))
    batch, again = await cycle(shard, log.rows(item(), place(), payment(), at=EPOCH + 2, position=3))
    assert (batch.repeated, batch.folded) == (3, 0)
    assert [entry.key for entry in checkpoints(again)] == [b"kit-1"]
    assert aggregates(again) == []
    assert again["kit-1"].order is None
    assert not again["kit-1"].forget
    late = log.rows(payment(amount="9.00"), item(quantity=9), at=EPOCH + 1, position=2)
    batch, outcomes = await cycle(shard, late)
    assert (batch.repeated, outcomes) == (2, {})


def test_c7_another_record_where_the_last_folded_one_lay_is_another_topic() -> None:
    first = read(Log().rows(item(), item(quantity=3)), {})
    again = read(Log().rows(item(), item(quantity=3)), first.offsets, first.marks)
    assert (again.repeated, again.marks) == (2, first.marks)
    with pytest.raises(TopicRemade, match="item_detail"):
        read(Log().rows(item(), item(quantity=4)), first.offsets, first.marks)


async def test_an_idle_order_costs_its_encoded_bytes_and_little_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_module, "ACTIVE_ACTORS", 0)
    shard, log, count = orders(), Log(), 2_000
    await cycle(shard, log.rows(item("first"), place("first")))
    records = [one for n in range(count) for one in log.rows(item(f"kit-{n:06}"), place(f"kit-{n:06}"))]
    gc.collect()
    tracemalloc.start()
    try:
        await cycle(shard, records)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = shard._states["kit-000000"]
    assert type(kept) is bytes
    assert not shard._actors
    # Beside the bytes: their header, the order id, and a place in the dictionary.
    assert held / count < len(kept) + 33 + 60 + 150
