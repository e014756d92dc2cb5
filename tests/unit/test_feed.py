"""What a subscriber is told, whatever happens to orders while it is slow, away or somewhere else."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from snacks.domain.values import OrderStatus
from snacks.feed import Change, Cursor, Ended, Present, Subscription, decode_cursor, subscribe
from snacks.feed.cursor import encode_cursor
from snacks.feed.present import OLDEST_CURSOR
from snacks.feed.subscription import BATCH_MESSAGES
from snacks.feed.tail import change_of

NOW = 1_767_225_600_000
PARTITIONS = 2
MANY = 10_000


class Topic:
    """Gives changes their offsets, as the aggregate topic would; an order lies in one partition."""

    def __init__(self) -> None:
        self.records: list[Change] = []
        self._revisions: dict[str, int] = {}

    def put(self, order_id: str, status: str | None, revision: int | None = -1, at: int = NOW) -> Change:
        """`revision` -1: the order's next one; None: a record without."""
        partition = sum(order_id.encode()) % PARTITIONS
        offset = 2 * sum(one.partition == partition for one in self.records)  # with gaps
        if revision == -1:
            revision = self._revisions[order_id] = self._revisions.get(order_id, 0) + 1
        body = None if status is None else json.dumps({"orderId": order_id})
        change = Change(order_id, partition, offset, at, revision, status, body)
        self.records.append(change)
        return change

    def by_partition(self) -> list[Change]:
        """As a process reads them that starts late: one partition after the other."""
        return sorted(self.records, key=lambda change: (change.partition, change.offset))


def knowing(changes: Iterable[Change], finished: int = MANY) -> Present:
    present = Present(PARTITIONS, finished)
    present.apply(changes)
    present.say(live=True)
    return present


def reading(
    present: Present, order_id: str | None = None, status: OrderStatus | None = None, cursor: str = ""
) -> Subscription:
    return subscribe(present, order_id, status, cursor, NOW)


async def told(reader: Subscription) -> list[dict[str, Any]]:
    """Everything that waits for it now."""
    messages: list[dict[str, Any]] = []
    while more := await reader.next(0):
        messages += map(json.loads, more)
    return messages


def brief(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (m["type"], *([m["orderId"]] if "orderId" in m else []), *filter(None, [m.get("orderStatus")]))
        for m in messages
    ]


# ── the state, then changes ──────────────────────────────────────────────────────────────────────


async def test_the_present_state_comes_first_then_current_then_each_change() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "PENDING"), topic.put("b", "PAID")])
    reader = reading(present)
    assert brief(await told(reader)) == [
        ("hello",), ("order", "a", "PENDING"), ("order", "b", "PAID"), ("current",)
    ]  # fmt: skip
    present.apply([topic.put("a", "PAID"), topic.put("c", "PENDING")])
    assert brief(await told(reader)) == [("order", "a", "PAID"), ("order", "c", "PENDING")]
    assert await told(reader) == []


async def test_a_change_during_the_snapshot_is_told_once_and_is_the_newest() -> None:
    topic = Topic()
    present = knowing([topic.put(f"{n:04}", "PENDING") for n in range(3 * BATCH_MESSAGES)])
    reader = reading(present)
    first = [json.loads(one) for _ in range(2) for one in await reader.next(0)]
    present.apply([topic.put("0000", "PAID"), topic.put("0100", "PAID")])
    rest = await told(reader)
    seen = [m["orderId"] for m in first + rest if m["type"] == "order"]
    assert (seen.count("0000"), seen.count("0100")) == (2, 1)  # told before it changed; not yet told
    assert [m["type"] for m in first + rest].count("current") == 1
    assert [m["orderStatus"] for m in rest if m.get("orderId") == "0100"] == ["PAID"]


async def test_an_order_of_ones_own_hears_of_nothing_else() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "PENDING"), topic.put("b", "PAID")])
    reader = reading(present, "a")
    assert brief(await told(reader)) == [("hello",), ("order", "a", "PENDING"), ("current",)]
    present.apply([topic.put("b", "FULFILLED"), topic.put("a", "PAID")])
    assert brief(await told(reader)) == [("order", "a", "PAID")]


