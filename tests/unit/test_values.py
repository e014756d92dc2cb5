"""The small words of the domain: money, card masks, order ids, statuses."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snacks.domain.values import (
    CARD_DIGITS,
    MASKED,
    RANK,
    STATUS_BY_ORDINAL,
    ItemStatus,
    mask_card,
    mask_cards,
    order_id_problem,
    to_cents,
)


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
    ("number", "mask"),
    [
        ("1111-1111-1111-1111", "****-****-****-1111"),
        ("4242 4242 4242 4242", "****-****-****-4242"),
        ("4242424242424242", "****-****-****-4242"),
        ("378282246310005", "****-****-****-0005"),
        ("4242424242424242424", "****-****-****-2424"),
        ("４２４２４２４２４２４２４２４２", "****-****-****-4242"),  # noqa: RUF001
        ("4242", "****-****-****-****"),
        ("12345", "****-****-****-****"),
        ("424242424242", "****-****-****-****"),
        ("", "****-****-****-****"),
        ("not a card", "****-****-****-****"),
    ],
)
def test_a_mask_shows_the_last_four_of_at_least_thirteen_digits_and_nothing_else(number, mask):
    assert mask_card(number) == mask


@pytest.mark.parametrize("mask", ["****-****-****-1111", "****-****-****-****"])
def test_a_mask_stays_as_it_is(mask):
    assert mask_card(mask) == mask


@given(st.text(alphabet="0123456789 -*x٣", max_size=30))
def test_whatever_goes_in_a_mask_comes_out(number):
    mask = mask_card(number)
    assert MASKED.fullmatch(mask)
    assert mask_card(mask) == mask
    shown = mask.removeprefix("****-****-****-")
    assert shown == "****" or number == mask or sum(char.isdigit() for char in number) >= CARD_DIGITS


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("card 4111111111111111 refused", "card ****-****-****-1111 refused"),
        ('{"creditCardNumber":"4111-1111-1111-1111"}', '{"creditCardNumber":"****-****-****-1111"}'),
        ("4111 1111 1111 1111", "****-****-****-1111"),
        ("378282246310005,6011111111111117", "****-****-****-0005,****-****-****-1117"),
        ("order 123456789012", "order 123456789012"),
        ("at 1767225600000 ms", "at 1767225600000 ms"),
        ("id 01a2121a-3c38-4111-1111-111111111111", "id 01a2121a-3c38-4111-1111-111111111111"),
        ("40.7127281234567890", "40.7127281234567890"),
    ],
)
def test_card_numbers_in_text_are_masked_and_other_numbers_are_left(text, masked):
    assert mask_cards(text) == masked


@given(st.text(), st.from_regex(r"[3-6]\d{12,18}", fullmatch=True), st.text(alphabet='abc ,:"{}'))
def test_no_whole_card_number_survives_in_text(before, card, after):
    text = before.rstrip("0123456789.-") + " " + card + after
    assert card not in mask_cards(text)


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
