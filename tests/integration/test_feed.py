"""The feed against a real broker: its beginning, gaps, restarts, and topics that are made anew."""

import asyncio
import json

import pytest
from tests.streaming import Orders, brief, feeding, following, hear, hear_until, ordering, serving
from tests.waiting import until
from websockets.exceptions import ConnectionClosed

from snacks.config import Settings
from snacks.feed import Behind, Closed, Feed
from snacks.platform import Platform


def statuses(feed: Feed) -> dict[str, str | None]:
    return {order_id: held.change.status for order_id, held in feed.present.orders.items()}


async def test_a_feed_reads_from_the_beginning_over_what_was_aborted(
    platform: Platform, settings: Settings
) -> None:
    async with ordering(settings) as orders:
        await orders.put("a", "PENDING")
        await orders.put("a", "SHIPPED", abort=True)
        await orders.put("b", "PAID")
        await orders.put("b", None, abort=True)
        async with feeding(settings, orders.topic) as feed:
            assert statuses(feed) == {"a": "PENDING", "b": "PAID"}


async def test_two_feeds_of_one_topic_know_the_same(platform: Platform, settings: Settings) -> None:
    async with ordering(settings) as orders, feeding(settings, orders.topic) as early:
        await orders.put_all([(str(n), "PAID") for n in range(50)])
        async with feeding(settings, orders.topic) as late:
            await orders.put_all([(str(n), "SHIPPED") for n in range(25)])
            await until(lambda: list(statuses(late).values()).count("SHIPPED") == 25)
            await until(lambda: early.present.cursor() == late.present.cursor())
            assert statuses(early) == statuses(late)


async def test_an_open_transaction_holds_back_only_itself(platform: Platform, settings: Settings) -> None:
    async with ordering(settings) as orders:
        await orders.put("a", "PAID")
        await orders._producer.begin_transaction()
        await orders._producer.send_and_wait(orders.topic, b"{}", b"a", partition=ord("a") % 6)
        async with feeding(settings, orders.topic) as feed:  # is live all the same
            assert statuses(feed) == {"a": "PAID"}
        await orders._producer.abort_transaction()


async def test_a_record_that_is_no_order_is_passed_over(platform: Platform, settings: Settings) -> None:
    async with ordering(settings) as orders, feeding(settings, orders.topic) as feed:
        await orders._producer.begin_transaction()
        for key, body in ((b"a", b"not JSON"), (None, b"{}"), (b"\xff", None)):
            await orders._producer.send(orders.topic, body, key, partition=0)
        await orders._producer.commit_transaction()
        await orders.put("b", "PAID")
        await until(lambda: statuses(feed) == {"b": "PAID"} and feed.skipped == 3)


async def test_before_the_orders_are_read_nobody_is_let_in(settings: Settings) -> None:
    feed = Feed(settings, "nowhere")
    with pytest.raises(Behind, match="has not read the orders yet"):
        await feed.subscribe(None, None, "")
    feed.close()
    with pytest.raises(Closed):
        await feed.subscribe(None, None, "")


async def test_a_broker_restart_is_told_and_heals_without_a_gap(lab: Platform) -> None:
    async with following(lab.settings) as (orders, served), served.follow() as client:
        await orders.put("a", "PENDING")
        await hear_until(client, "order")
        await lab.stop("kafka")
        stale = await hear(client, within=30)
        assert stale == {"type": "stale", "reason": "the broker does not answer"}
        assert served.feed.problem
        async with served.follow() as other:  # what is known is told, and that it may be old
            assert brief(await hear_until(other)) == ["hello", "stale", "order a PENDING", "current"]
        await lab.start("kafka")
        async with Orders(lab.settings, orders.topic) as again:
            again._revisions = {"a": 1}
            await again.put_all([("a", "PAID"), ("b", "PENDING")])
            async with asyncio.timeout(60):
                seen = [await hear(client, within=60) for _ in range(3)]
        assert sorted(brief(seen)) == ["live", "order a PAID", "order b PENDING"]
        assert not served.feed.problem


async def test_when_the_topic_is_made_anew_clients_come_back_and_begin_afresh(
    platform: Platform, settings: Settings
) -> None:
    async with following(settings) as (orders, served):
        await orders.put_all([("a", "PAID"), ("b", "PAID")])
        async with served.follow() as client:
            cursor = (await hear_until(client, "order"))[-1]["cursor"]
            await orders.make(anew=True)
            await orders.put("c", "PENDING")
            with pytest.raises(ConnectionClosed) as closed:
                await hear_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        await until(lambda: statuses(served.feed) == {"c": "PENDING"})
        async with served.follow(f"?cursor={cursor}") as client:
            assert brief(await hear_until(client)) == ["hello", "order c PENDING", "current"]


async def test_a_reader_that_has_seen_more_than_this_process_waits_for_it(
    platform: Platform, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snacks.feed.tail.CATCH_UP_WITHIN", 10.0)  # the feed starts anew within it
    async with ordering(settings) as orders, feeding(settings, orders.topic) as ahead:
        behind = Feed(settings, orders.topic)
        reading = asyncio.create_task(behind.run())
        await until(lambda: behind.present.live)
        reading.cancel()
        await asyncio.wait([reading])
        await orders.put("a", "PAID")
        await until(lambda: ahead.present.orders)
        waiting = asyncio.create_task(behind.subscribe(None, None, ahead.present.cursor()))
        reading = asyncio.create_task(behind.run())
        try:
            async with asyncio.timeout(10):
                reader = await waiting
                assert json.loads((await reader.next())[0])["resumed"]
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def test_a_feed_that_lost_the_broker_shows_nobody_an_older_state(
    platform: Platform, settings: Settings
) -> None:
    async with ordering(settings) as orders, feeding(settings, orders.topic) as ahead:
        async with feeding(settings, orders.topic) as behind:
            pass  # no longer reads
        behind.present.say(live=False, reason="the broker does not answer")
        await orders.put("a", "PAID")
        await until(lambda: ahead.present.orders)
        async with serving(behind):
            with pytest.raises(Behind, match="the broker does not answer"):
                await behind.subscribe(None, None, ahead.present.cursor())
