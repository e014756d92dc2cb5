"""The stream as its clients meet it, over real WebSockets: what is told, coming back, slow readers."""

import asyncio
import socket
import struct
from urllib.parse import quote

import pytest
from tests.streaming import Following, brief, feeding, following, hear, hear_until, serving
from tests.waiting import until
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from snacks.config import Settings
from snacks.http import stream
from snacks.platform import Platform

pytestmark = pytest.mark.usefixtures("no_errors")


# ── what is told ─────────────────────────────────────────────────────────────────────────────────


async def test_a_new_subscriber_gets_the_present_state_and_then_each_change(here: Following) -> None:
    orders, served = here
    await orders.put_all([("a", "PENDING"), ("b", "PAID")])
    await until(lambda: len(served.feed.present.orders) == 2)
    async with served.follow() as client:
        first = await hear_until(client)
        assert brief(first[:1]) == ["hello"]
        assert set(brief(first[1:-1])) == {"order a PENDING", "order b PAID"}
        await orders.put("a", "PAID")
        assert brief([await hear(client)]) == ["order a PAID"]
        await orders.put("b", None)
        assert brief([await hear(client)]) == ["gone b"]


async def test_a_message_carries_the_order_its_revision_a_cursor_and_the_times_of_its_way(
    here: Following,
) -> None:
    orders, served = here
    await orders.put("a", "PENDING")
    async with served.follow("/a") as client:
        message = (await hear_until(client, "order"))[-1]
    assert set(message) == {"type", "orderId", "orderStatus", "revision", "cursor", "order", "times"}
    assert (message["orderId"], message["orderStatus"], message["revision"]) == ("a", "PENDING", 1)
    assert message["order"]["shippingLocation"]["customerName"] == "Ada K"
    times = message["times"]
    assert (times["changed"], times["captured"], times["stored"]) == (None, None, 1767225600000)
    assert times["published"] > 1_767_225_600_000


async def test_while_orders_change_each_subscriber_sees_all_of_them_without_gap_or_repeat(
    here: Following,
) -> None:
    orders, served = here

    async def change() -> None:
        for status in ("PENDING", "PAID", "FULFILLED", "SHIPPED"):
            for part in range(20):
                await orders.put_all([(f"{part}-{n}", status) for n in range(10)])

    async def follow() -> dict[str, list[int]]:
        seen: dict[str, list[int]] = {}
        shipped = 0
        async with served.follow() as client:
            while shipped < 200:
                message = await hear(client)
                if message["type"] == "order":
                    seen.setdefault(message["orderId"], []).append(message["revision"])
                    shipped += message["orderStatus"] == "SHIPPED"
        return seen

    changing = asyncio.create_task(change())
    followers = []
    for many in range(0, 200, 40):  # they come while it goes on
        await until(lambda many=many: served.feed.present.seq >= many)  # type: ignore[misc]
        followers.append(asyncio.create_task(follow()))
    await changing
    for follower in followers:
        seen = await follower
        assert len(seen) == 200
        for revisions in seen.values():
            assert revisions == sorted(set(revisions))
            assert revisions[-1] == 4


async def test_what_a_transaction_aborted_is_never_told(here: Following) -> None:
    orders, served = here
    async with served.follow() as client:
        await hear_until(client)
        await orders.put("a", "PAID", abort=True)
        await orders.put("b", "PENDING")
        assert brief([await hear(client)]) == ["order b PENDING"]


@pytest.mark.parametrize(
    "order_id", ["a/b", "a%2Fb", "..", "a b", "?status=PAID", "a//b", "ключ", "/a", "a/"]
)
async def test_one_order_is_followed_whatever_its_id(here: Following, order_id: str) -> None:
    orders, served = here
    await orders.put_all([(order_id, "PENDING"), ("another", "PAID")])
    async with served.follow(f"/{quote(order_id, safe='')}") as client:
        assert brief(await hear_until(client, "order"))[-1] == f"order {order_id} PENDING"
        await orders.put_all([("another", "SHIPPED"), (order_id, "PAID")])
        assert brief(await hear_until(client, "order"))[-1] == f"order {order_id} PAID"


async def test_a_filter_tells_of_an_order_that_leaves_it(here: Following) -> None:
    orders, served = here
    await orders.put_all([("a", "PAID"), ("b", "PENDING")])
    await until(lambda: len(served.feed.present.orders) == 2)
    async with served.follow("?status=PAID") as client:
        assert brief(await hear_until(client)) == ["hello", "order a PAID", "current"]
        await orders.put("a", "FULFILLED")
        assert brief([await hear(client)]) == ["left a FULFILLED"]


# ── coming back ──────────────────────────────────────────────────────────────────────────────────


async def test_a_cursor_brings_exactly_what_was_missed(here: Following) -> None:
    orders, served = here
    await orders.put_all([("a", "PENDING"), ("b", "PENDING"), ("c", "PENDING")])
    await until(lambda: len(served.feed.present.orders) == 3)
    async with served.follow() as client:
        cursor = (await hear_until(client))[-1]["cursor"]
    await orders.put("b", "PAID")
    await orders.put("b", "FULFILLED")
    await orders.put("c", None)
    await until(lambda: served.feed.present.orders["c"].change.status is None)
    async with served.follow(f"?cursor={cursor}") as client:
        messages = await hear_until(client)
        assert messages[0]["resumed"]
        assert brief(messages[1:]) == ["order b FULFILLED", "gone c", "current"]
        await orders.put("a", "PAID")
        assert brief([await hear(client)]) == ["order a PAID"]


