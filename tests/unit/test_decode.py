"""What one CDC record means (docs/domain.md, "What a record means"). Cases A of the bug log by number."""

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snacks.cdc import CDC_TOPICS, Truncated, Undecodable, decode, table_of
from snacks.cdc.decode import careful
from snacks.domain.order import ItemDetail, PartialRow, Payment, RowChange, ShippingLocation
from snacks.domain.values import Currency, ItemStatus

NOW = 1_767_225_600_000
I1 = {
    "order_id": "kit-1",
    "item_id": "1",
    "item_name": "Apple Rings",
    "item_status": 0,
    "price": 1.25,
    "currency": 0,
    "quantity": 2,
}
S1 = {
    "order_id": "kit-1",
    "customer_name": "Ada K",
    "customer_address": "9 Quay St",
    "zip_code": "00501",
    "latitude": 1.5,
    "longitude": -2.5,
}
P1 = {
    "order_id": "kit-1",
    "payment_type": "CREDIT",
    "credit_card_type": "Visa",
    "credit_card_number": "****-****-****-4242",
    "amount": 2.50,
    "currency": 0,
}
ROW = {"item_detail": I1, "shipping_location": S1, "payment": P1}
KI, KS = {"order_id": "kit-1", "item_id": "1"}, {"order_id": "kit-1"}
APPLE = ItemDetail("Apple Rings", ItemStatus.REQUESTED, Decimal("1.25"), Currency.USD, 2)
SOURCE = {
    "connector": "mysql",
    "snapshot": "false",
    "ts_ms": NOW,
    "file": "binlog.000001",
    "pos": 900,
    "row": 0,
}
DECIMAL = {
    "type": "bytes",
    "optional": True,
    "name": "org.apache.kafka.connect.data.Decimal",
    "version": 1,
    "parameters": {"scale": "2", "connect.decimal.precision": "10"},
}


def raw(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def read(value: object, key: object = KI, table: str = "item_detail") -> RowChange:
    change = decode(table, raw(key), raw(value), NOW)
    assert isinstance(change, RowChange)
    return change


def item(**columns: Any) -> Any:
    return read(I1 | columns).row


def refusal(value: object, key: object = KI, table: str = "item_detail") -> str:
    with pytest.raises(Undecodable) as refused:
        decode(table, raw(key), raw(value), NOW)
    return str(refused.value)


def wrapped(payload: object, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "struct", "optional": False, "fields": list(fields)}, "payload": payload}


def envelope(op: str, before: Any, after: Any, **source: Any) -> dict[str, Any]:
    return {"before": before, "after": after, "source": SOURCE | source, "op": op, "ts_ms": NOW}


# ── shapes ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", ROW)
def test_only_our_three_topics_carry_rows(table):
    assert table_of(f"order-command-server.order-command-db.{table}") == table
    assert set(CDC_TOPICS) == {f"order-command-server.order-command-db.{name}" for name in ROW}


@pytest.mark.parametrize(
    "topic",
    [
        "__debezium-heartbeat.order-command-server",
        "order-command-server.transaction",
        "order-command-server",
        "order-command-server.order-command-db.debezium_signal",
        "order-command-server.order-command-db._item_detail_gho",
        "order-command-server.order-command-db._item_detail_ghc",
        "order-command-server.order-command-db.__item_detail_new",
        "order-command-server.other-db.item_detail",
        "customer-order-aggregate",
    ],
)
def test_a21_a27_a28_records_of_other_topics_are_ignored(topic):
    assert table_of(topic) is None


def test_a1_a_row_is_read_with_and_without_schema_in_key_and_value():
    bare_schema = {"schema": None, "payload": KI}
    for value in (I1, wrapped(I1), {"schema": None, "payload": I1}):
        for key in (KI, wrapped(KI), bare_schema):
            assert read(value, key) == RowChange("item_detail", "kit-1", "1", APPLE, NOW)


