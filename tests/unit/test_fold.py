"""The fold and the document, case by case. Cases A and B of the bug log by number."""

import json
import time
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace
from tests.row_changes import (
    APPLE,
    BASE,
    FULFILLED,
    NOW,
    QUAY,
    REQUESTED,
    SHIPPED,
    VISA,
    folded,
    item,
    payment,
    place,
)

from snacks.domain.order import (
    NEW,
    IncompleteRow,
    ItemDetail,
    PartialRow,
    RowChange,
    encode,
    fold,
    order_status,
    project,
)
from snacks.domain.values import OrderStatus


def apple(**columns: Any) -> ItemDetail:
    return replace(APPLE, **columns)


def shown(*changes: RowChange) -> Any:
    """The document after the changes, as its readers parse it; None if there is none."""
    order = project("kit-1", folded(*changes))
    return None if order is None else json.loads(encode(order), parse_float=Decimal)


D1 = {
    "orderId": "kit-1",
    "orderStatus": "PAID",
    "modifiedDate": "2026-01-01T00:00:00",
    "items": [
        {
            "itemId": "1",
            "itemName": "Apple Rings",
            "itemStatus": "REQUESTED",
            "price": {"price": Decimal("1.25"), "currency": "USD"},
            "quantity": 2,
        }
    ],
    "shippingLocation": {
        "customerName": "Ada K",
        "customerAddress": "9 Quay St",
        "zipCode": "00501",
        "geoLocation": {"latitude": Decimal("1.5"), "longitude": Decimal("-2.5")},
    },
    "payment": {
        "paymentType": "CREDIT",
        "creditCardType": "Visa",
        "creditCardNumber": "****-****-****-4242",
        "amount": {"amount": Decimal("2.50"), "currency": "USD"},
    },
}

# ── the join ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", list(permutations(BASE)))
def test_b1_any_arrival_order_and_any_repeat_gives_the_same_document(order):
    assert shown(*order) == D1
    assert shown(*(change for change in order for _ in range(2))) == D1
    assert shown(*order, *order) == D1


def test_an_order_needs_an_item_and_a_shipping_location_but_no_payment():
    assert shown(item(), payment()) is None
    assert shown(place(), payment()) is None
    assert shown(item(), place()) == D1 | {"orderStatus": "PENDING", "payment": None}


def test_b3_a_shipping_location_that_goes_and_comes_takes_the_document_along():
    gone = (*BASE, place(None))
    assert shown(*gone) is None
    back = shown(*gone, place(replace(QUAY, zip_code="00502")))
    assert back["shippingLocation"]["zipCode"] == "00502"
    assert back["payment"] == D1["payment"]


def test_b4_a_second_payment_and_half_a_command_double_no_item():
    two = (*BASE, item(item_id="2"), payment(), payment(replace(VISA, amount=Decimal("5.00"))))
    half = shown(*two, item(apple(item_status=FULFILLED)))
    assert [one["itemId"] for one in half["items"]] == ["1", "2"]
    assert half["orderStatus"] == "PAID"
    whole = shown(*two, item(apple(item_status=FULFILLED)), item(apple(item_status=FULFILLED), "2"))
    assert whole["orderStatus"] == "FULFILLED"
    assert {one["itemStatus"] for one in whole["items"]} == {"FULFILLED"}


def test_b5_a_correction_at_the_same_status_shows():
    name, price = "Apple Rings (vegan)", Decimal("1.30")
    document = shown(*BASE, item(apple(item_name=name, price=price, quantity=9)))
    assert document["items"][0] == D1["items"][0] | {  # type: ignore[index]
        "itemName": name,
        "price": {"price": price, "currency": "USD"},
        "quantity": 9,
    }


def test_b6_a_delete_of_any_row_is_folded():
    assert shown(*BASE, payment(None))["payment"] is None
    assert shown(*BASE, item(None)) is None
    assert shown(*BASE, place(None)) is None


def test_b7_an_item_never_goes_back_to_a_lower_status_but_a_row_made_again_begins_again():
    shipped = folded(*BASE, item(apple(item_status=SHIPPED)))
    assert fold(shipped, item()) is shipped
    again = folded(item(None), item(), state=shipped)
    assert again.items["1"].row == APPLE


def test_b8_the_status_is_told_from_what_is_left():
    changes = [item(apple(item_status=SHIPPED)), item(item_id="2"), place(), payment()]
    assert shown(*changes)["orderStatus"] == "PAID"
    changes.append(item(None, "2"))
    assert shown(*changes)["orderStatus"] == "SHIPPED"
    changes.append(payment(None))
    assert shown(*changes)["orderStatus"] == "SHIPPED"
    assert shown(*changes)["payment"] is None


