"""The demo when the app or the broker does not do as the story says: an error that tells, no traceback."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest
from rich.console import Console

from snacks import config, demo
from snacks.demo import StoryError, _Step
from snacks.story import CHAPTERS, Teller

APP = "http://app:8800"
HINT = f".*{APP}/health/ready"


class Nothing:
    """Sightings of topics on which nothing is ever published."""

    async def wait_published(self, *_: str) -> float:
        await asyncio.Event().wait()
        return 0.0


async def take(status: str, app: Callable[[httpx.Request], httpx.Response]) -> None:
    """One step of the story, with an app that answers like this."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(app)) as client:
        step = _Step(client, APP, cast("Any", Nothing()), Teller(client, APP), status)
        await step.take(CHAPTERS[0], {"Brady": "one"}, [], lambda: None)


async def test_a_command_that_is_refused_ends_the_story_with_what_the_app_said() -> None:
    def app(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(409, json={"detail": "No order one"})

    said = r"Brady's order .*PAID: POST /api/payment .*409.*No order one"
    with pytest.raises(StoryError, match=f"(?s){said}{HINT}"):
        await take("PAID", app)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("no route"), httpx.ReadTimeout(""), httpx.ReadError("")]
)
async def test_a_command_without_an_answer_ends_the_story_with_what_was_asked(error: httpx.HTTPError) -> None:
    def app(_request: httpx.Request) -> httpx.Response:
        raise error

    said = f"Brady's order .*PENDING: POST {APP}/api/item-details: {type(error).__name__}"
    with pytest.raises(StoryError, match=f"(?s){said}{HINT}"):
        await take("PENDING", app)


async def test_queries_without_an_answer_end_the_story_when_its_time_is_over_and_nobody_asks_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    def app(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.method == "GET":
            asked += 1
            raise httpx.ConnectError("gone")
        return httpx.Response(200, json={})

    monkeypatch.setattr(demo, "STEP_TIMEOUT", 0.3)
    with pytest.raises(StoryError, match=f"(?s)order one is not readable, not PAID{HINT}"):
        await take("PAID", app)
    assert asked > 2
    await asyncio.sleep(0)
    assert not [one for one in asyncio.all_tasks() if "_readable" in repr(one)]


async def test_a_broker_that_does_not_answer_ends_the_story_with_its_address() -> None:
    settings = config.load({"SNACKS_KAFKA_BOOTSTRAP": "127.0.0.1:9"})  # nobody listens there
    with pytest.raises(StoryError, match=r"(?s)127\.0\.0\.1:9.*\./snacks status"):
        await demo.play(settings, Console(quiet=True))