async def test_an_order_that_is_not_there_yet_is_told_when_it_comes() -> None:
    topic = Topic()
    present = knowing([])
    reader = reading(present, "a")
    assert brief(await told(reader)) == [("hello",), ("current",)]
    present.apply([topic.put("a", "PENDING")])
    assert brief(await told(reader)) == [("order", "a", "PENDING")]


async def test_a_deleted_order_is_gone_and_is_in_no_new_snapshot() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "PENDING")])
    reader = reading(present)
    await told(reader)
    present.apply([topic.put("a", None)])
    assert [(m["type"], m["orderId"], m["revision"]) for m in await told(reader)] == [("gone", "a", 2)]
    assert brief(await told(reading(present))) == [("hello",), ("current",)]


# ── revisions ────────────────────────────────────────────────────────────────────────────────────


async def test_an_older_revision_and_a_repeat_tell_nothing() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "PAID", 5)])
    reader = reading(present)
    await told(reader)
    present.apply([topic.put("a", "PENDING", 4), topic.put("a", "PAID", 5)])
    assert await told(reader) == []


async def test_after_a_deletion_an_order_may_begin_again_with_any_revision() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "PAID", 5), topic.put("a", None, 6), topic.put("a", "PENDING", 1)])
    assert brief(await told(reading(present)))[1] == ("order", "a", "PENDING")


async def test_without_a_revision_the_offset_stands_for_it_and_the_later_record_counts() -> None:
    topic = Topic()
    topic.put("a", "PENDING", None)
    topic.put("a", "PAID", None)
    message = (await told(reading(knowing(topic.records))))[1]
    assert (message["orderStatus"], message["revision"]) == ("PAID", 2)


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_filter_is_told_who_comes_and_who_leaves_and_nobody_else() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "PAID"), topic.put("b", "PENDING")])
    reader = reading(present, status=OrderStatus.PAID)
    assert brief(await told(reader)) == [("hello",), ("order", "a", "PAID"), ("current",)]
    present.apply([topic.put("a", "FULFILLED"), topic.put("b", "PAID"), topic.put("c", "PENDING")])
    assert brief(await told(reader)) == [("left", "a", "FULFILLED"), ("order", "b", "PAID")]
    present.apply([topic.put("a", "SHIPPED"), topic.put("b", None), topic.put("c", None)])
    assert brief(await told(reader)) == [("gone", "b")]


async def test_an_order_that_passed_through_a_filter_unseen_is_not_told() -> None:
    topic = Topic()
    present = knowing([topic.put("b", "PENDING")])
    reader = reading(present, status=OrderStatus.PAID)
    await told(reader)
    present.apply([topic.put("b", "PAID"), topic.put("b", "FULFILLED")])
    assert await told(reader) == []


# ── cursors ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_cursor_gives_what_was_missed_and_nothing_that_was_told() -> None:
    topic = Topic()
    present = knowing([topic.put(one, "PENDING") for one in "abcd"])
    cursor = (await told(reading(present)))[-1]["cursor"]
    present.apply([topic.put("c", "PAID"), topic.put("b", None), topic.put("e", "PENDING")])
    back = await told(reading(present, cursor=cursor))
    assert back[0]["resumed"]
    assert brief(back[1:]) == [("order", "c", "PAID"), ("gone", "b"), ("order", "e", "PENDING"), ("current",)]


async def test_a_cursor_resumes_on_another_process_too() -> None:
    topic = Topic()
    present = knowing([topic.put(one, "PENDING") for one in "abcd"])
    cursor = (await told(reading(present)))[-1]["cursor"]
    topic.put("a", "PAID")
    other = knowing(topic.by_partition())
    assert brief((await told(reading(other, cursor=cursor)))[1:]) == [("order", "a", "PAID"), ("current",)]


@pytest.mark.parametrize("text", ["", "x", "ü", "AAAA", "=" * 5, "a" * 20_000, encode_cursor(NOW, [0])])
async def test_a_cursor_that_is_none_starts_afresh(text: str) -> None:
    present = knowing([Topic().put("a", "PENDING")])
    messages = await told(reading(present, cursor=text))
    assert not messages[0]["resumed"]
    assert brief(messages[1:]) == [("order", "a", "PENDING"), ("current",)]


async def test_the_cursor_of_hello_brings_everything_again() -> None:
    present = knowing([Topic().put("a", "PENDING")])
    hello = json.loads((await reading(present).next(0))[0])
    assert brief(await told(reading(present, cursor=hello["cursor"])))[1:] == [
        ("order", "a", "PENDING"),
        ("current",),
    ]


