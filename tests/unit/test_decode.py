"""What one CDC record means (docs/domain.md, "What a change record means"). Cases A of the bug log by number.

Columns: `test_decode_columns.py`; refusals, and one law for both lanes: `test_decode_poison.py`.
"""

from decimal import Decimal

import pytest
from tests.cdc_records import APPLE, I1, KI, KS, NOW, P1, ROW, S1, envelope, raw, read, refusal, wrapped

from snacks.cdc import CDC_TOPICS, Truncated, Undecodable, decode, table_of
from snacks.domain.order import Payment, RowChange, ShippingLocation
from snacks.domain.values import Currency

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
