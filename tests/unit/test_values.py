"""The small words of the domain: money, order ids, statuses."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snacks.domain.values import RANK, STATUS_BY_ORDINAL, ItemStatus, order_id_problem, to_cents


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("1.25", "1.25"),
        ("1.2500000000000002", "1.25"),
        ("0.30000000000000004", "0.30"),
        ("0.005", "0.01"),
        ("-0.005", "-0.01"),
        ("2", "2.00"),
        ("1E+2", "100.00"),
        ("999999999.99", "999999999.99"),
    ],
)
def test_money_has_exactly_two_decimal_places(amount, cents):
    assert str(to_cents(Decimal(amount))) == cents


@pytest.mark.parametrize(
    "amount", ["NaN", "sNaN", "Infinity", "-Infinity", "1000000000", "1E+999999", "-1E9"]
)
def test_money_is_finite_and_below_the_limit(amount):
    with pytest.raises(ValueError, match="finite amount below"):
        to_cents(Decimal(amount))


@given(st.decimals(-999_999_999, 999_999_999, places=6))
def test_cents_are_the_nearest_and_stay_as_they_are(amount):
    cents = to_cents(amount)
    assert abs(cents - amount) <= Decimal("0.005")
    assert to_cents(cents) == cents
    assert cents.as_tuple().exponent == -2


@pytest.mark.parametrize(
    "order_id", ["kit-1", "KIT-1", "kit-1 ", " kit-1", "🍭", "a.b", "$a", "a/b", "..", "x" * 64]
)
def test_order_ids_are_nearly_any_text(order_id):
    assert order_id_problem(order_id) is None


@pytest.mark.parametrize(
    ("order_id", "problem"),
    [
        ("", "blank"),
        ("   ", "blank"),
        ("x" * 65, "64"),
        ("a\x00b", "control"),
        ("a\tb", "control"),
        ("a\x85b", "control"),
        ("@shard", "@"),
        ("snickers-promotion", "reserved"),
        ("stream", "reserved"),
        ("/stream", "reserved"),
        ("stream/", "reserved"),
    ],
)
def test_an_order_id_that_cannot_be_one_says_why(order_id, problem):
    assert problem in (order_id_problem(order_id) or "")


def test_the_rank_of_a_status_is_the_ancestors_ordinal():
    assert [(status.value, status.rank) for status in STATUS_BY_ORDINAL] == [
        ("REQUESTED", 0),
        ("FULFILLED", 1),
        ("SHIPPED", 2),
    ]
    assert list(RANK) == list(ItemStatus)