def test_a_row_of_each_table_is_read():
    assert read(S1, KS, "shipping_location") == RowChange(
        "shipping_location", "kit-1", "", ShippingLocation("Ada K", "9 Quay St", "00501", 1.5, -2.5), NOW
    )
    paid = Payment("CREDIT", "Visa", "****-****-****-4242", Decimal("2.50"), Currency.USD)
    assert read(P1, KS, "payment") == RowChange("payment", "kit-1", "", paid, NOW)


@pytest.mark.parametrize("op", ["r", "c", "u"])
@pytest.mark.parametrize("schema", [False, True])
def test_an_envelope_is_read_as_its_after_image_with_its_source(op, schema):
    value = envelope(op, I1 | {"quantity": 1} if op == "u" else None, I1, ts_ms=NOW + 5)
    change = read(wrapped(value) if schema else value)
    assert change == RowChange("item_detail", "kit-1", "1", APPLE, NOW + 5, (1, 900))


def test_a_flattened_row_carries_its_source_time_and_position():
    extra = {"__deleted": "false", "__op": "c", "__source_ts_ms": NOW + 7, "__source_file": "binlog.000012"}
    change = read(I1 | extra | {"__source_pos": 44, "__source_row": 0, "__ts_ms": NOW + 99})
    assert (change.at, change.position) == (NOW + 7, (12, 44))


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"__source_ts_ms": NOW + 1},
        {"__source_ts_ms": NOW + 1, "__source_pos": 4},
        {"__source_ts_ms": NOW + 1, "__source_file": "binlog.000001"},
        {"__source_ts_ms": NOW + 1, "__source_file": "binlog", "__source_pos": 4},
        {"__source_file": "binlog.000001", "__source_pos": 4},
    ],
)
def test_a_position_needs_source_time_file_and_place(extra):
    change = read(I1 | extra)
    assert change.position is None
    assert change.at == extra.get("__source_ts_ms", NOW)


def test_a_row_without_source_time_changed_when_its_record_was_written():
    assert read(I1).at == NOW


def test_a_record_without_any_time_counts_as_the_beginning_of_time():
    change = decode("item_detail", raw(KI), raw(I1), -1)
    assert isinstance(change, RowChange)
    assert change.at == 0
    with pytest.raises(Undecodable, match="timestamp"):
        decode("item_detail", raw(KI), raw(I1), 2**62)


# ── deletes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [None, b"null", {"schema": None, "payload": None}, wrapped(None)])
@pytest.mark.parametrize("key", [KS, wrapped(KS)])
def test_a2_tombstone_null_and_null_payload_delete_the_row_of_the_key(value, key):
    assert read(value, key, "payment") == RowChange("payment", "kit-1", "", None, NOW)


def test_a2_zero_bytes_are_a_dead_letter():
    assert "zero bytes" in refusal(b"", KS, "payment")


@pytest.mark.parametrize("key", [None, b"", b"null", KS, b"kit-1", {"item_id": "1"}, {"order_id": None}])
def test_a_tombstone_whose_key_does_not_name_one_row_says_nothing(key):
    assert decode("item_detail", raw(key), None, NOW) is None


def test_a_tombstone_of_a_bare_order_id_deletes_the_row_that_the_order_has_one_of():
    assert read(None, b"kit-1", "payment") == RowChange("payment", "kit-1", "", None, NOW)
    assert read(None, b'"kit-1"', "payment").order_id == "kit-1"
    assert read(None, b"1234", "payment").order_id == "1234"


def test_a3_an_enveloped_delete_needs_no_tombstone():
    change = read(envelope("d", P1, None, pos=900), KS, "payment")
    assert change == RowChange("payment", "kit-1", "", None, NOW, (1, 900))


def test_an_enveloped_delete_without_before_image_deletes_the_row_of_the_key():
    assert read(envelope("d", None, None), KS, "payment").row is None
    assert "no order_id" in refusal(envelope("d", None, None), None, "payment")


@pytest.mark.parametrize("deleted", ["true", True])
def test_a4_deleted_true_is_a_delete_as_text_and_as_boolean(deleted):
    assert read(S1 | {"__deleted": deleted}, KS, "shipping_location").row is None


@pytest.mark.parametrize("deleted", ["false", False, None])
def test_a4_deleted_false_is_an_upsert(deleted):
    assert read(S1 | {"__deleted": deleted}, KS, "shipping_location").row is not None


