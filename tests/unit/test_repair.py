"""What repair knows of one order: its partition, what differs, and what the sampled check tells of it."""

import asyncio
from pathlib import Path

import bson
import pytest
from litestar.di import Provide
from litestar.testing import create_test_client
from tests.evidence import WHOLE, judged, known, mysql, state_of
from tests.given import Log, item, payment, place

from snacks import config
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS
from snacks.domain.order import project
from snacks.http import drift
from snacks.repair import RepairError
from snacks.repair.evidence import same_content
from snacks.repair.partition import murmur, partition_of
from snacks.repair.reader import mirror
from snacks.repair.sample import Drift, DriftStatus
from snacks.repair.spool import Spool
from snacks.repair.stored import CODEC, document, opened

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


def test_an_order_that_two_processes_hold_in_two_partitions_is_told(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool.db") as spool:
        spool.states({"kit-1": (2, b"{}"), "kit-2": (2, b"{}"), "kit-3": (2, b"{}")})
        spool.states({"kit-1": (2, b"{}"), "kit-2": (5, b"{}")})
        spool.states({"kit-3": (2, None)})
        spool.states({"kit-3": (5, b"{}")})  # it moved
        assert spool.splits(10) == {"kit-2": (2, 5)}


@pytest.mark.parametrize("topic", [AGGREGATES, CHECKPOINTS])
@pytest.mark.parametrize("key", [b"\xff", None])
def test_a_record_whose_key_names_no_order_is_passed_over(
    tmp_path: Path, topic: str, key: bytes | None
) -> None:
    log = Log(partition=3)
    with Spool(tmp_path / "spool.db") as spool:
        mirror(spool, [log.record(topic, one, b"{}") for one in (b"kit-1", key, b"kit-2")])
        mirror(spool, [log.record(topic, key, b"{}")])
        assert set(spool.between("", None)) == {"kit-1", "kit-2"}


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


@pytest.mark.parametrize(
    ("published", "shown"),
    [
        (b"garbage 4111-1111-1111-1111", "garbage ****-****-****-1111"),
        (b'\xff{"a": 1}', '\ufffd{"a": 1}'),
        (b'"\xff"', '"\ufffd"'),
        (b"[" * 100_000, "[" * 120 + "…"),
        (b"null", "null"),
        (b"[1]", "[1]"),
        (b"", ""),
    ],
)
def test_an_aggregate_that_is_no_order_is_shown_as_text_and_is_repaired(published: bytes, shown: str) -> None:
    for state, rows in ((state_of(*WHOLE), WHOLE), (state_of(item()), (item(),))):
        one = judged(state, *rows, topic=published)
        assert one.differs()
        (found,) = one.differences()
        assert (found.where, found.field, found.found) == ("topic", "whole", shown)
        assert one.repair()


def test_content_alone_may_be_compared_too() -> None:
    _, shown = known(state_of(*WHOLE))
    assert same_content("kit-1", mysql(*WHOLE), shown)
    assert not same_content("kit-1", mysql(item(quantity=3), place(), payment()), shown)
    assert not same_content("kit-1", mysql(*WHOLE), None)
    assert same_content("kit-1", mysql(item()), None)


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