def test_b9_items_stand_in_the_order_of_their_ids_as_text():
    items = [item(item_id=item_id) for item_id in ("10", "9", "2", "A", "é", "\U0001f36d")]
    document = shown(*items, place())
    assert [one["itemId"] for one in document["items"]] == ["10", "2", "9", "A", "é", "\U0001f36d"]


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns", "UTC"])
def test_b10_modified_date_is_utc_whatever_the_zone_of_the_process(zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert shown(*BASE)["modifiedDate"] == "2026-01-01T00:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_modified_date_says_when_the_newest_row_changed_and_a_delete_is_a_change():
    assert (
        shown(item(), place(at=NOW + 59_999), payment(at=NOW + 1_000))["modifiedDate"]
        == "2026-01-01T00:00:59"
    )
    assert shown(*BASE, payment(None, at=NOW + 61_000))["modifiedDate"] == "2026-01-01T00:01:01"


@pytest.mark.timeout(60)
def test_b12_a_big_order_folds():
    state = NEW
    for status in (REQUESTED, FULFILLED, SHIPPED):
        for n in range(5000):
            state = fold(state, item(apple(item_status=status), str(n)))
    assert len(encode(state)) < 8 * 1024 * 1024


# ── one row ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", [item(), place(), payment()])
def test_a_repeat_is_the_very_same_state(change):
    state = folded(*BASE)
    assert fold(state, change) is state
    assert fold(state, replace(change, at=NOW + 5)) is state


def test_a_repeat_at_a_newer_position_changes_nothing_that_shows():
    before = folded(*BASE, replace(payment(), position=(1, 1)))
    after = fold(before, replace(payment(at=NOW + 60_000), position=(1, 2)))
    assert after is not before
    assert after.revision == before.revision
    assert project("kit-1", after) == project("kit-1", before)
    assert fold(after, replace(payment(None, at=NOW + 1), position=(1, 1))) is after
    assert fold(after, replace(payment(at=NOW + 60_000), position=(1, 2))) is after


def test_a_checkpoint_of_a_row_that_was_told_of_once_says_nothing_of_repeats():
    assert b"seen" not in encode(folded(*(replace(change, position=(1, 1)) for change in BASE)))


@pytest.mark.parametrize("change", [item(None), place(None), payment(None)])
def test_a_delete_of_a_row_never_seen_says_nothing(change):
    assert fold(NEW, change) is NEW
    gone = folded(*BASE, change)
    assert fold(gone, change) is gone


@pytest.mark.parametrize(
    ("at", "position", "older"),
    [
        (-1, (1, 400), True),
        (-1, (1, 800), False),  # the clock was set back
        (1, (1, 400), False),  # a fail-over: another server's binlog
        (0, (1, 400), True),  # sent again: a change before it in the same transaction, or second
        (-1, (1, 700), False),
        (-1, None, False),
        (-1, (0, 9999), True),
    ],
)
def test_a18_a_record_is_older_if_its_position_is_lower_and_its_time_no_higher(at, position, older):
    held = folded(item(apple(quantity=9), position=(1, 700)))
    late = item(at=NOW + at, position=position)
    assert (fold(held, late) is held) is older


def test_a_record_older_than_a_delete_does_not_revive_the_row():
    gone = folded(item(position=(1, 400)), item(None, at=NOW + 9, position=(1, 700)))
    assert fold(gone, item(at=NOW + 1, position=(1, 500))) is gone


def test_a12_a13_missing_columns_keep_their_values():
    partial = PartialRow({"item_status": FULFILLED, "quantity": 5}, ("item_name", "price", "currency"))
    assert folded(item(), item(partial)).items["1"].row == apple(item_status=FULFILLED, quantity=5)


@pytest.mark.parametrize("before", [(), (item(), item(None)), (item(item_id="2"),)])
def test_a12_a_partial_row_of_a_row_that_is_not_there_is_refused(before):
    state = folded(*before)
    with pytest.raises(IncompleteRow, match="price"):
        fold(state, item(PartialRow({"quantity": 5}, ("item_name", "price"))))


def test_a_partial_row_does_not_step_back_either():
    shipped = folded(item(apple(item_status=SHIPPED)))
    assert fold(shipped, item(PartialRow({"item_status": REQUESTED}, ("item_name",)))) is shipped


def test_an_order_of_which_nothing_is_left_is_empty():
    assert not NEW.has_deletions
    assert not folded(*BASE).has_deletions
    assert folded(*BASE, item(None), place(None), payment(None)).has_deletions


@pytest.mark.parametrize(
    ("items", "paid", "status"),
    [
        ([REQUESTED], False, OrderStatus.PENDING),
        ([REQUESTED], True, OrderStatus.PAID),
        ([REQUESTED, SHIPPED], True, OrderStatus.PAID),
        ([REQUESTED, FULFILLED], False, OrderStatus.PENDING),
        ([FULFILLED, FULFILLED], True, OrderStatus.FULFILLED),
        ([FULFILLED, SHIPPED], True, OrderStatus.FULFILLED),
        ([FULFILLED, SHIPPED], False, OrderStatus.FULFILLED),
        ([SHIPPED, SHIPPED], True, OrderStatus.SHIPPED),
        ([SHIPPED], False, OrderStatus.SHIPPED),
    ],
)
def test_the_status_of_an_order(items, paid, status):
    for order in permutations(items):
        assert order_status(list(order), paid=paid) is status