@pytest.mark.parametrize("deleted", ["TRUE", 1, "", []])
def test_a_deleted_mark_that_is_neither_is_refused(deleted):
    assert "__deleted" in refusal(I1 | {"__deleted": deleted})


def test_a_flattened_delete_is_told_by_its_op_too():
    assert read(I1 | {"__op": "d"}).row is None


def test_a_deleted_row_may_hold_anything():
    assert read(I1 | {"__deleted": "true", "item_status": "EATEN", "price": None}).row is None


def test_a17_a_truncate_is_told_apart_and_needs_no_key():
    assert decode("payment", None, raw(envelope("t", None, None)), NOW) == Truncated("payment")
    assert decode("payment", None, raw(wrapped(envelope("t", None, None))), NOW) == Truncated("payment")


# ── columns ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", ["MQ", [], True, 1])
def test_a_payload_that_is_no_object_is_refused(value):
    assert "not an object" in refusal({"schema": None, "payload": value})


@pytest.mark.parametrize(
    ("text", "amount"), [("fQ==", "1.25"), ("APo=", "2.50"), ("B88=", "19.99"), ("/w==", "-0.01")]
)
def test_a6_decimal_bytes_are_scaled_by_their_schema(text, amount):
    price = DECIMAL | {"field": "price"}
    row = I1 | {"price": text}
    assert read(wrapped(row, price)).row.price == Decimal(amount)  # type: ignore[union-attr]
    inner = {"type": "struct", "field": "after", "fields": [price]}
    change = read(wrapped(envelope("c", None, row), inner))
    assert change.row.price == Decimal(amount)  # type: ignore[union-attr]


def test_decimal_bytes_that_look_like_a_number_are_still_bytes():
    # Base64 of two's complement bytes that happens to be digits only.
    change = read(wrapped(I1 | {"price": "1234"}, DECIMAL | {"field": "price"}))
    assert change.row.price == Decimal("-26588.24")  # type: ignore[union-attr]


@pytest.mark.parametrize("parameters", [{}, None, {"scale": "x"}, {"scale": None}])
def test_a_decimal_schema_without_a_scale_is_refused(parameters):
    field = DECIMAL | {"field": "price", "parameters": parameters}
    assert refusal(wrapped(I1 | {"price": "fQ=="}, field)).startswith("price:")


def test_a7_decimal_bytes_without_schema_are_refused_with_the_setting_to_change():
    reason = refusal(I1 | {"price": "fQ=="})
    assert reason.startswith("price:")
    assert "decimal.handling.mode" in reason


def test_a8_a_decimal_of_variable_scale_is_read():
    assert item(price={"scale": 2, "value": "fQ=="}).price == Decimal("1.25")


@pytest.mark.parametrize(
    ("price", "cents"),
    [
        (b"1.25", "1.25"),
        (b'"1.25"', "1.25"),
        (b'"1.2500"', "1.25"),
        (b'"1.25E0"', "1.25"),
        (b"1.2500000000000002", "1.25"),
        (b"0.30000000000000004", "0.30"),
        (b"2", "2.00"),
        (b'"2"', "2.00"),
        (b"-0.01", "-0.01"),
        (b"999999999.99", "999999999.99"),
    ],
)
def test_a9_money_is_exact_in_every_form(price, cents):
    row = (raw(I1) or b"").replace(b"1.25", price)
    for value in (row, b'{"schema":{},"payload":' + row + b"}", b'{"x": 0, ' + row[1:]):
        assert str(read(value).row.price) == cents  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "price",
    ["NaN", "-Infinity", "1E+999999", "1e9999999", "0x1", "", " 1.25", "1_0", "\u0661", True, [1], {}, 1e9,
     "1" * 500_000, {"scale": -1, "value": "fQ=="}, {"scale": 2, "value": "%"}],
)  # fmt: skip
def test_money_that_is_no_amount_is_refused(price):
    reason = refusal(I1 | {"price": price})
    assert reason.startswith("price: got ")
    assert len(reason) < 250


