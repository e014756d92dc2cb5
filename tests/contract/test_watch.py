"""`snacks watch` as it is typed, and the description of the stream for programs, against a real stream."""

import asyncio
import io
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from msgspec.structs import replace
from rich.console import Console
from tests.platforms import free_port
from tests.streaming import Served, feeding, following, hear, hear_until, ordering, serving
from tests.waiting import until

from snacks import config, watch
from snacks.config import Settings
from snacks.platform import Platform

ROOT = Path(__file__).parents[2]
ASYNCAPI: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))
MESSAGES: dict[str, Any] = ASYNCAPI["components"]["messages"]


def app_at(settings: Settings, port: int) -> Settings:
    return replace(settings, http_ports=(port,))


@asynccontextmanager
async def watching(
    settings: Settings, served: Served, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`snacks watch` as a process."""
    own = config.environment(app_at(settings, served.port)) | {"PYTHONPATH": str(ROOT / "src")}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "snacks", "watch", *arguments),
        env=os.environ | own | {"COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def line_with(child: Process, text: str) -> str:
    """The next line it prints that has this in it."""
    assert child.stdout is not None
    async with asyncio.timeout(30):
        while text not in (line := (await child.stdout.readline()).decode()):
            assert line, (await child.communicate())[1].decode()
    return line


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
async def test_it_shows_the_state_then_changes_and_ends_without_an_error(
    platform: Platform, settings: Settings, sign: signal.Signals
) -> None:
    async with following(settings) as (orders, served):
        await orders.put("kit-1", "PENDING")
        async with watching(settings, served) as child:
            assert "kit-1" in await line_with(child, "PENDING")
            await line_with(child, "this is how it is now")
            await orders.put("kit-1", "PAID")
            assert "kit-1" in await line_with(child, "PAID")
            child.send_signal(sign)
            async with asyncio.timeout(10):
                assert await child.wait() == 0


async def test_an_order_that_the_stream_does_not_have_is_said_to_be_missing_until_it_comes(
    platform: Platform, settings: Settings
) -> None:
    async with following(settings) as (orders, served), watching(settings, served, "kit-9") as child:
        await line_with(child, "it is not there yet")
        await orders.put("kit-9", "PENDING")
        assert "kit-9" in await line_with(child, "PENDING")


async def test_with_json_each_line_is_a_message(platform: Platform, settings: Settings) -> None:
    async with following(settings) as (orders, served):
        await orders.put_all([("a/b", "PAID"), ("c", "PAID")])
        async with watching(settings, served, "a/b", "--json") as child:
            lines = [json.loads(await line_with(child, '"')) for _ in range(3)]
    assert [line["type"] for line in lines] == ["hello", "order", "current"]
    assert lines[1]["orderId"] == "a/b"


async def test_it_comes_back_with_its_cursor_when_the_app_restarts(
    platform: Platform, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    out, port = "", free_port()

    def told(order_id: str) -> bool:
        nonlocal out
        out += capsys.readouterr().out
        return order_id in out

    async with ordering(settings) as orders:
        await orders.put_all([("a", "PENDING"), ("b", "PENDING")])
        async with feeding(settings, orders.topic) as feed, serving(feed, port=port):
            follow = watch.follow(
                app_at(settings, port), Console(file=io.StringIO()), None, None, as_json=True
            )
            watching_it = asyncio.create_task(follow)
            await until(lambda: told('"current"'))
        out = ""
        await orders.put("b", "PAID")
        async with feeding(settings, orders.topic) as feed:
            # A feed may be live before a commit shows that was acknowledged.
            await until(lambda: feed.present.orders["b"].change.status == "PAID")
            async with serving(feed, port=port):
                await until(lambda: told('"current"'))
        watching_it.cancel()
        await asyncio.wait([watching_it])
    messages = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert messages[0]["type"] == "hello"
    assert messages[0]["resumed"]
    assert [m["orderId"] for m in messages if m["type"] == "order"] == ["b"]


async def test_what_the_app_refuses_is_said_and_not_tried_again(
    platform: Platform, settings: Settings
) -> None:
    async with following(settings) as (_, served):
        with pytest.raises(watch.WatchError, match="status must be one of"):
            await watch.follow(app_at(settings, served.port), Console(), None, "EATEN", as_json=False)


# ── the description ──────────────────────────────────────────────────────────────────────────────


def fits(message: dict[str, Any], kind: str) -> None:
    schema = MESSAGES[kind]["payload"]
    assert set(message) == set(schema["required"]) == set(schema["properties"])
    assert schema["properties"]["type"]["const"] == kind
    if kind == "order":
        assert set(message["order"]) == set(schema["properties"]["order"]["required"])
        assert set(message["times"]) == set(ASYNCAPI["components"]["schemas"]["Times"]["required"])


def test_each_described_message_has_an_example_that_fits() -> None:
    for kind, described in MESSAGES.items():
        for example in described["examples"]:
            fits(example["payload"], kind)


async def test_every_message_that_is_told_is_described_so(platform: Platform, settings: Settings) -> None:
    async with ordering(settings) as orders:
        async with feeding(settings, orders.topic) as feed, serving(feed) as served:
            await orders.put_all([("a", "PAID"), ("b", "PAID")])
            await until(lambda: len(feed.present.orders) == 2)
            async with served.follow("?status=PAID") as client:
                messages = await hear_until(client)
                await orders.put("a", "SHIPPED")
                await orders.put("b", None)
                messages += [await hear(client), await hear(client)]
        async with feeding(settings, orders.topic) as feed:
            pass
        async with serving(feed) as served, served.follow() as client:  # it reads no more
            await hear_until(client)
            feed.present.say(live=False, reason="the broker does not answer")
            messages += await hear_until(client, "stale")
            feed.present.say(live=True)
            messages += await hear_until(client, "live")
    assert {message["type"] for message in messages} == set(MESSAGES)
    for message in messages:
        fits(message, message["type"])
