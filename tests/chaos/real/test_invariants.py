"""Each checker of the real chaos can fail: for every one a history that it must not pass."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest
from tests import oracle
from tests.chaos.real import checks
from tests.chaos.real.evidence import logged
from tests.chaos.real.faults import KINDS
from tests.chaos.real.ledger import Ledger
from tests.chaos.real.plan import at_least, rounds
from tests.chaos.real.proxy import DOWN, Link
from tests.chaos.real.readers import Readers
from tests.chaos.real.steps import Steps
from tests.given import Log, item, payment, place
from tests.waiting import until

from snacks.domain.order import encode, project
from snacks.repair import stored

RECORDS = Log().rows(item(), place(), payment())


def held() -> tuple[dict[str, tuple[int, bytes | None]], dict[str, bytes]]:
    """Topic and documents as they must be after RECORDS."""
    state = checks.folded(RECORDS)["kit-1"]
    order = project("kit-1", state)
    assert order is not None
    topic: dict[str, tuple[int, bytes | None]] = {"kit-1": (state.revision, encode(order))}
    return topic, {"kit-1": stored.document("kit-1", state.revision, order)}


def tables(**payment_columns: Any) -> oracle.Tables:
    """The rows of RECORDS."""
    made: oracle.Tables = {}
    for table, key, row in (item(), place(), payment(**payment_columns)):
        typed = {
            name: Decimal(value) if name in ("price", "amount") else value for name, value in row.items()
        }
        made[table] = [{**key, **typed}]
    return made


def test_documents_that_are_the_fold_of_mysql_pass() -> None:
    assert checks.mongodb_equals_mysql(tables(), held()[1]) == (1, [])


def test_a_document_that_lags_or_is_missing_is_found() -> None:
    assert checks.mongodb_equals_mysql(tables(amount="9.50"), held()[1])[1]
    assert checks.mongodb_equals_mysql(tables(), {})[1]


def test_a_document_that_mysql_knows_nothing_of_is_found() -> None:
    assert checks.mongodb_equals_mysql({name: [] for name in tables()}, held()[1])[1]


def test_topic_and_mongodb_that_agree_pass() -> None:
    assert checks.topic_equals_mongodb(*held()) == (1, [])


@pytest.mark.parametrize("wrong", ["value", "revision", "tombstone", "document"])
def test_a_topic_that_says_something_else_than_mongodb_is_found(wrong: str) -> None:
    topic, documents = held()
    revision, value = topic["kit-1"]
    assert value is not None
    other = json.loads(value) | {"modifiedDate": "2026-01-01T00:00:01"}
    planted: dict[str, Any] = {
        "value": (revision, json.dumps(other).encode()),
        "revision": (revision + 1, value),
        "tombstone": (revision, None),
        "document": (revision, value),
    }
    assert checks.topic_equals_mongodb({"kit-1": planted[wrong]}, {} if wrong == "document" else documents)[1]


def test_a_rebuild_that_gives_the_same_bytes_passes_in_any_order_of_the_topics() -> None:
    topic, documents = held()
    assert checks.rebuilding_gives_the_same(RECORDS[::-1], topic, documents) == (1, [])


def test_a_rebuild_that_gives_other_bytes_is_found() -> None:
    topic, documents = held()
    assert checks.rebuilding_gives_the_same(RECORDS[:2], topic, documents)[1]
    assert checks.rebuilding_gives_the_same([], topic, documents)[1]


def test_an_answer_that_mysql_contradicts_is_found() -> None:
    ledger = Ledger()
    ledger.answered(("credit_card_type", "kit-1"), "Visa", 200)
    ledger.answered(("customer_name", "kit-1"), "Nobody", 400)
    assert ledger.check(tables()) == (2, [])
    ledger.answered(("credit_card_type", "kit-1"), "Master", 200)
    ledger.answered(("customer_name", "kit-1"), "Ada K", 400)
    assert len(ledger.check(tables())[1]) == 2


def test_a_command_without_an_answer_may_have_been_done_or_not() -> None:
    ledger = Ledger()
    ledger.answered(("credit_card_type", "kit-1"), "Visa", None)
    ledger.answered(("credit_card_type", "kit-1"), "Master", 200)
    assert not ledger.check(tables())[1]
    ledger.answered(("credit_card_type", "kit-2"), "Visa", 503)
    assert not ledger.check(tables())[1]


def test_a_step_back_of_status_or_revision_is_found() -> None:
    def seen(*steps: tuple[str | None, int], order_id: str = "m-1") -> list[str]:
        reader = Steps("topic")
        for status, revision in steps:
            reader.saw(order_id, status, revision)
        return reader.violations

    assert not seen(("PENDING", 1), ("PAID", 2), ("PAID", 2), ("SHIPPED", 5))
    assert seen(("PAID", 2), ("PENDING", 3))
    assert seen(("PAID", 2), ("PAID", 1))
    assert seen(("PAID", 2), (None, 3))
    assert not seen(("PAID", 2), (None, 3), ("PENDING", 4), order_id="w-1")
    assert seen(("PAID", 2), (None, 3), ("PENDING", 1), order_id="w-1")


async def test_a_reader_that_died_of_a_defect_is_told_while_it_reads() -> None:
    nothing: Any = None
    readers = Readers(nothing, nothing, seed=1)
    async with readers.reading():
        with pytest.raises(AttributeError):
            await until(readers.check)


def test_a_late_recovery_is_found_unless_it_is_one_of_a_hundred() -> None:
    assert checks.recovery_in_time([1.0] * 99 + [60.0], 10.0)[1] == []
    assert checks.recovery_in_time([1.0] * 98 + [60.0] * 2, 10.0)[1]
    assert checks.recovery_in_time([1.0, 11.0], 10.0)[1]


@pytest.mark.parametrize("what", ["memory_mb", "descriptors", "tasks"])
def test_a_leak_is_found(what: str) -> None:
    before = {"a": {"memory_mb": 90, "descriptors": 40, "tasks": 50}}
    assert checks.resources_back(before, before) == (3, [])
    assert checks.resources_back(before, {"a": before["a"] | {what: 500}})[1]
    assert checks.resources_back(before, {"a": before["a"] | {"tasks": -1}})[1]


def test_a_fault_that_hit_nobody_is_found() -> None:
    assert checks.faults_hit([("kill", "gone"), ("cut", "")]) == (2, ["cut: hit nobody"])


def test_a_line_of_a_log_that_is_not_whole_yet_is_no_evidence() -> None:
    line = '{"shard": 3, "event": "shard runs", "level": "info"}'
    assert [one["shard"] for one in logged(f"{line}\nTraceback\n{line[:-2]}", "shard runs")] == [3]
    assert logged(line, "shards assigned") == []


def test_a_seed_gives_the_same_plan_and_faults_of_one_round_share_no_part() -> None:
    plan = list(islice(rounds(7, KINDS), 200))
    assert plan == list(islice(rounds(7, KINDS), 200)) != list(islice(rounds(8, KINDS), 200))
    assert all(len(one) == 1 or not one[0].parts & one[1].parts for one in plan)
    assert set(KINDS) == {fault.kind for one in plan for fault in one}


def test_the_smoke_has_forty_faults_of_ten_kinds() -> None:
    kinds = Counter(fault.kind for one in at_least(40, 1, KINDS) for fault in one)
    assert kinds.total() >= 40
    assert set(kinds) == set(KINDS)
    assert len(kinds) >= 10


@pytest.fixture
async def echo() -> Any:
    """A server that sends back what it gets, behind a link."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    link = Link("echo", server.sockets[0].getsockname()[1])
    await link.start()
    yield link
    await link.close()
    server.close()
    await server.wait_closed()


