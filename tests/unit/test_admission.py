"""Pages of other sites follow nothing and change nothing; programs and our own pages are let in."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.datastructures import Headers
from litestar.routes import HTTPRoute
from tests.commanding import message_of

from snacks.actors.dead_letters import LONGEST_VALUE, DeadLetter
from snacks.app import create_app
from snacks.config import Settings
from snacks.http.admission import NOT_JSON_TYPE, READING, WRONG_HOST, WRONG_ORIGIN, Admission
from snacks.http.letters import BODY_LIMIT
from snacks.letters import Letter, Letters, Standing
from snacks.system import System

STRANGE = [
    "http://evil.example",
    "null",
    "x",
    "",
    "http://[",
    "http://[::1",
    "http://[x]",
    "http://localhost:1",
]
PORTS = Settings().http_ports
REPLAY = "/api/dead-letters/payment-0-0/replay"


@pytest.mark.parametrize("origin", STRANGE)
def test_an_origin_that_is_not_ours_is_another_site_however_it_is_written(origin: str) -> None:
    admission = Admission.of(Settings())
    assert admission.problem(Headers({"host": "localhost:8800", "origin": origin})) == WRONG_ORIGIN


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:8800", "[::1]:8800", "kitchen.example"])
def test_the_page_of_each_address_of_ours_is_let_in(host: str) -> None:
    admission = Admission.of(Settings(allowed_hosts=("Kitchen.example",)))
    for scheme in ("http", "https"):
        assert admission.problem(Headers({"host": host, "origin": f"{scheme}://{host}"})) is None


def client_of(app: Litestar) -> httpx.AsyncClient:
    asgi: Any = app
    return httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://127.0.0.1:8800")


@pytest.fixture
async def app() -> AsyncIterator[Litestar]:
    """The whole app, of which nothing runs: a request that is let in must fail by itself."""
    nowhere = "127.0.0.1:9"
    system = System(Settings(kafka_bootstrap=nowhere, allowed_origins=("https://board.example",)))
    yield create_app(system)
    await system.close()


async def test_a_page_of_another_site_changes_nothing_by_any_handler(app: Litestar) -> None:
    changing = {
        (method, route.path.replace("{letter_id:str}", "payment-0-0"))
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in set(route.methods) - READING
    }
    commands = {("POST", "/api/item-details"), ("PUT", "/api/item-details"), ("POST", "/api/payment")}
    assert commands | {("POST", REPLAY), ("DELETE", REPLAY.removesuffix("/replay"))} <= changing
    async with client_of(app) as client:
        for method, path in changing:
            for headers, message in (
                ({"Origin": "http://evil.example"}, WRONG_ORIGIN),
                ({"Origin": "http://evil.example", "Host": "evil.example"}, WRONG_HOST),  # DNS rebinding
            ):
                answer = await client.request(method, path, headers=headers)
                assert (answer.status_code, message_of(answer)) == (403, message), path


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "app:8800"},
        *(
            {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
            for port in Settings().http_ports
        ),
        {"Origin": "https://board.example"},
    ],
)
@pytest.mark.parametrize("path", ["/api/item-details", REPLAY])
async def test_programs_our_own_pages_and_listed_ones_are_let_in(
    app: Litestar, path: str, headers: dict[str, str]
) -> None:
    async with client_of(app) as client:
        answer = await client.post(path, content="{}", headers=headers | {"Content-Type": "text/plain"})
    assert (answer.status_code, message_of(answer)) == (415, NOT_JSON_TYPE)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    """The values that dead letters were asked to send again; nothing is sent."""
    values: list[bytes | None] = []

    async def replay(_: Letters, letter_id: str, value: bytes | None, _key: bytes | None) -> Letter:
        values.append(value)
        letter = DeadLetter(topic="t", partition=0, offset=0, timestamp=0, reason="")
        return Letter(letter_id, Standing.REPLAYED, letter)

    monkeypatch.setattr(Letters, "replay", replay)
    return values


@pytest.mark.parametrize(
    ("content_type", "body", "replays"),
    [
        (None, b"", [None]),
        ("application/x-www-form-urlencoded", b"", [None]),
        ("application/json; charset=utf-8", b'{"value": "x"}', [b"x"]),
        (None, b'{"value": "x"}', []),
        ("text/plain", b'{"value": "x"}', []),
    ],
)
async def test_a_replay_takes_json_or_nothing(
    app: Litestar,
    told: list[bytes | None],
    content_type: str | None,
    body: bytes,
    replays: list[bytes | None],
) -> None:
    async with client_of(app) as client:
        headers = {"Content-Type": content_type} if content_type else {}
        answer = await client.post(REPLAY, content=body, headers=headers)
    assert (answer.status_code, told) == (200 if replays else 415, replays), answer.text


async def test_a_replay_takes_the_longest_value_that_a_letter_keeps_and_is_413_soon_above(
    app: Litestar, told: list[bytes | None]
) -> None:
    row = '{"order_id":"kit-1","item_id":"1"}'
    longest = (row * (LONGEST_VALUE // len(row) + 1))[:LONGEST_VALUE]
    async with client_of(app) as client:
        assert (await client.post(REPLAY, json={"value": longest})).status_code == 200
        answer = await client.post(REPLAY, json={"value": "x" * BODY_LIMIT})
    assert (answer.status_code, message_of(answer)) == (413, "Request Entity Too Large")
    assert told == [longest.encode()]