@pytest.mark.parametrize("status", ["FULFILLED", 1, "1"])
def test_a10_a_status_is_a_name_or_an_ordinal(status):
    assert item(item_status=status).item_status is ItemStatus.FULFILLED


@pytest.mark.parametrize(
    "status", ["", -1, 3, "shipped ", None, True, False, 1.5, [], {}, "-1", "01", "PAID"]
)
def test_a10_a_status_that_is_not_ours_is_refused(status):
    assert refusal(I1 | {"item_status": status}).startswith("item_status: got ")


@pytest.mark.parametrize("currency", ["USD", 0, "0", None])
def test_a29_a_currency_is_a_name_an_ordinal_or_null_for_usd(currency):
    defaulted = {"type": "string", "optional": True, "default": "USD", "field": "currency"}
    row = I1 | {"currency": currency}
    for value in (row, wrapped(row, defaulted)):
        assert read(value).row.currency is Currency.USD  # type: ignore[union-attr]


@pytest.mark.parametrize("currency", ["EUR", 1, False, "", 0.5])
def test_a_currency_that_is_not_ours_is_refused(currency):
    assert refusal(I1 | {"currency": currency}).startswith("currency: got ")


@pytest.mark.parametrize("quantity", [2, 2.0, "2"])
def test_a26_a_quantity_is_a_whole_number_in_any_form(quantity):
    assert item(quantity=quantity) == APPLE


@pytest.mark.parametrize(
    "quantity", [-1, 0, 2**63, 2**31, 2.5, True, "", "2.0", "²", None, 10**30, "-1", [2]]
)
def test_a26_any_other_quantity_is_refused(quantity):
    assert refusal(I1 | {"quantity": quantity}).startswith("quantity: got ")


@pytest.mark.parametrize("latitude", [1.5, "1.5", "1.50"])
def test_degrees_may_come_as_decimal_strings(latitude):
    assert (
        read(S1 | {"latitude": latitude}, KS, "shipping_location").row
        == read(S1, KS, "shipping_location").row
    )


@pytest.mark.parametrize("latitude", [True, "north", None, "NaN", [], "1e9999"])
def test_degrees_that_are_no_number_are_refused(latitude):
    assert refusal(S1 | {"latitude": latitude}, KS, "shipping_location").startswith("latitude: got ")


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, row in ROW.items() for c in row])
@pytest.mark.parametrize("value", [None, True, [], {}])
def test_a_column_of_a_wrong_type_is_refused_by_name(table, column, value):
    if (column, value) == ("currency", None):
        return
    key = None if column in KI else KI if table == "item_detail" else KS
    assert refusal(ROW[table] | {column: value}, key, table).startswith(f"{column}: ")


def test_a12_an_unavailable_value_and_a13_an_absent_column_are_told_as_missing():
    change = read(I1 | {"item_name": "__debezium_unavailable_value", "quantity": 5})
    assert isinstance(change.row, PartialRow)
    assert change.row.missing == ("item_name",)
    assert change.row.columns["quantity"] == 5
    minimal = read(KI | {"item_status": 1}).row
    assert minimal == PartialRow(
        {"item_status": ItemStatus.FULFILLED}, ("item_name", "price", "currency", "quantity")
    )


def test_a13_an_explicit_null_of_a_required_column_is_refused():
    assert refusal(KI | {"item_status": 1, "item_name": None}) == "item_name: got null, not text"


def test_a14_unknown_columns_are_ignored():
    extra = {"updated_at": 1767225600123456, "ship_by": None, "flags": "a,b", "meta": '{"z":1,"a":2}'}
    assert (
        item(**extra, day0=0, seen="0000-00-00 00:00:00", payload="x", op="c", source=[1], schema={}) == APPLE
    )


def test_a15_a_renamed_column_is_a_missing_one():
    renamed = {"title" if name == "item_name" else name: value for name, value in I1.items()}
    row = read(renamed).row
    assert isinstance(row, PartialRow)
    assert row.missing == ("item_name",)


