"""What a body may say, and what an order allows: parsing and deciding, without any I/O."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import snacks
from snacks.domain.commands import OrderFacts, decide
from snacks.domain.order import ItemDetail, Payment, ShippingLocation
from snacks.domain.requests import MUST_BE, CreateOrder, Pay, Refused, SetStatus, ShipTo, parse
from snacks.domain.values import Currency, ItemStatus

R, F, S = ItemStatus
CARD = "4242 4242 4242 4242"
KINDS = [CreateOrder, SetStatus, ShipTo, Pay]
ITEM = {"itemId": "1", "itemName": "Apple Rings", "price": "0.07", "quantity": 3}
PAY = {
    "orderId": "a",
    "paymentType": "CREDIT",
    "creditCardType": "Visa",
    "creditCardNumber": CARD,
    "amount": 0.21,
}
PLACE = {
    "orderId": "a", "customerName": "Ada", "customerAddress": "9 Quay St", "zipCode": "1", "latitude": 1,
    "longitude": 2,
}  # fmt: skip


def facts(*statuses: ItemStatus, place: bool = True, payment: bool = True) -> OrderFacts:
    items = {
        str(number): ItemDetail("Apple Rings", status, Decimal("0.07"), Currency.USD, 3)
        for number, status in enumerate(statuses)
    }
    return OrderFacts(items, has_shipping_location=place, has_payment=payment)


def body(fields: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**fields, **changes}).encode()


def create(*items: dict[str, Any]) -> CreateOrder:
    return parse(
        json.dumps({"orderId": "a", "items": [{**ITEM, **item} for item in items]}).encode(), CreateOrder
    )


def refusal(act: Any) -> str:
    with pytest.raises(Refused) as caught:
        act()
    return str(caught.value)


# ── statuses ─────────────────────────────────────────────────────────────────────────────────────

NO_ORDER, UNPAID, NO_PLACE, BACK, STRAIGHT = (
    "no such",
    "not paid",
    "no shipping location",
    "go back",
    "before it was",
)


@pytest.mark.parametrize(
    ("items", "to", "said"),
    [
        ((), R, NO_ORDER), ((), F, NO_ORDER), ((), S, NO_ORDER),
        ((R,), R, None), ((R,), F, None), ((R,), S, STRAIGHT),
        ((F,), R, BACK), ((F,), F, None), ((F,), S, None),
        ((S,), R, BACK), ((S,), F, BACK), ((S,), S, None),
        ((R, F), R, BACK), ((R, F), F, None), ((R, F), S, STRAIGHT),
        ((R, S), R, BACK), ((R, S), F, BACK), ((R, S), S, STRAIGHT),
        ((F, S), F, BACK), ((F, S), S, None),
    ],
)  # fmt: skip
def test_items_only_move_forward_one_step_and_all_of_them_or_none(items, to, said):
    command = SetStatus(order_id="a", item_status=to)
    if said is None:
        assert decide(command, facts(*items)) is to
    else:
        assert said in refusal(lambda: decide(command, facts(*items)))


@pytest.mark.parametrize(
    ("to", "place", "payment", "said"),
    [
        (F, False, False, UNPAID), (F, True, False, UNPAID), (F, False, True, None),
        (S, False, False, UNPAID), (S, True, False, UNPAID), (S, False, True, NO_PLACE),
        (S, True, True, None),
    ],
)  # fmt: skip
def test_fulfilling_needs_a_payment_and_shipping_a_place_too(to, place, payment, said):
    command = SetStatus(order_id="a", item_status=to)
    order = facts(F, place=place, payment=payment)
    if said is None:
        assert decide(command, order) is to
    else:
        assert said in refusal(lambda: decide(command, order))


# ── creating, paying, shipping ───────────────────────────────────────────────────────────────────


def test_a_new_order_is_written_with_requested_items():
    expected = ItemDetail("Apple Rings", R, Decimal("0.07"), Currency.USD, 3)
    assert decide(create({}), facts()) == {"1": expected}


def test_an_order_that_exists_is_not_created_again():
    assert "already exists" in refusal(lambda: decide(create({}), facts(R)))


def test_money_in_a_row_is_a_plain_decimal():
    row = decide(create({}), facts())
    assert isinstance(row, dict)
    assert type(row["1"].price) is Decimal
    paid = decide(parse(body(PAY), Pay), facts(R))
    assert isinstance(paid, Payment)
    assert (type(paid.amount), type(paid.credit_card_number)) == (Decimal, str)


def test_a_payment_is_exactly_the_total_of_all_items():
    order = facts(R, R)  # 2 x 0.07 x 3
    pay = parse(body(PAY, amount=0.42), Pay)
    assert decide(pay, order) == Payment(
        "CREDIT", "Visa", "****-****-****-4242", Decimal("0.42"), Currency.USD
    )
    below = refusal(lambda: decide(parse(body(PAY, amount=0.41), Pay), order))
    above = refusal(lambda: decide(parse(body(PAY, amount=0.43), Pay), order))
    assert below != above
    assert "0.42" in below
    assert "0.42" in above


@pytest.mark.parametrize(
    ("statuses", "refused"), [((R,), False), ((F,), False), ((R, S), False), ((S, S), True)]
)
def test_place_and_payment_can_change_until_every_item_is_shipped(statuses, refused):
    order = facts(*statuses)
    for command, kind in (
        (parse(body(PLACE), ShipTo), ShippingLocation),
        (parse(body(PAY, amount=str(order.total)), Pay), Payment),
    ):
        if refused:
            assert "shipped" in refusal(lambda command=command: decide(command, order))
        else:
            assert isinstance(decide(command, order), kind)


def test_nothing_is_paid_or_sent_without_an_order():
    assert "no such order" in refusal(lambda: decide(parse(body(PLACE), ShipTo), facts()))
    assert "no such order" in refusal(lambda: decide(parse(body(PAY), Pay), facts()))


# ── money and cards ──────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 10**11 - 1), st.sampled_from(["number", "text"]))
def test_every_amount_that_fits_is_read_to_the_cent(cents, form):
    text = f"{cents // 100}.{cents % 100:02}"
    sent = text if form == "number" else f'"{text}"'
    pay = parse(body(PAY, amount="@").replace(b'"@"', sent.encode()), Pay)
    assert str(pay.amount) == text


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 1000)), min_size=1, max_size=20))
def test_a_total_is_the_exact_sum(lines):
    items = [
        {"itemId": str(i), "price": f"{c // 100}.{c % 100:02}", "quantity": q}
        for i, (c, q) in enumerate(lines)
    ]
    order = create(*items)
    assert order.total * 100 == sum(cents * quantity for cents, quantity in lines)
    assert OrderFacts(decide(order, facts()), False, False).total == order.total  # type: ignore[arg-type]


def test_the_card_number_ends_in_the_decoder():
    pay = parse(body(PAY), Pay)
    assert "4242 4242" not in repr(pay)
    assert pay.credit_card_number == "****-****-****-4242"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(KINDS))
def test_no_body_is_answered_with_anything_but_a_command_or_a_refusal(raw, kind):
    with pytest.raises(Refused):
        parse(raw, kind)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,25})?", fullmatch=True))
def test_any_number_of_json_is_money_or_refused(number):
    sent = body(PAY, amount="@").replace(b'"@"', number.encode())
    try:
        pay = parse(sent, Pay)
    except Refused as error:
        assert str(error) == f"amount must be {MUST_BE['amount']}"  # noqa: PT017
    else:
        assert pay.amount == Decimal(number)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda v: st.lists(v, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(MUST_BE)), JSON_VALUES)
def test_a_refusal_names_a_rule_and_never_shows_a_value(field, value):
    marked = [value, "5105-1051-0510-5100"]
    for kind, fields in (
        (Pay, PAY),
        (ShipTo, PLACE),
        (SetStatus, {"orderId": "a", "itemStatus": "FULFILLED"}),
    ):
        if field in fields:
            said = refusal(lambda kind=kind, fields=fields: parse(body(fields, **{field: marked}), kind))
            assert "5105" not in said
    if field in ITEM:
        said = refusal(lambda: create({field: marked}))
        assert said in {f"{field} of item 1 must be {MUST_BE[field]}", "the body must be valid JSON in UTF-8"}


@pytest.mark.parametrize(
    "status", ["$.4242424242424242", "x - at `$.items[0].price`", "` - at `$.amount`\n", "x\ny"]
)
def test_a_value_that_looks_like_a_path_does_not_show_either(status):
    said = refusal(lambda: parse(body({"orderId": "a"}, itemStatus=status), SetStatus))
    assert said == f"itemStatus must be {MUST_BE['itemStatus']}"


def test_a_refusal_has_no_cause_that_could_be_logged():
    with pytest.raises(Refused) as caught:
        parse(body(PAY, creditCardNumber=[CARD]), Pay)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# ── the columns ──────────────────────────────────────────────────────────────────────────────────


def test_the_lengths_in_the_rules_are_the_columns():
    ddl = (Path(snacks.__file__).parent / "tables.sql").read_text("utf-8")
    for column, length in re.findall(r"^    (\w+) VARCHAR\((\d+)\)", ddl, re.MULTILINE):
        words = column.split("_")
        field = words[0] + "".join(map(str.title, words[1:]))
        if field != "creditCardNumber":  # its column holds the mask
            assert f" {length} characters" in MUST_BE[field]
