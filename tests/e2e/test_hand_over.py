"""Two processes share the shards; one of them freezes past its session, and wakes up again."""

import asyncio
import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest
from tests.e2e.app_process import App
from tests.e2e.lives import (
    assert_all_shipped_and_nothing_stepped_back,
    assert_mongodb_equals_mysql,
    committed,
    grown,
    live,
)
from tests.waiting import until

from snacks.platform import Platform
from snacks.story import CHAPTERS


@pytest.fixture
async def pair(platform: Platform) -> AsyncIterator[tuple[App, App]]:
    ports = platform.settings.http_ports
    other = msgspec.structs.replace(platform.settings, http_ports=tuple(port + 40 for port in ports))
    one, two = App(platform.settings), App(other)
    try:
        await asyncio.gather(one.start(), two.start())
        await until(partial(shares, one, two, 3), within=40, every=0.1)
        yield one, two
    finally:
        await one.stop()
        await two.stop()


async def topology(app: App) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        answer = await client.get(f"{app.url(1)}/api/topology", params={"format": "json"})
    told: dict[str, Any] = answer.json()
    return told


async def shards(app: App) -> int:
    """How many shards this process runs."""
    return sum(shard["state"] == "running" for shard in (await topology(app))["shards"])


async def shares(one: App, two: App, each: int) -> bool:
    return await shards(one) == await shards(two) == each


async def has(app: App, count: int) -> bool:
    return await shards(app) == count


async def test_each_process_tells_who_has_which_shard(pair: tuple[App, App]) -> None:
    async def told(app: App) -> bool:
        group = (await topology(app))["group"]  # None: the broker was slow to answer
        return group is not None and [len(one["shards"]) for one in group["members"]] == [3, 3]

    for app in pair:
        await until(partial(told, app), within=20)

    async def whole(app: App) -> dict[str, Any]:
        drawn = await topology(app)
        return drawn if drawn["group"] else {}

    one, two = [await until(partial(whole, app)) for app in pair]
    assert {one["member"], two["member"]} == {member["clientId"] for member in one["group"]["members"]}
    assert {member["clientId"]: set(member["shards"]) for member in one["group"]["members"]} == {
        drawn["member"]: {str(shard["partition"]) for shard in drawn["shards"]} for drawn in (one, two)
    }


async def test_a_frozen_owner_changes_nothing_after_its_successor_took_over(pair: tuple[App, App]) -> None:
    frozen, successor = pair
    assert frozen.child is not None
    seen = await committed(frozen.settings)
    lives = [asyncio.create_task(live(successor.url(0), CHAPTERS[number % 4])) for number in range(40)]
    await until(partial(grown, frozen.settings, seen))
    frozen.child.send_signal(signal.SIGSTOP)
    try:
        await until(partial(has, successor, 6), within=40, every=0.1)
        lives += [asyncio.create_task(live(successor.url(0), CHAPTERS[number % 4])) for number in range(20)]
        ids = await asyncio.gather(*lives)
        await assert_mongodb_equals_mysql(successor.settings)
    finally:
        frozen.child.send_signal(signal.SIGCONT)
    await until(partial(shares, frozen, successor, 3), within=40, every=0.1)
    ids += [await live(successor.url(0), CHAPTERS[number]) for number in range(4)]
    await assert_mongodb_equals_mysql(successor.settings)
    await assert_all_shipped_and_nothing_stepped_back(successor.settings, ids)


async def test_shards_of_a_process_that_is_killed_go_to_the_other(pair: tuple[App, App]) -> None:
    killed, other = pair
    lives = [asyncio.create_task(live(other.url(0), CHAPTERS[number % 4])) for number in range(20)]
    await killed.kill()
    ids = await asyncio.gather(*lives)
    await until(partial(has, other, 6), within=40, every=0.1)
    await assert_mongodb_equals_mysql(other.settings)
    await assert_all_shipped_and_nothing_stepped_back(other.settings, ids)
