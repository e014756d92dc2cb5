"""The stream as server-sent events: it tells the same, and goes on after the last event id."""

import asyncio
import json
from typing import Any

import pytest
from tests.streaming import Following, Message, brief
from tests.waiting import until

from snacks.http import stream

pytestmark = pytest.mark.usefixtures("no_errors")


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
