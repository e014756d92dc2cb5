"""What repair knows of one order: partitions, differences, and the records that put it right."""

import asyncio
from pathlib import Path
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar.di import Provide
from litestar.testing import create_test_client
from tests.given import EPOCH, Log, item, payment, place

from snacks import config
from snacks.actors.order import OrderActor, Outcome
from snacks.cdc import Undecodable, decode, table_of
from snacks.cdc.columns import COLUMNS
from snacks.domain.order import NEW, ROWS, OrderState, RowChange, encode, fold, project
from snacks.domain.repair import Repair, digest
from snacks.http import drift
from snacks.repair import RepairError
from snacks.repair.evidence import Evidence, by_fold, by_mysql, rows_of, same_content
from snacks.repair.partition import murmur, partition_of
from snacks.repair.rows import Moment, Rows
from snacks.repair.sample import Drift, DriftStatus
from snacks.repair.spool import Known, Spool
from snacks.repair.stored import CODEC, document, opened

LATER = Moment(EPOCH + 60_000, (1, 9_000))


def state_of(*rows: Any, **options: Any) -> OrderState:
    state = NEW
    for record in Log().rows(*rows, **options):
        change = decode(table_of(record.topic) or "", record.key, record.value, record.timestamp)
        assert isinstance(change, RowChange)
        state = fold(state, change)
    return state


def mysql(*rows: Any) -> Rows:
    found = Rows({})
    for table, key, columns in rows:
        values = [column.read(column.name, columns[column.name]) for column in COLUMNS[table]]
        found.rows[table, key.get("item_id", "")] = ROWS[table](*values)
    return found


def known(state: OrderState) -> tuple[Known, bytes | None]:
    """All parts as they are when they agree with the state."""
    order = project("kit-1", state)
    shown = None if order is None else document("kit-1", state.revision, order)
    return Known(0, encode(state), None if order is None else encode(order)), shown


def judged(state: OrderState, *rows: Any, **other: Any) -> Evidence:
    have, shown = known(state)
    have.topic = other.get("topic", have.topic)
    return by_mysql("kit-1", mysql(*rows), LATER, have, other.get("document", shown))


async def repaired(one: Evidence) -> tuple[OrderState, Outcome | None]:
    """The order after its actor had the repair records, as they go over the wire."""
    actor, outcome = OrderActor(one.order_id, one.state), None
    for record in one.repair():
        change = decode(table_of(record.topic) or "", record.key, record.value, EPOCH + 70_000)
        assert isinstance(change, RowChange)
        outcome = await actor.receive([change], []) or outcome
    return actor.state, outcome


WHOLE = (item(), place(), payment())


# ── partitions ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("order_id", "hashed"),
    [
        ("", 89125410),
        ("kit-1", 474925723),
        ("0123456789abcdef", 26898387),
        ("ünï€😀", 2283610578),
        ("0123456789abcdef€", 580481944),
    ],
)
def test_the_hash_stays_as_it_was_when_the_real_connector_agreed(order_id: str, hashed: int) -> None:
    assert murmur(order_id.encode()) == hashed


def test_a_partition_is_one_of_those_there_are() -> None:
    assert {partition_of(f"kit-{number}", 6) for number in range(100)} == set(range(6))


# ── what differs ─────────────────────────────────────────────────────────────────────────────────


def test_an_order_that_agrees_everywhere_does_not_differ() -> None:
    one = judged(state_of(*WHOLE), *WHOLE)
    assert (one.differs(), one.differences()) == (False, [])


def test_an_order_that_is_not_complete_needs_no_document_and_no_aggregate() -> None:
    assert not judged(state_of(item()), item()).differs()


def test_every_part_that_differs_is_named_with_its_field() -> None:
    one = judged(state_of(*WHOLE), item(quantity=3), place(), payment(), topic=None, document=None)
    found = {(one.where, one.field, one.expected[:8], one.found[:8]) for one in one.differences()}
    assert ("actor", "item_detail 1.quantity", "3", "2") in found
    assert {("topic", "whole"), ("document", "whole")} <= {one[:2] for one in found}


def test_a_card_number_in_a_document_is_masked_in_the_report() -> None:
    state = state_of(*WHOLE)
    order = project("kit-1", state)
    assert order is not None
    shown = document("kit-1", 3, order).replace(b"****-****-****-4242", b"4111-1111-1111-1111")
    text = str(judged(state, *WHOLE, document=shown).differences())
    assert "****-****-****-1111" in text
    assert "4111-1111" not in text


def test_a_document_with_other_types_differs_though_its_values_are_equal() -> None:
    state = state_of(*WHOLE)
    order = project("kit-1", state)
    assert order is not None
    values = opened(document("kit-1", 3, order))
    values["customerOrder"]["items"][0]["quantity"] = 2.0
    one = judged(state, *WHOLE, document=bson.encode(values, codec_options=CODEC))
    assert one.differs()
    assert [(found.where, found.field) for found in one.differences()] == [("document", "document")]


def test_content_alone_may_be_compared_too() -> None:
    _, shown = known(state_of(*WHOLE))
    assert same_content("kit-1", mysql(*WHOLE), shown)
    assert not same_content("kit-1", mysql(item(quantity=3), place(), payment()), shown)
    assert not same_content("kit-1", mysql(*WHOLE), None)
    assert same_content("kit-1", mysql(item()), None)


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


def test_an_order_that_two_processes_hold_in_two_partitions_is_told(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool.db") as spool:
        spool.states({"kit-1": (2, b"{}"), "kit-2": (2, b"{}"), "kit-3": (2, b"{}")})
        spool.states({"kit-1": (2, b"{}"), "kit-2": (5, b"{}")})
        spool.states({"kit-3": (2, None)})
        spool.states({"kit-3": (5, b"{}")})  # it moved
        assert spool.splits(10) == {"kit-2": (2, 5)}


# ── the sampled check ────────────────────────────────────────────────────────────────────────────


def test_what_the_sampled_check_found_is_told_over_http() -> None:
    check = Drift(config.load({}))
    check.status = DriftStatus(1, 200, "2026-01-01T00:00:00+00:00", ["kit-1"])
    dependencies = {"drift": Provide(lambda: check, sync_to_thread=False)}
    with create_test_client([drift.router], dependencies=dependencies) as client:
        answer = client.get("/api/drift").json()
    assert answer == {
        "ordersDrifted": 1,
        "checked": 200,
        "at": "2026-01-01T00:00:00+00:00",
        "orders": ["kit-1"],
        "problem": "",
    }


async def test_the_sampled_check_goes_on_after_a_server_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Drift(config.load({"SNACKS_RECONCILE_EVERY": "0.001"}))
    asked = asyncio.Event()

    async def away() -> DriftStatus:
        if check.status.problem:
            asked.set()
        raise RepairError("MySQL cannot be read")

    monkeypatch.setattr(check, "check", away)
    running = asyncio.create_task(check.run())
    async with asyncio.timeout(10):
        await asked.wait()
    running.cancel()
    assert check.status.problem == "MySQL cannot be read"
