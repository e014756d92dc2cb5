"""HTTP and folding in processes of their own: each says what it does, and does no more."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.e2e.app_process import App
from tests.e2e.lives import assert_mongodb_equals_mysql, live
from tests.waiting import until

from snacks.platform import Platform
from snacks.story import CHAPTERS


@pytest.fixture(scope="module")
async def front(platform: Platform) -> AsyncIterator[App]:
    """A process that answers HTTP; at first it is the only one, and nobody folds."""
    app = App(replace(platform.settings, role="http", group_id="roles"))
    try:
        await app.start()
        yield app
    finally:
        await app.stop()


@pytest.fixture(scope="module")
async def folder(front: App) -> AsyncIterator[App]:
    """A process that folds for it."""
    ports = tuple(port + 40 for port in front.settings.http_ports)
    app = App(replace(front.settings, role="actors", http_ports=ports))
    try:
        await app.start()
        yield app
    finally:
        await app.stop()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=40, trust_env=False) as one:
        yield one


async def topology(client: httpx.AsyncClient, app: App) -> Any:
    return (await client.get(f"{app.url(1)}/api/topology", params={"format": "json"})).json()


async def drawn(client: httpx.AsyncClient, app: App) -> Any:
    """The topology, with the group: the broker may be slow to tell of it."""

    async def whole() -> Any:
        found = await topology(client, app)
        return found["group"] is not None and found

    return await until(whole)


async def checks(client: httpx.AsyncClient, app: App) -> dict[str, str]:
    report = (await client.get(f"{app.url(1)}/health/ready")).json()
    return {check["name"]: check["detail"] for check in report["checks"]}


async def test_http_alone_is_ready_takes_commands_and_says_that_nobody_folds(
    front: App, client: httpx.AsyncClient
) -> None:
    item = {"itemId": "1", "itemName": "Apple Rings", "price": 0.07, "quantity": 3}
    body = {"orderId": "alone", "items": [item]}
    assert (await client.post(f"{front.url(0)}/api/item-details", json=body)).is_success
    found = await drawn(client, front)
    assert (found["role"], found["shards"], found["member"]) == ("http", [], "")
    assert found["group"]["members"] == []
    assert any("no process folds" in problem for problem in found["problems"])
    said = await checks(client, front)
    assert said["role"].startswith("http: answers HTTP; folds nothing")
    assert "actors" not in said


async def test_orders_pass_from_the_one_to_the_other(
    front: App, folder: App, client: httpx.AsyncClient
) -> None:
    order_id = await live(front.url(0), CHAPTERS[0])
    shipped = f"{front.url(2)}/api/orders/{order_id}"

    async def is_shipped() -> bool:
        answer = await client.get(shipped)
        return answer.is_success and answer.json()["orderStatus"] == "SHIPPED"

    await until(is_shipped)
    await assert_mongodb_equals_mysql(front.settings)
    async with client.stream("GET", f"{front.url(0)}/api/orders/stream?orderId={order_id}") as events:
        async for line in events.aiter_lines():
            if "SHIPPED" in line:
                break
    explained = (await client.get(f"{front.url(0)}/api/explain/{order_id}")).json()
    assert explained["problems"] == []
    assert explained["state"] is not None, "its state lies in the checkpoint, wherever its actor is"


async def test_a_process_that_folds_answers_health_and_topology_and_nothing_else(
    folder: App, client: httpx.AsyncClient
) -> None:
    for path in ("/api/orders/alone", "/api/explain/alone", "/api/drift", "/api/orders/stream", "/"):
        assert (await client.get(folder.url(0) + path)).status_code == httpx.codes.NOT_FOUND, path
    body = {"orderId": "refused", "items": []}
    for path in ("/api/item-details", "/api/shipping-location", "/api/payment"):
        answer = await client.post(folder.url(0) + path, json=body)
        assert answer.status_code == httpx.codes.NOT_FOUND, path
    assert (await client.get(f"{folder.url(0)}/health/live")).is_success
    assert (await client.get(f"{folder.url(0)}/api/topology?format=html")).is_success
    assert (await client.get(f"{folder.url(0)}/static/topology.js")).is_success
    told = (await client.get(f"{folder.url(0)}/metrics")).text
    assert "snacks_shard_lag" in told
    assert "snacks_orders_drifted" not in told, "it takes no samples"


async def test_only_the_process_that_folds_is_a_member_of_the_group(
    front: App, folder: App, client: httpx.AsyncClient
) -> None:
    await until(partial(_all_shards, client, folder))
    found = await drawn(client, front)
    assert found["shards"] == []
    assert [len(member["shards"]) for member in found["group"]["members"]] == [front.settings.partitions]
    assert (await checks(client, folder))["role"].startswith("actors: folds orders")


async def _all_shards(client: httpx.AsyncClient, app: App) -> bool:
    return len((await topology(client, app))["shards"]) == app.settings.partitions
