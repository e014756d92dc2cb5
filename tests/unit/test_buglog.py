"""Cases A and B of the bug log with their literal inputs, from the bytes of a record to what is published."""

import json
from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest
from tests.cycles import aggregates, cycle, orders
from tests.given import EPOCH, PREFIX, Log

I, S, P = (PREFIX + table for table in ("item_detail", "shipping_location", "payment"))  # noqa: E741
KI: dict[str, Any] = {"order_id": "kit-1", "item_id": "1"}
KS: dict[str, Any] = {"order_id": "kit-1"}
I1 = KI | {"item_name": "Apple Rings", "item_status": 0, "price": 1.25, "currency": 0, "quantity": 2}
S1 = KS | {"customer_name": "Ada K", "customer_address": "9 Quay St", "zip_code": "00501"}
S1 |= {"latitude": 1.5, "longitude": -2.5}
P1 = KS | {"payment_type": "CREDIT", "credit_card_type": "Visa", "credit_card_number": "****-****-****-4242"}
P1 |= {"amount": 2.50, "currency": 0}
BASE: list[tuple[str, Any, Any]] = [(I, KI, I1), (S, KS, S1), (P, KS, P1)]
D1 = json.loads(
    '{"orderId":"kit-1","orderStatus":"PAID","modifiedDate":"2026-01-01T00:00:00","items":[{"itemId":"1",'
    '"itemName":"Apple Rings","itemStatus":"REQUESTED","price":{"price":1.25,"currency":"USD"},'
    '"quantity":2}],"shippingLocation":{"customerName":"Ada K","customerAddress":"9 Quay St","zipCode":'
    '"00501","geoLocation":{"latitude":1.5,"longitude":-2.5}},"payment":{"paymentType":"CREDIT",'
    '"creditCardType":"Visa",'
    '"creditCardNumber":"****-****-****-4242","amount":{"amount":2.50,"currency":"USD"}}}'
)


class World:
    """One shard that is fed records one by one; remembers what was published and set aside."""

    def __init__(self) -> None:
        self.shard, self.log = orders(), Log()
        self.published: list[tuple[str, Any]] = []
        self.letters: list[str] = []

    async def read(self, *records: tuple[str, Any, Any]) -> Any:
        """The last of kit-1 that was published."""
        for topic, key, value in records:
            batch, folded = await cycle(self.shard, [self.log.record(topic, raw(key), raw(value))])
            self.published += [(k.decode(), v and json.loads(v)) for k, v in aggregates(folded)]
            self.letters += [json.loads(letter.value or b"")["reason"] for letter in batch.letters]
        return self.last("kit-1")

    def last(self, order_id: str) -> Any:
        return next((order for key, order in reversed(self.published) if key == order_id), None)


