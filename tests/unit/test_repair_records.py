"""What repair does about an order that differs: records that put it right, from MySQL or the topics."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evidence import LATER, WHOLE, judged, known, mysql, repaired, state_of
from tests.given import EPOCH, Log, item, payment, place

from snacks.actors.order import OrderActor
from snacks.cdc import Undecodable, decode, table_of
from snacks.domain.order import RowChange, encode, fold, project
from snacks.domain.repair import Repair, digest
from snacks.repair.evidence import Evidence, by_fold, by_mysql, rows_of
from snacks.repair.rows import Rows
from snacks.repair.spool import Known
from snacks.repair.stored import document

# ── what is done about it ────────────────────────────────────────────────────────────────────────


async def test_rows_that_differ_are_put_right_and_published() -> None:
    wanted = (item(item_status="SHIPPED"), item(item_id="2"), place(zip_code="9"))
    state, outcome = await repaired(judged(state_of(*WHOLE, item(item_id="3")), *wanted))
    assert {key: kept.row for key, kept in rows_of(state).items()} == mysql(*wanted).rows
    assert outcome is not None
    assert (outcome.publish, outcome.order) == (True, project("kit-1", state))


async def test_a_status_goes_back_where_mysql_says_so() -> None:
    state, _ = await repaired(judged(state_of(item(item_status="SHIPPED"), place()), item(), place()))
    assert state.items["1"].row == mysql(item()).rows["item_detail", "1"]


async def test_a_document_that_is_missing_is_written_again_unchanged_and_nothing_is_published() -> None:
    before = state_of(*WHOLE)
    state, outcome = await repaired(judged(before, *WHOLE, document=None))
    assert state.revision == before.revision
    assert outcome is not None
    assert (outcome.publish, outcome.order) == (False, project("kit-1", before))


async def test_a_document_with_a_revision_of_its_own_is_overtaken() -> None:
    state = state_of(*WHOLE)
    order = project("kit-1", state)
    assert order is not None
    after, _ = await repaired(judged(state, *WHOLE, document=document("kit-1", 1_000, order)))
    assert after.revision == 1_001


async def test_an_aggregate_that_the_topic_lost_is_published_again() -> None:
    _, outcome = await repaired(judged(state_of(*WHOLE), *WHOLE, topic=None))
    assert outcome is not None
    assert outcome.publish


async def test_a_stray_document_is_removed_and_nothing_is_published() -> None:
    order = project("kit-1", state_of(*WHOLE))
    assert order is not None
    one = by_mysql("kit-1", Rows({}), LATER, Known(), document("kit-1", 77, order))
    state, outcome = await repaired(one)
    assert outcome is not None
    assert (outcome.forget, outcome.publish, state.revision) == (True, False, 78)


async def test_a_repair_that_comes_after_a_change_says_nothing() -> None:
    one = judged(state_of(*WHOLE), item(quantity=3), place(), payment())
    newer = state_of(item(quantity=5), place(), payment(), at=EPOCH + 1)
    assert await repaired(Evidence("kit-1", one.wanted, one.state, None, None, one.gone)) is not None
    actor = OrderActor("kit-1", newer)
    (record,) = one.repair()
    change = decode("item_detail", record.key, record.value, EPOCH)
    assert isinstance(change, RowChange)
    assert await actor.receive([change], []) is None


async def test_a_change_that_comes_after_a_repair_counts_and_an_older_one_does_not() -> None:
    one = judged(state_of(*WHOLE, position=10), item(quantity=3), place(), payment())
    state, _ = await repaired(one)
    for position, at, quantity in ((20, EPOCH + 1, 3), (9_500, EPOCH + 1, 7)):
        (record,) = Log().rows(item(quantity=7), at=at, position=position)
        change = decode("item_detail", record.key, record.value, EPOCH)
        assert isinstance(change, RowChange)
        after = fold(state, change).items["1"].row
        assert after is not None
        assert after.quantity == quantity


def test_a_repair_that_is_not_one_is_a_dead_letter() -> None:
    record = b'{"order_id":"a","item_id":"1","__deleted":"true","__repair":{"held":5}}'
    with pytest.raises(Undecodable, match="__repair"):
        decode("item_detail", b'{"order_id":"a","item_id":"1"}', record, 0)


def test_whether_a_deleted_row_is_still_remembered_does_not_count() -> None:
    state = state_of(item())
    change = RowChange("item_detail", "kit-1", "1", None, EPOCH)
    assert digest(fold(state, change).items["1"]) == digest(None) == ""


def test_a_repair_is_no_news_the_second_time_it_changes_a_row() -> None:
    state = state_of(item())
    row = mysql(item(quantity=9)).rows["item_detail", "1"]
    change = RowChange("item_detail", "kit-1", "1", row, EPOCH, None, Repair(digest(state.items["1"])))
    once = fold(state, change)
    assert fold(once, change) is once


# ── rebuild ──────────────────────────────────────────────────────────────────────────────────────


def test_topics_that_lack_a_row_of_an_order_are_no_truth_for_it() -> None:
    have = Known(0, encode(state_of(*WHOLE)), None, encode(state_of(item(), place())))
    assert by_fold("kit-1", have, None) is None


async def test_a_state_that_was_folded_wrong_is_brought_to_what_the_topics_give() -> None:
    right = state_of(item(quantity=4), place())
    have, shown = known(state_of(item(quantity=2), place()))
    have.folded = encode(right)
    one = by_fold("kit-1", have, shown)
    assert one is not None
    assert one.differs()
    state, _ = await repaired(one)
    assert rows_of(state) == rows_of(right)


async def test_a_rebuild_brings_back_what_was_seen_of_a_row_but_not_for_that_alone() -> None:
    first, last = (state_of(*WHOLE, at=at, position=at - EPOCH) for at in (EPOCH + 1, EPOCH + 3))
    seen = state_of(*WHOLE, at=EPOCH + 1, position=1)
    for record in Log().rows(*WHOLE, at=EPOCH + 3, position=3):
        change = decode(table_of(record.topic) or "", record.key, record.value, record.timestamp)
        assert isinstance(change, RowChange)
        seen = fold(seen, change)
    have, shown = known(first)
    have.folded = encode(seen)
    one = by_fold("kit-1", have, shown)
    assert one is not None
    assert not one.differs()
    have, shown = known(last)
    have.folded = encode(seen)
    one = by_fold("kit-1", have, shown)
    assert one is not None
    state, _ = await repaired(one)
    assert rows_of(state) == rows_of(seen)


OPTIONS = st.lists(
    st.one_of(
        st.builds(item, item_id=st.sampled_from("12"), item_status=st.sampled_from(["REQUESTED", "SHIPPED"])),
        st.builds(place, zip_code=st.sampled_from("ab")),
        st.builds(payment, amount=st.sampled_from(["1.00", "2.00"])),
    ),
    max_size=6,
)


@given(held=OPTIONS, truth=OPTIONS)
@settings(max_examples=200, deadline=None)
async def test_whatever_is_held_and_whatever_is_true_the_repair_ends_at_the_truth(
    held: list[Any], truth: list[Any]
) -> None:
    rows = {(table, key.get("item_id")): (table, key, columns) for table, key, columns in truth}
    one = judged(state_of(*held), *rows.values())
    state, _ = await repaired(one) if one.differs() else (one.state, None)
    assert {key: kept.row for key, kept in rows_of(state).items()} == mysql(*rows.values()).rows
