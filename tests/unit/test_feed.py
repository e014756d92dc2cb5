"""What a subscriber is told, whatever happens to orders while it is slow, away or somewhere else."""

import asyncio
import json
from contextlib import suppress

import pytest
from tests.feeding import NOW, Topic, brief, knowing, reading, told

from snacks.domain.values import OrderStatus
from snacks.feed import Ended
from snacks.feed.cursor import encode_cursor
from snacks.feed.present import OLDEST_CURSOR
from snacks.feed.subscription import BATCH_MESSAGES

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


async def test_a_filtered_reader_is_answered_in_time_though_other_orders_change_all_the_time() -> None:
    topic = Topic()
    present = knowing([])
    reader = reading(present, status=OrderStatus.SHIPPED)
    await told(reader)

    async def busy() -> None:
        while True:
            present.apply([topic.put("a", "PENDING")])
            await asyncio.sleep(0.001)

    changing = asyncio.create_task(busy())
    try:
        async with asyncio.timeout(5):
            assert await reader.next(0.05) == []
    finally:
        changing.cancel()
        with suppress(asyncio.CancelledError):
            await changing


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


@pytest.mark.parametrize("status", [None, OrderStatus.FULFILLED])
async def test_a_reader_that_was_not_told_of_an_order_before_it_was_let_go_begins_afresh(
    status: OrderStatus | None,
) -> None:
    topic = Topic()
    present = knowing([topic.put(str(n), "FULFILLED") for n in range(5)], finished=2)
    reader = reading(present, status=status)
    assert len(brief(await told(reader))) == 7
    present.apply([topic.put(str(n), "SHIPPED", at=NOW + n) for n in range(5)])
    with pytest.raises(Ended):
        await reader.next(0.01)
    again = brief(await told(reading(present, cursor=reader.cursor)))
    assert again[1:] == [("order", "3", "SHIPPED"), ("order", "4", "SHIPPED"), ("current",)]
    assert not (await told(reading(present, cursor=reader.cursor)))[0]["resumed"]


async def test_a_reader_of_one_order_that_is_let_go_untold_is_sent_away() -> None:
    topic = Topic()
    present = knowing([topic.put("a", "FULFILLED"), topic.put("b", "FULFILLED")], finished=1)
    untold, shipped = reading(present, "a"), reading(present, "b")
    await told(untold)
    await told(shipped)
    present.apply([topic.put("b", "SHIPPED")])
    assert brief(await told(shipped)) == [("order", "b", "SHIPPED")]
    present.apply([topic.put("a", "SHIPPED", at=NOW - 1)])  # the one that was published first goes
    with pytest.raises(Ended):
        await untold.next(0.01)
    present.apply([topic.put("c", "SHIPPED", at=NOW + 1)])  # now `b` is let go, which was told
    assert await shipped.next(0.01) == []


async def test_readers_that_keep_up_are_told_of_every_order_though_all_are_let_go() -> None:
    topic = Topic()
    present = knowing([topic.put(str(n), "FULFILLED") for n in range(50)], finished=3)
    reader = reading(present)
    await told(reader)
    seen = []
    for n in range(50):
        present.apply([topic.put(str(n), "SHIPPED", at=NOW + n)])
        seen += brief(await told(reader))
    assert seen == [("order", str(n), "SHIPPED") for n in range(50)]


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
