"""Who is let in to the stream and who is turned away, and how a shutdown sends its readers off."""

import asyncio
import json
from typing import Any

import pytest
from tests.streaming import Following, Served, following, hear, hear_until
from tests.waiting import until
from websockets.exceptions import ConnectionClosed, InvalidStatus

from snacks.config import Settings
from snacks.http import stream
from snacks.platform import Platform

pytestmark = pytest.mark.usefixtures("no_errors")


async def refusal(connecting: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with connecting:
            pass
    answer = refused.value.response
    return answer.status_code, json.loads(answer.body or b"{}")["message"]


# ── who is let in ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://localhost.evil.example",
        "x",
        "http://[",
        "http://[::1",
        "http://[x]",
    ],
)
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