async def test_a_link_that_is_held_one_way_lets_nothing_through_and_loses_nothing(echo: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"one")
    assert await reader.read(9) == b"one"
    echo.hold(DOWN)
    writer.write(b"two")
    await until(lambda: echo.touched)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting := asyncio.create_task(reader.read(9))), 0.2)
    echo.heal()
    assert await waiting == b"two"
    writer.close()
    await writer.wait_closed()


async def test_a_link_that_is_healed_slows_down_nothing_that_came_before(echo: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    echo.throttle(1)
    writer.write(b"a" * 100)
    await until(lambda: echo.touched)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting := asyncio.create_task(reader.readexactly(100))), 0.2)
    echo.heal()
    assert await asyncio.wait_for(waiting, 20) == b"a" * 100  # throttled it would be 100 s
    writer.close()
    await writer.wait_closed()


async def test_a_link_that_is_cut_ends_its_connections_and_lets_none_in(echo: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"one")
    assert await reader.read(9) == b"one"
    echo.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read(9)
    writer.close()
    again, other = await asyncio.open_connection("127.0.0.1", echo.port)
    with pytest.raises(ConnectionResetError):
        await again.read(9)
    other.close()
    echo.heal()
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"three")
    assert await reader.read(9) == b"three"
    writer.close()
    await writer.wait_closed()