async def test_a_cursor_resumes_on_another_process(here: Following) -> None:
    orders, served = here
    await orders.put_all([("a", "PENDING"), ("b", "PENDING")])
    async with served.follow("/b") as client:
        cursor = (await hear_until(client, "order"))[-1]["cursor"]
    await orders.put("b", "PAID")
    await until(lambda: served.feed.present.orders["b"].change.status == "PAID")  # it shows to new readers
    async with (
        feeding(orders.settings, orders.topic) as feed,
        serving(feed) as other,
        other.follow(f"/b?cursor={cursor}") as client,
    ):
        assert brief(await hear_until(client)) == ["hello", "order b PAID", "current"]


@pytest.mark.parametrize("cursor", ["x", "%00", "AAAA", "kgCRAA", "a" * 4000])
async def test_a_malformed_cursor_starts_afresh(here: Following, cursor: str) -> None:
    orders, served = here
    await orders.put("a", "PENDING")
    await until(lambda: served.feed.present.orders)
    async with served.follow(f"?cursor={cursor}") as client:
        messages = await hear_until(client)
    assert not messages[0]["resumed"]
    assert brief(messages[1:]) == ["order a PENDING", "current"]


# ── slow and vanished readers ────────────────────────────────────────────────────────────────────


async def test_a_slow_reader_gets_the_final_state_and_costs_no_memory(here: Following) -> None:
    orders, served = here
    ids = [str(n) for n in range(10)]
    rounds, large = 100, "x" * 32_000
    async with served.follow(max_queue=1) as slow:
        await hear_until(slow)
        for _ in range(rounds):
            await orders.put_all([(one, "PAID") for one in ids], name=large)
        await orders.put_all([(one, "SHIPPED") for one in ids], name=large)
        await until(lambda: served.feed.present.seq >= (rounds + 1) * len(ids))
        # Held for it: what the system's buffers took, and one state of each order for all readers.
        assert sum(held is not None for held in served.feed.present._log) == len(ids)
        (connection,) = served.server.server_state.connections
        assert connection.transport.get_write_buffer_size() < 4_000_000
        seen: dict[str, list[int]] = {}
        while [revisions[-1] for revisions in seen.values()] != [rounds + 1] * len(ids):
            message = await hear(slow)
            seen.setdefault(message["orderId"], []).append(message["revision"])
    assert all(revisions == sorted(set(revisions)) for revisions in seen.values())
    assert sum(map(len, seen.values())) < rounds * len(ids)


def reset(client: ClientConnection) -> None:
    """It is gone without a word: TCP says so."""
    raw = client.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


async def test_readers_that_vanish_with_a_reset_leave_nothing_behind_and_disturb_nobody(
    here: Following,
) -> None:
    orders, served = here
    async with served.follow(max_queue=None) as stays:
        await hear_until(stays)
        clients = [await served.follow() for _ in range(50)]
        for client in clients:
            await hear_until(client)
        changing = asyncio.create_task(orders.put_all([(str(n), "PAID") for n in range(200)]))
        for client in clients:
            reset(client)
        await changing
        await hear_until(stays, "order", orderId="199")
        await until(lambda: (served.tasks, len(served.feed.present), served.connections) == (1, 1, 1))


async def open_and_fall_silent(port: int) -> socket.socket:
    """A client that never answers: half open, as after a power cut."""
    raw = socket.create_connection(("127.0.0.1", port))
    raw.sendall(
        b"GET /ws/orders HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return raw


async def test_a_reader_that_no_longer_answers_is_noticed(platform: Platform, settings: Settings) -> None:
    async with following(settings, ws_ping_interval=0.2, ws_ping_timeout=0.2) as (_, served):
        silent = await open_and_fall_silent(served.port)
        await until(lambda: len(served.feed.present) == 1)
        await until(lambda: (served.tasks, len(served.feed.present), served.connections) == (0, 0, 0))
        silent.close()
    assert 2 * stream.PING_SECONDS <= 40


async def test_a_reader_that_takes_nothing_any_more_is_cut(
    here: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders, served = here
    monkeypatch.setattr(stream, "WRITE_SECONDS", 0.5)
    silent = await open_and_fall_silent(served.port)
    await until(lambda: len(served.feed.present) == 1)
    await orders.put_all([(str(n), "PAID") for n in range(200)], name="x" * 100_000)
    await until(lambda: (served.tasks, len(served.feed.present)) == (0, 0))
    silent.close()


async def test_what_a_client_says_is_not_heard_and_too_much_ends_it(here: Following) -> None:
    orders, served = here
    async with served.follow() as client:
        await hear_until(client)
        await client.send('{"type":"order"}')
        await client.send(b"\x00")
        await orders.put("a", "PAID")
        assert brief([await hear(client)]) == ["order a PAID"]
        await client.send("x" * 10_000)
        with pytest.raises(ConnectionClosed):
            await hear(client)