def raw(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else json.dumps(value).encode()


async def based() -> World:
    world = World()
    assert await world.read(*BASE) == D1
    return world


def source(ts: int, pos: int) -> dict[str, Any]:
    return {
        "connector": "mysql",
        "snapshot": "false",
        "ts_ms": ts,
        "file": "binlog.000001",
        "pos": pos,
        "row": 0,
    }


async def test_a1_rows_with_and_without_schema_may_be_mixed_in_one_topic() -> None:
    wrapped = {"schema": {"type": "struct", "optional": False, "fields": []}, "payload": I1}
    world = World()
    order = await world.read(
        (I, {"schema": None, "payload": KI}, wrapped), (S, KS, S1), (I, KI, I1 | {"quantity": 3})
    )
    assert [one["quantity"] for one in order["items"]] == [3]


async def test_a2_every_kind_of_null_deletes_the_payment_once_and_zero_bytes_do_not() -> None:
    world = await based()
    for value in (None, {"schema": None, "payload": None}, b"null"):
        order = await world.read((P, KS, value))
        assert (order["orderStatus"], order["payment"]) == ("PENDING", None)
    assert len(world.published) == 3
    await world.read((P, KS, P1), (P, KS, b""))
    assert world.last("kit-1")["orderStatus"] == "PAID"
    assert len(world.letters) == 1


async def test_a3_a_delete_without_its_tombstone_takes_the_payment() -> None:
    world = await based()
    gone = {
        "before": P1,
        "after": None,
        "op": "d",
        "ts_ms": EPOCH + 1000,
        "source": source(EPOCH + 1000, 900),
    }
    assert (await world.read((P, KS, gone)))["payment"] is None


@pytest.mark.parametrize(("mark", "deleted"), [("true", True), (True, True), ("false", False), (None, False)])
async def test_a4_a_deleted_mark_takes_the_order_and_never_shows(mark: object, *, deleted: bool) -> None:
    world = await based()
    order = await world.read((S, KS, S1 | {"__deleted": mark}))
    assert order is None if deleted else order == D1
    assert "__deleted" not in str(world.published)
    assert (world.published[-1][1] is None) == deleted


async def test_a5_one_tombstone_for_a_published_order_and_none_for_an_unknown_one() -> None:
    world = World()
    nobody = {"order_id": "kit-none", "item_id": "1"}
    await world.read((I, nobody, None), (S, {"order_id": "kit-none"}, None), *BASE)
    await world.read((S, KS, None), (S, KS, None), (I, KI, None))
    assert [key for key, order in world.published if order is None] == ["kit-1"]


@pytest.mark.parametrize("status", ["", -1, 3, "shipped ", None, True])
async def test_a10_a_status_that_is_not_ours_leaves_the_item_as_it_was(status: object) -> None:
    world = await based()
    assert await world.read((I, KI, I1 | {"item_status": status, "quantity": 7})) == D1
    assert world.letters[0].startswith("item_status: ")


async def test_a12_a13_what_was_not_sent_is_kept_and_an_explicit_null_is_set_aside() -> None:
    world = await based()
    order = await world.read((I, KI, I1 | {"item_name": "__debezium_unavailable_value", "quantity": 5}))
    assert (order["items"][0]["itemName"], order["items"][0]["quantity"]) == ("Apple Rings", 5)
    order = await world.read((I, KI, KI | {"item_status": 1}))
    assert order["items"][0] == D1["items"][0] | {"itemStatus": "FULFILLED", "quantity": 5}
    await world.read((I, KI, KI | {"item_status": 1, "item_name": None}))
    unseen = KI | {"item_id": "2"}
    await world.read((I, unseen, I1 | unseen | {"item_name": "__debezium_unavailable_value"}))
    assert [letter[:9] for letter in world.letters] == ["item_name", "item_deta"]
    assert "unavailable" not in str(world.published)


async def test_a14_columns_of_later_days_leave_the_document_as_without_them() -> None:
    extra = {
        "updated_at": 1767225600123456,
        "ship_by": None,
        "flags": "a,b",
        "meta": '{"z":1,"a":2}',
        "day0": 0,
    }
    world = World()
    assert await world.read((I, KI, I1 | extra | {"day0": 0, "seen": "0000-00-00 00:00:00"}), *BASE[1:]) == D1


async def test_a15_a_renamed_column_is_kept_or_named() -> None:
    world = await based()
    renamed = {("title" if name == "item_name" else name): value for name, value in I1.items()}
    assert await world.read((I, KI, renamed | {"title": "Apple Rings XL"})) == D1
    new = {"item_id": "2"}
    await world.read((I, KI | new, renamed | new))
    assert "item_name" in world.letters[0]


async def test_a17_a_truncate_crashes_nothing_and_sets_nothing_aside() -> None:
    world = await based()
    gone = {"before": None, "after": None, "op": "t", "ts_ms": EPOCH, "source": source(EPOCH, 5000)}
    assert await world.read((P, None, gone)) == D1
    assert world.letters == []


async def test_a18_a_late_snapshot_row_does_not_overwrite_a_newer_update() -> None:
    world = await based()
    newer = {"op": "u", "before": None, "after": I1 | {"quantity": 9}, "source": source(EPOCH + 5000, 700)}
    late = {"op": "r", "before": None, "after": I1, "ts_ms": EPOCH + 9000, "source": source(EPOCH, 400)}
    order = await world.read((I, KI, newer), (I, KI, late))
    assert order["items"][0]["quantity"] == 9


async def test_a20_records_read_again_publish_nothing() -> None:
    world = await based()
    before = len(world.published)
    await world.read(*BASE, *BASE)
    assert len(world.published) == before


async def test_a21_records_of_other_topics_are_neither_rows_nor_dead_letters() -> None:
    world = await based()
    await world.read(
        ("__debezium-heartbeat.order-command-server", None, {"ts_ms": EPOCH}),
        ("order-command-server.transaction", None, {"status": "BEGIN", "id": "u-1:7"}),
        (
            "order-command-server",
            None,
            {"databaseName": "order-command-db", "ddl": "DROP TABLE x"},
        ),
        (f"{PREFIX}debezium_signal", None, {"id": "1", "type": "x", "data": None}),
        (f"{PREFIX}_item_detail_gho", KI, I1 | {"quantity": 99}),
        ("order-command-server.other-db.item_detail", KI, I1 | {"quantity": 99}),
    )
    assert world.last("kit-1") == D1
    assert world.letters == []


async def test_a23_a_key_of_another_order_is_set_aside_and_neither_order_changes() -> None:
    world = await based()
    assert await world.read((I, KI, I1 | {"order_id": "kit-2", "quantity": 9})) == D1
    assert (len(world.letters), world.last("kit-2")) == (1, None)


async def test_a24_ids_of_different_normal_forms_are_two_orders() -> None:
    world = World()
    for order_id in ("caf\u00e9", "cafe\u0301", "kit-🍭"):
        key = {"order_id": order_id}
        await world.read((I, KI | key, I1 | key | {"item_name": "Ünïcorn 🦄 café"}), (S, key, S1 | key))
    assert len({key for key, _ in world.published}) == 3
    assert world.last("kit-🍭")["items"][0]["itemName"] == "Ünïcorn 🦄 café"


async def test_a25_a30_poison_costs_only_itself() -> None:
    world = await based()
    surrogate = (raw(I1) or b"").replace(b"Apple Rings", b"\\ud800")
    twice = (raw(I1) or b"").replace(b'"order_id": "kit-1"', b'"order_id":"kit-1","order_id":"kit-2"')
    long = I1 | {"item_name": "n" * 1_500_000}
    await world.read((I, KI, surrogate), (I, KI, twice), (I, KI, b"[" * 100_000), (I, KI, long))
    assert len(world.letters) == 4
    assert "1500000" in world.letters[3]
    order = await world.read((I, KI, I1 | {"item_name": "a\u0000b"}))
    assert order["items"][0]["itemName"] == "a\u0000b"


async def test_b1_any_arrival_order_of_records_gives_the_same_document() -> None:
    for order in permutations(BASE):
        doubled: Iterable[tuple[str, Any, Any]] = (one for one in order for _ in range(2))
        world = World()
        assert await world.read(*doubled) == D1


async def test_b4_every_item_shows_once_however_often_it_is_paid() -> None:
    world = await based()
    second = {"item_id": "2"}
    await world.read((I, KI | second, I1 | second), (P, KS, P1), (P, KS, P1))
    half = await world.read((I, KI, I1 | {"item_status": 1}))
    assert ([one["itemId"] for one in half["items"]], half["orderStatus"]) == (["1", "2"], "PAID")


async def test_b11_the_last_item_takes_the_order_along_as_a_tombstone() -> None:
    world = await based()
    assert await world.read((I, KI, None)) is None
    assert world.published[-1] == ("kit-1", None)
