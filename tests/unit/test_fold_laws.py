"""What holds for any history of an order's rows: its fold, its checkpoint and its document."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.row_changes import NOW, USD, VISA, folded, payment

from snacks.domain.order import (
    NEW,
    CustomerOrder,
    ItemDetail,
    OrderState,
    Payment,
    RowChange,
    ShippingLocation,
    decode_order,
    decode_state,
    encode,
    fold,
    project,
)
from snacks.domain.values import RANK, ItemStatus

money = st.integers(-1_000_000, 99_999_999_999).map(lambda cents: Decimal(cents).scaleb(-2))
text = st.text(max_size=8)
times = st.integers(0, 4_000_000_000_000)
item_rows = st.builds(
    ItemDetail, text, st.sampled_from(ItemStatus), money, st.just(USD), st.integers(1, 2**31 - 1)
)
degree = st.floats(-180, 180, allow_nan=False)
place_rows = st.builds(ShippingLocation, text, text, text, degree, degree)
payment_rows = st.builds(Payment, text, text, st.just("****-****-****-4242"), money, st.just(USD))


def of(table: str, rows: Any, items: Any) -> Any:
    return st.builds(RowChange, st.just(table), st.just("kit-1"), items, st.none() | rows, times)


changes = st.one_of(
    of("item_detail", item_rows, st.sampled_from(["1", "2", "10"])),
    of("shipping_location", place_rows, st.just("")),
    of("payment", payment_rows, st.just("")),
)
histories = st.lists(changes, max_size=12)


@st.composite
def interleaved(draw):
    """A history of each row, in its order, dealt out in two ways; the second with repeats."""
    history = draw(histories)
    rows: dict[Any, list[RowChange]] = {}
    for change in history:
        rows.setdefault((change.table, change.item_id), []).append(change)
    turns = draw(st.permutations([row for row, of_row in rows.items() for _ in of_row]))
    queues = {row: iter(of_row) for row, of_row in rows.items()}
    other = []
    for row in turns:
        other += [next(queues[row])] * draw(st.integers(1, 2))
    return history, other


@given(interleaved())
def test_any_interleaving_of_rows_with_any_repeats_gives_the_same_bytes(both):
    one, other = (folded(*history) for history in both)
    assert {k: v for k, v in one.items.items() if v.row} == {k: v for k, v in other.items.items() if v.row}
    assert one == replace(other, items={name: other.items[name] for name in one.items})
    orders = [project("kit-1", state) for state in (one, other)]
    assert orders[0] == orders[1]
    if orders[0] is not None and orders[1] is not None:
        assert encode(orders[0]) == encode(orders[1])


@given(histories)
def test_folding_the_same_history_again_gives_the_same_bytes(history):
    assert encode(folded(*history)) == encode(folded(*history))


@given(histories)
def test_a_status_never_goes_back_without_a_delete(history):
    state = NEW
    for change in history:
        after = fold(state, change)
        for item_id, kept in state.items.items():
            now = after.items[item_id].row
            if kept.row is not None and now is not None:
                assert RANK[now.item_status] >= RANK[kept.row.item_status]
        assert after.revision == state.revision + (after is not state)
        state = after


@given(histories)
def test_a_state_survives_its_checkpoint_byte_for_byte(history):
    state = folded(*history)
    assert decode_state(encode(state)) == state
    assert encode(decode_state(encode(state))) == encode(state)


@given(histories)
def test_an_order_survives_its_topic_and_its_money_is_a_number(history):
    order = project("kit-1", folded(*history))
    if order is None:
        return
    assert decode_order(encode(order)) == order
    parsed = json.loads(encode(order), parse_float=Decimal)
    for shown_item, kept in zip(parsed["items"], order.items, strict=True):
        assert Decimal(shown_item["price"]["price"]) == kept.price.price
        assert not isinstance(shown_item["price"]["price"], str)
    assert isinstance(order, CustomerOrder)


paid_or_not = st.lists(st.none() | payment_rows, min_size=1, max_size=8)


def numbered(rows: list[Payment | None]) -> list[RowChange]:
    """The history of a row, as a binlog tells it."""
    return [replace(payment(row, at=NOW + n), position=(1, n)) for n, row in enumerate(rows)]


@st.composite
def shuffled(draw):
    """A row's records in their order, and in another one, some of them twice."""
    told = numbered(draw(paid_or_not))
    again = draw(st.lists(st.sampled_from(told), max_size=3))
    return told, draw(st.permutations([*told, *again]))


A, B = VISA, replace(VISA, credit_card_type="Other")
ABA, GONE = numbered([A, B, A]), numbered([A, None])


@given(shuffled())
@example((ABA, [ABA[0], ABA[2], ABA[1]]))  # a repeat is newer than what comes late
@example((GONE, [GONE[1], GONE[0]]))  # so is a delete of a row that was never there
@example((numbered([None, A, None]), [*numbered([None, A, None])[::2], numbered([None, A])[1]]))
def test_positions_make_late_records_harmless(told_and_shuffled):
    """Numbered by a binlog, a row's records may come in any order, repeated: the newest one stays."""
    told, in_another_order = told_and_shuffled
    state = NEW
    for change in in_another_order:
        after = decode_state(encode(fold(state, change)))
        assert after.revision == state.revision + (row_of(after) != row_of(state))
        state = after
    assert row_of(state) == told[-1].row
    for change in told:
        assert fold(state, change) is state


def row_of(state: OrderState) -> Payment | None:
    return None if state.payment is None else state.payment.row
