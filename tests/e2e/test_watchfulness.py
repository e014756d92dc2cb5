"""What a running app tells by itself of orders that drifted and records that were set aside."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.app_process import ROOT, App, environment, serving
from tests.repairing import collection
from tests.waiting import until

from snacks.cdc import CDC_TOPICS
from snacks.platform import Platform
from snacks.repair.reconcile import reconcile
from snacks.story import CHAPTERS, Teller


@pytest.fixture(scope="module")
async def app(platform: Platform) -> AsyncIterator[App]:
    """It checks a sample every half second, and gives a change one second to arrive."""
    eager = msgspec.structs.replace(platform.settings, reconcile_every=0.5, reconcile_settle=1.0)
    async with serving(eager) as running:
        yield running


async def metric(app: App, name: str, label: str = "") -> float:
    """A sample of /metrics; 0 if it is not there."""
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        text = (await client.get(f"{app.url(1)}/metrics")).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and label in ("", *sample.labels.values()):
                return sample.value
    return 0.0


async def test_an_order_that_drifts_is_counted_until_it_is_repaired(app: App) -> None:
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        order_id = await Teller(client, app.url(0)).order(CHAPTERS[0])

        async def shown() -> bool:
            return (await client.get(f"{app.url(2)}/api/orders/{order_id}")).is_success

        await until(shown)
        await until(lambda: _is(app, "snacks_orders_drifted", 0))
        async with collection(app.settings) as orders:
            await orders.update_one({"_id": order_id}, {"$set": {"customerOrder.orderStatus": "SHIPPED"}})
        await until(lambda: _is(app, "snacks_orders_drifted", 1), within=60)
        told = (await client.get(f"{app.url(1)}/api/drift")).json()
    assert told["orders"] == [order_id]
    assert (await reconcile(app.settings, repair=True)).repaired == 1
    await until(lambda: _is(app, "snacks_orders_drifted", 0), within=60)


async def _is(app: App, name: str, value: float, label: str = "") -> bool:
    return await metric(app, name, label) == value and await metric(app, "snacks_orders_checked") > 0


async def _tells_letters(app: App) -> bool:
    """Left out where they could not be read in time."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        return "# TYPE snacks_dead_letters_open" in (await client.get(f"{app.url(1)}/metrics")).text


async def test_dead_letters_are_counted_by_reason_in_the_metrics_and_in_status(app: App) -> None:
    reason = "not-an-object"
    await until(lambda: _tells_letters(app))
    before = await metric(app, "snacks_dead_letters_open", reason)
    async with AIOKafkaProducer(bootstrap_servers=app.settings.kafka) as producer:
        await producer.send_and_wait(CDC_TOPICS[0], f'["{uuid4()}"]'.encode(), b"kit-x", partition=0)
    await until(lambda: _is(app, "snacks_dead_letters_open", before + 1, reason), within=60)
    argv = [sys.executable, "-m", "snacks", "status"]
    told = await asyncio.to_thread(
        subprocess.run, argv, env=environment(app.settings), cwd=ROOT, capture_output=True, timeout=60
    )
    words = " ".join(told.stdout.decode().split())  # however the lines are wrapped
    assert f"{before + 1:,.0f} {reason}" in words, told
