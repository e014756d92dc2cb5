"""The stream as its clients meet it: a real server, a real broker, a real WebSocket client."""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.streaming import Message, Orders, Served, brief, feeding, following, hear, hear_until, serving
from tests.waiting import until
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from snacks.config import Settings
from snacks.http import stream
from snacks.platform import Platform

Following = tuple[Orders, Served]


@pytest.fixture
async def here(platform: Platform, settings: Settings) -> AsyncIterator[Following]:
    async with following(settings) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client does, the log has no error of it."""
    yield
    ours = [one for one in caplog.get_records("call") if not one.name.startswith("aiokafka")]
    assert [one.getMessage() for one in ours if one.levelno >= logging.ERROR] == []


async def refusal(connecting: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with connecting:
            pass
    answer = refused.value.response
    return answer.status_code, json.loads(answer.body or b"{}")["message"]


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


# ── who is let in ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost.evil.example", "x"])
async def test_a_page_of_another_site_is_refused_with_403(here: Following, origin: str) -> None:
    _, served = here
    status, message = await refusal(served.follow(origin=origin))
    assert (status, message) == (403, "Origin is another site (SNACKS_ALLOWED_ORIGINS)")
    async with served.events(headers={"Origin": origin}) as answer:
        assert answer.status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_host_that_is_not_ours_is_refused_with_403(here: Following, host: str) -> None:
    _, served = here
    reading, writing = await asyncio.open_connection("127.0.0.1", served.port)
    writing.write(
        f"GET /ws/orders HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    async with asyncio.timeout(10):
        answer = await reading.read()
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b'"message":"Host is not a name of this server (SNACKS_ALLOWED_HOSTS)"' in answer
    writing.close()


async def test_our_own_pages_and_the_listed_ones_are_let_in(platform: Platform, settings: Settings) -> None:
    listed = {"allowed_hosts": ("kitchen.example",), "allowed_origins": ("https://board.example",)}
    async with following(settings, **listed) as (_, served):
        for origin in (None, f"http://127.0.0.1:{served.port}", "https://board.example"):
            async with served.follow(origin=origin) as client:
                await hear_until(client)
        async with served.events(headers={"Host": "kitchen.example"}) as answer:
            assert answer.status_code == 200


async def test_a_status_that_is_not_ours_is_400(here: Following) -> None:
    _, served = here
    assert await refusal(served.follow("?status=EATEN")) == (400, stream.WRONG_STATUS)
    async with served.events(params={"status": "EATEN"}) as answer:
        assert answer.status_code == 400


async def test_one_subscriber_too_many_is_503_and_another_may_come_when_one_went(
    platform: Platform, settings: Settings
) -> None:
    async with following(settings, stream_connections=1) as (_, served):
        async with served.follow() as client:
            await hear_until(client)
            assert await refusal(served.follow()) == (503, "there are 1 subscribers already")
            async with served.events() as answer:
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        await until(lambda: len(served.feed.present) == 0)
        async with served.follow() as client:
            await hear_until(client)


# ── the end ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_shutdown_tells_clients_to_come_back(platform: Platform, settings: Settings) -> None:
    clients = []
    async with following(settings) as (_, served):
        clients = [await served.follow(path) for path in ("", "/a", "?status=PAID")]
        for client in clients:
            await hear_until(client)
    for client in clients:
        with pytest.raises(ConnectionClosed) as closed:
            await hear(client)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012


async def test_a_shutdown_ends_event_streams_with_the_time_to_come_back(
    platform: Platform, settings: Settings
) -> None:
    lines: list[str] = []

    async def read(served: Served) -> None:
        async with served.events() as answer:
            async for line in answer.aiter_lines():
                lines.append(line)  # noqa: PERF401  (they are looked at while they come)

    async with following(settings) as (_, served):
        reading = asyncio.create_task(read(served))
        await until(lambda: any('"current"' in line for line in lines))
    await asyncio.wait_for(reading, 10)  # no error: the answer came to its end
    assert [line for line in lines if line][-1] == f"retry: {stream.RETRY_MILLISECONDS}"


# ── server-sent events ───────────────────────────────────────────────────────────────────────────


async def events(answer: Any, kind: str = "current") -> tuple[list[Message], str]:
    """The messages to the first of this type, and the last event id."""
    messages, last = [], ""
    async with asyncio.timeout(10):
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                last = line[4:]
            elif line.startswith("data: "):
                messages.append(json.loads(line[6:]))
                if messages[-1]["type"] == kind:
                    break
    return messages, last


async def test_an_event_stream_tells_the_same_and_goes_on_after_the_last_event_id(here: Following) -> None:
    orders, served = here
    await orders.put_all([("a", "PENDING"), ("b", "PAID")])
    await until(lambda: len(served.feed.present.orders) == 2)
    async with served.events() as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        messages, last = await events(answer)
    assert set(brief(messages)) == {"hello", "order a PENDING", "order b PAID", "current"}
    await orders.put("b", "FULFILLED")
    await until(lambda: served.feed.present.seq == 3)
    async with served.events(headers={"Last-Event-ID": last}) as answer:
        messages, _ = await events(answer)
    assert messages[0]["resumed"]
    assert brief(messages[1:]) == ["order b FULFILLED", "current"]


async def test_an_event_stream_can_be_of_one_order_or_of_one_status(here: Following) -> None:
    orders, served = here
    await orders.put_all([("a/b", "PENDING"), ("b", "PAID")])
    await until(lambda: len(served.feed.present.orders) == 2)
    async with served.events(params={"orderId": "a/b"}) as answer:
        assert brief((await events(answer))[0]) == ["hello", "order a/b PENDING", "current"]
    async with served.events(params={"status": "PAID"}) as answer:
        assert brief((await events(answer))[0]) == ["hello", "order b PAID", "current"]


async def test_a_client_that_leaves_an_event_stream_leaves_nothing_behind(here: Following) -> None:
    _, served = here
    async with served.events() as answer:
        await events(answer)
        assert len(served.feed.present) == 1
    await until(lambda: (served.tasks, len(served.feed.present)) == (0, 0))


async def test_a_quiet_event_stream_says_that_it_lives(
    here: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, served = here
    monkeypatch.setattr(stream, "COMMENT_SECONDS", 0.1)
    async with served.events() as answer:
        async with asyncio.timeout(10):
            lines = answer.aiter_lines()
            while await anext(lines) != ":":
                pass