def test_a24_text_keeps_its_characters_and_its_normal_form():
    order = "cafe\u0301-\U0001f36d"
    change = read(I1 | {"order_id": order, "item_name": "Ünïcorn 🦄 café"}, KI | {"order_id": order})
    assert change.order_id == order
    assert change.row.item_name == "Ünïcorn 🦄 café"  # type: ignore[union-attr]


def test_a25_a_lone_surrogate_is_refused_and_nul_is_kept():
    text = (raw(I1) or b"").decode()
    assert "value" in refusal(text.replace("Apple Rings", "\\ud800").encode())
    assert "UTF-8" in refusal(text.encode().replace(b"Apple", b"\xed\xa0\x80"))
    assert item(item_name="a\x00b").item_name == "a\x00b"


def test_a_card_number_is_masked_on_the_way_in():
    change = read(P1 | {"credit_card_number": "4242 4242 4242 4242"}, KS, "payment")
    assert change.row.credit_card_number == "****-****-****-4242"  # type: ignore[union-attr]


@pytest.mark.parametrize("table", ["payment", "item_detail"])
@pytest.mark.parametrize("number", ["4111111111111111", 4111111111111111, "x" * 55 + "4111-1111-1111-1111"])
def test_no_reason_shows_a_card_number(table, number):
    for column in ROW[table]:
        value = ROW[table] | {column: [number] if column == "credit_card_number" else number}
        reason = refusal(value, {"order_id": "other"}, table)
        assert "411111" not in reason
        assert "4111-1111" not in reason


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [I1, wrapped(I1), envelope("c", None, I1), I1 | {"__deleted": "true"}])
@pytest.mark.parametrize(
    "key",
    [
        {"order_id": "kit-2", "item_id": "1"},
        {"order_id": "kit-1", "item_id": "2"},
        wrapped({"order_id": "kit-2", "item_id": "1"}),
        b"kit-2",
        b'"kit-2"',
    ],
)
def test_a23_key_and_value_of_different_rows_are_refused(value, key):
    assert "different rows" in refusal(value, key)


@pytest.mark.parametrize(
    "key", [None, b"", KS, b"kit-1", b'"kit-1"', wrapped("kit-1"), {"customer": 7}, b"null"]
)
def test_a_key_may_name_less_than_the_row(key):
    assert read(I1, key).row == APPLE


@pytest.mark.parametrize("key", [b"[]", b"{", b"[1", b"\xff\xfe", b"{" + b"[" * 100_000, {"order_id": True}])
def test_a_key_that_is_no_key_is_refused(key):
    assert "key" in refusal(I1, key)
    assert "key" in refusal(None, key)


def test_an_integer_item_id_becomes_text():
    for key in ({"order_id": "kit-1", "item_id": 7}, {"order_id": "kit-1", "item_id": "7"}):
        assert read(I1 | {"item_id": 7}, key).item_id == "7"


def test_the_key_names_the_row_where_the_value_carries_only_other_columns():
    row = {name: value for name, value in I1.items() if name not in KI}
    assert read(row) == RowChange("item_detail", "kit-1", "1", APPLE, NOW)
    assert "no order_id" in refusal(row, b"kit-1")


@pytest.mark.parametrize("order_id", ["@shard", "@"])
def test_order_ids_that_checkpoints_use_are_refused(order_id):
    key = KI | {"order_id": order_id}
    assert "@" in refusal(I1 | {"order_id": order_id}, key)
    assert "@" in refusal(None, key)
    assert "@" in refusal(I1 | {"order_id": order_id}, None)


@pytest.mark.parametrize("order_id", ["snickers-promotion", "kit-1 ", " ", 'a"b\\c', "a\x00b", "x" * 300])
def test_any_other_order_id_passes(order_id):
    assert read(I1 | {"order_id": order_id}, KI | {"order_id": order_id}).order_id == order_id


# ── poison ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "value",
    [b"not json", b"\x00\xff", b"[]", b"1", b"true", b'"x"', b"{}", b'{"schema":{}}', b'{"payload":{}}', b"{",
     b'{"foo":1}', b'{"op":"c","after":null}', b'{"op":null,"after":{}}', b'{"op":"x","after":{}}',
     b'{"op":"c","after":[],"before":1}', b'{"op":"c","source":1,"after":{}}', b'{"schema":', b'{"before":'],
)  # fmt: skip
def test_json_of_another_shape_is_refused(value):
    assert refusal(value)