async def test_a_cursor_of_a_topic_that_was_made_anew_starts_afresh() -> None:
    old, anew = Topic(), Topic()
    cursor = (await told(reading(knowing([old.put("a", "PAID")]))))[-1]["cursor"]
    present = knowing([anew.put("c", "PENDING", at=NOW + 1), anew.put("a", "PENDING", at=NOW + 2)])
    back = await told(reading(present, cursor=cursor))
    assert not back[0]["resumed"]
    assert brief(back[1:]) == [("order", "c", "PENDING"), ("order", "a", "PENDING"), ("current",)]


async def test_an_old_cursor_starts_afresh_since_deletions_may_be_forgotten() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "PENDING", at=NOW - OLDEST_CURSOR - 1)])
    assert not (await told(reading(present, cursor=present.cursor())))[0]["resumed"]


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


async def test_finished_orders_beyond_the_bound_are_let_go_oldest_first_and_others_never() -> None:
    topic = Topic()
    present = knowing([topic.put(f"open-{n}", "PAID") for n in range(20)], finished=3)
    present.apply([topic.put(f"done-{n}", "SHIPPED", at=NOW + n) for n in (5, 1, 4, 2, 3)])
    present.apply([topic.put("gone", None, at=NOW + 9)])
    assert set(present.orders) == {f"open-{n}" for n in range(20)} | {"done-5", "done-4", "gone"}


async def test_a_cursor_that_missed_an_order_which_was_let_go_starts_afresh() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "PAID"), topic.put("c", "PAID")], finished=1)
    before = present.cursor()
    present.apply([topic.put("a", "SHIPPED")])
    after = present.cursor()
    present.apply([topic.put("c", "SHIPPED", at=NOW + 1)])  # now `a` is let go
    assert not (await told(reading(present, cursor=before)))[0]["resumed"]
    assert brief(await told(reading(present, cursor=after)))[1:] == [("order", "c", "SHIPPED"), ("current",)]


async def test_what_is_held_does_not_grow_with_the_number_of_changes() -> None:
    topic = Topic()
    present = knowing([])
    for round_ in range(20):
        present.apply([topic.put(str(n), "PAID") for n in range(200)])
        assert len(present._log) <= 2 * 200 + 1_024 + 200, round_
    assert len(present.orders) == 200


async def test_a_closed_reader_leaves_nothing_behind() -> None:
    present = knowing([])
    for order_id in (None, "a"):
        with reading(present, order_id):
            assert len(present) == 1
        assert len(present) == 0
    assert present._of_order == {}


# ── the feed's own state ─────────────────────────────────────────────────────────────────────────


async def test_readers_are_told_that_the_broker_is_lost_and_back() -> None:
    present = knowing([])
    reader = reading(present)
    await told(reader)
    present.say(live=False, reason="the broker does not answer")
    assert await told(reader) == [{"type": "stale", "reason": "the broker does not answer"}]
    assert brief(await told(reading(present))) == [("hello",), ("stale",), ("current",)]
    present.say(live=True)
    assert await told(reader) == [{"type": "live"}]


async def test_when_the_topic_is_made_anew_readers_end_and_nothing_is_known() -> None:
    present = knowing([Topic().put("a", "PAID")])
    reader = reading(present)
    present.forget()
    with pytest.raises(Ended):
        await reader.next(0)
    assert present.orders == {}


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────

IDS = st.sampled_from(["a", "b", "c", "d", "e"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), IDS, st.sampled_from([*OrderStatus, None])),
        st.tuples(st.just("read"), st.just(""), st.none()),
        st.tuples(st.just("away"), st.just(""), st.none()),
        st.tuples(st.just("moved"), st.just(""), st.none()),
    ),
    max_size=60,
)


def newest(topic: Topic) -> dict[str, int | None]:
    """By order: its newest revision, None if it is gone."""
    return {change.order_id: change.revision if change.status else None for change in topic.records}


