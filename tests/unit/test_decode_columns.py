"""What the columns of a CDC record mean, each in every form that Debezium gives it."""

from decimal import Decimal

import pytest
from tests.cdc_records import (
    APPLE,
    DECIMAL,
    I1,
    KI,
    KS,
    P1,
    ROW,
    S1,
    envelope,
    item,
    raw,
    read,
    refusal,
    wrapped,
)

from snacks.domain.order import PartialRow
from snacks.domain.values import Currency, ItemStatus


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