@pytest.mark.parametrize("field", ["__source_ts_ms", "__source_pos"])
@pytest.mark.parametrize("value", [-1, 2**63, True, "1", 1.5, []])
def test_a_source_that_is_no_place_in_time_is_refused(field, value):
    assert refusal(I1 | {field: value}).startswith(field)


@pytest.mark.parametrize("body", [I1, wrapped(I1), envelope("c", None, I1)])
def test_a30_an_id_given_twice_is_refused(body):
    twice = (raw(body) or b"").replace(b'"order_id":"kit-1"', b'"order_id":"kit-2","order_id":"kit-1"')
    assert "order_id: given more than once" in refusal(twice)


def test_an_update_that_changes_the_primary_key_in_place_is_refused():
    assert "different rows" in refusal(envelope("u", I1 | {"item_id": "2"}, I1), KS)


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 100_000,
        b'{"x":' * 100_000,
        b'{"payload":' * 100_000,
        b'{"schema":{"fields":' + b"[" * 100_000,
        raw(I1 | {"item_name": "n" * 1_500_000}),
        raw(wrapped(I1 | {"item_name": "\\" * 700_000})),
        raw(I1 | {"quantity": 10**4000}),
    ],
)
@pytest.mark.timeout(30)
def test_a30_depth_and_size_are_refused(value):
    assert len(refusal(value)) < 300


def test_a30_a_text_too_long_is_refused_with_its_size():
    assert "1500000 characters" in refusal(I1 | {"item_name": "n" * 1_500_000})


@given(st.sampled_from(list(ROW)), st.none() | st.binary(), st.binary(), st.integers(-(2**63), 2**63 - 1))
def test_bytes_of_any_kind_are_a_change_nothing_or_undecodable(table, key, value, at):
    with suppress(Undecodable):
        decode(table, key, value, at)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
odd = (
    st.sampled_from(
        ["1.25", "fQ==", "1234", "1", "SHIPPED", "USD", "true", "__debezium_unavailable_value", 0, 1, 2.0]
    )
    | json_values
)


@st.composite
def records(draw):
    """A record of any legal shape, with a few of its values replaced by odd ones."""
    table = draw(st.sampled_from(list(ROW)))
    row = dict(ROW[table])
    for column in draw(st.lists(st.sampled_from(list(row)), max_size=2)):
        row[column] = draw(odd)
    for column in draw(st.lists(st.sampled_from([c for c in row if c not in KI]), max_size=1)):
        del row[column]
    shape = draw(st.sampled_from(["flat", "rewritten", "envelope"]))
    value: Any = row
    if shape == "rewritten":
        marks = {"__deleted": "false", "__op": "u", "__source_ts_ms": NOW, "__source_file": "binlog.000009"}
        value = row | marks | {"__source_pos": draw(st.integers(0, 10**10))}
        for mark in draw(st.lists(st.sampled_from(list(marks)), max_size=1)):
            value[mark] = draw(odd)
    elif shape == "envelope":
        before = draw(st.sampled_from([None, ROW[table], row]))
        value = envelope(draw(st.sampled_from("rcudtx")), before, draw(st.sampled_from([row, row, None])))
    names = [name for name in row if name in KI]
    key: Any = draw(st.sampled_from([None, KS, KI, {name: row[name] for name in names}]))
    if draw(st.booleans()):
        price = DECIMAL | {"field": draw(st.sampled_from(["price", "amount", "latitude"]))}
        inner = {"type": "struct", "field": "after", "fields": [price]}
        value = wrapped(value, inner if shape == "envelope" else price)
        key = key and wrapped(key)
    return table, raw(key), raw(value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records())
def test_both_lanes_say_the_same(record):
    def outcome(read: Any) -> Any:
        try:
            return read(*record, NOW)
        except Undecodable as refused:
            return str(refused)

    assert outcome(decode) == outcome(careful)