@given(STEPS)
async def test_whatever_is_coalesced_each_order_is_told_rising_revisions_that_end_with_the_newest(
    steps: list[tuple[str, str, str | None]],
) -> None:
    """A reader that reads now and then, goes away and comes back, here or on another process."""
    topic, known, cursor = Topic(), dict[str, int | None](), ""
    present = knowing([])
    reader = reading(present)
    last: dict[str, int] = {}

    async def read() -> None:
        nonlocal cursor
        for message in await told(reader):
            cursor = message.get("cursor", cursor)
            if message["type"] in ("order", "gone"):
                assert message["revision"] > last.get(message["orderId"], 0)
                last[message["orderId"]] = message["revision"]
                known[message["orderId"]] = message["revision"] if message["type"] == "order" else None
            if message["type"] == "hello":
                assert message["resumed"] or not known

    for kind, order_id, status in steps:
        if kind == "change":
            present.apply([topic.put(order_id, status)])
        elif kind == "read":
            await read()
        else:
            reader.close()
            if kind == "moved":
                present = knowing(topic.by_partition())
            reader = reading(present, cursor=cursor)
    await read()
    alive = {order_id: revision for order_id, revision in known.items() if revision is not None}
    assert alive == {order_id: revision for order_id, revision in newest(topic).items() if revision}


@given(st.lists(st.tuples(IDS, st.sampled_from([*OrderStatus, None])), max_size=40), st.data())
async def test_a_filtered_reader_knows_exactly_the_orders_with_its_status(
    changes: list[tuple[str, str | None]], data: st.DataObject
) -> None:
    topic = Topic()
    present = knowing([])
    reader = reading(present, status=OrderStatus.PAID)
    known: set[str] = set()
    for order_id, status in [*changes, ("z", "PENDING")]:
        present.apply([topic.put(order_id, status)])
        if data.draw(st.booleans()):
            continue
        for message in await told(reader):
            if message["type"] == "order":
                known.add(message["orderId"])
            elif message["type"] in ("left", "gone"):
                assert message["orderId"] in known
                known.discard(message["orderId"])
        assert known == {one for one, held in present.orders.items() if held.change.status == "PAID"}


@given(st.integers(0, 2**53), st.lists(st.integers(0, 2**53), max_size=10))
def test_a_cursor_is_read_as_it_was_written(newest_: int, offsets: list[int]) -> None:
    assert decode_cursor(encode_cursor(newest_, offsets)) == Cursor(newest_, tuple(offsets))


@given(st.text())
def test_any_text_is_a_cursor_or_is_none(text: str) -> None:
    decode_cursor(text)


# ── records ──────────────────────────────────────────────────────────────────────────────────────

ORDER = {
    "orderId": "kit-1",
    "orderStatus": "PAID",
    "modifiedDate": "2026-01-01T00:00:00",
    "items": [],
    "shippingLocation": {
        "customerName": "Ada K",
        "customerAddress": "9 Quay St",
        "zipCode": "00501",
        "geoLocation": {"latitude": 1.5, "longitude": -2.5},
    },
    "payment": {
        "paymentType": "CREDIT",
        "creditCardType": "Visa",
        "creditCardNumber": "4242-4242-4242-4242",
        "amount": {"amount": 2.5, "currency": "USD"},
    },
}


def record(body: bytes | None, key: bytes | None = b"kit-1", **headers: bytes) -> ConsumerRecord:
    return ConsumerRecord("t", 1, 7, NOW, 0, key, body, None, 5, 5, tuple(headers.items()))


def test_a_record_says_order_revision_and_the_times_of_its_hops() -> None:
    body = json.dumps(ORDER, indent=1).encode()
    change = change_of(record(body, revision=b"3", changed=b"10", captured=b"20", stored=b"x"))
    assert change is not None
    assert (change.order_id, change.partition, change.offset) == ("kit-1", 1, 7)
    assert (change.revision, change.status) == (3, "PAID")
    assert json.loads(change.times) == {"changed": 10, "captured": 20, "stored": None, "published": NOW}
    assert "\n" not in (change.body or "")


def test_a_card_number_that_another_engine_published_is_masked() -> None:
    change = change_of(record(json.dumps(ORDER).encode()))
    assert change is not None
    assert "****-****-****-4242" in (change.body or "")
    assert "4242-4242" not in (change.body or "")


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"\xff"])
def test_a_record_that_is_no_order_means_nothing(body: bytes) -> None:
    assert change_of(record(body)) is None
    assert change_of(record(None, key=None)) is None
