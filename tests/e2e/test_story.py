"""The story through every real part, then with the app killed in its middle."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
from tests.e2e.app_process import ROOT, App, environment
from tests.e2e.lives import (
    assert_all_shipped_and_nothing_stepped_back,
    assert_mongodb_equals_mysql,
    committed,
    grown,
    live,
    published,
)
from tests.sql import sql
from tests.waiting import until

from snacks.cdc import connector
from snacks.platform import Platform, process
from snacks.story import CHAPTERS, STATUSES, Teller


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=15, trust_env=False) as one:
        yield one


async def status_of(app: App, client: httpx.AsyncClient, order_id: str) -> str | None:
    answer = await client.get(f"{app.url(2)}/api/orders/{order_id}")
    return answer.json()["orderStatus"] if answer.status_code == httpx.codes.OK else None


async def test_the_story_takes_every_order_from_pending_to_shipped(
    app: App, client: httpx.AsyncClient
) -> None:
    teller = Teller(client, app.url(0))
    ids = {}
    for chapter in CHAPTERS:
        ids[chapter.name] = await teller.order(chapter)
    for status in STATUSES:
        for chapter in CHAPTERS:
            order_id = ids[chapter.name]
            if status != STATUSES[0]:
                await teller.step(status, order_id, chapter)()
            await until(partial(_is, app, client, order_id, status))
    assert await assert_mongodb_equals_mysql(app.settings) >= len(CHAPTERS)


async def _is(app: App, client: httpx.AsyncClient, order_id: str, status: str) -> bool:
    return await status_of(app, client, order_id) == status


async def test_a_client_of_the_ancestor_plays_the_story_unchanged(
    app: App, client: httpx.AsyncClient
) -> None:
    """Bare paths and JSON of the contract, on the ports for commands and queries."""
    commands, queries = app.url(0), app.url(2)
    order_id = f"ancestor-{os.urandom(4).hex()}"
    item = {"itemId": "1", "itemName": "Snickers", "itemStatus": "REQUESTED", "price": 0.01, "quantity": 1}
    created = await client.post(f"{commands}/api/item-details", json={"orderId": order_id, "items": [item]})
    assert created.json()["totalPrice"] == 0.01
    place = {
        "orderId": order_id,
        "customerName": "Ann",
        "customerAddress": "2115 Summit Ave.",
        "zipCode": "55105",
        "latitude": 44.9374829167,
        "longitude": -93.1893875758,
    }
    assert (await client.post(f"{commands}/api/shipping-location", json=place)).is_success
    card = {
        "orderId": order_id,
        "paymentType": "CREDIT_CARD",
        "creditCardType": "Magical Visa",
        "creditCardNumber": "7777-7777-7777-7777",
        "amount": 0.01,
    }
    assert (await client.post(f"{commands}/api/payment", json=card)).is_success
    await until(lambda: _is(app, client, order_id, "PAID"))
    wishes = (await client.get(f"{queries}/api/orders/snickers-promotion")).json()
    assert all(wish["payment"]["creditCardType"] == "Magical Visa" for wish in wishes)
    for status in ("FULFILLED", "SHIPPED"):
        body = {"orderId": order_id, "itemStatus": status}
        assert (await client.put(f"{commands}/api/item-details", json=body)).json() == body
        await until(partial(_is, app, client, order_id, status))
    shipped = (await client.get(f"{queries}/api/orders", params={"status": "SHIPPED"})).json()
    mine = next(order for order in shipped if order["orderId"] == order_id)
    assert mine["payment"]["creditCardNumber"] == "****-****-****-7777"


async def test_kill_9_in_the_middle_loses_nothing_and_no_status_steps_back(app: App) -> None:
    lives: list[asyncio.Task[str]] = []
    for _ in range(3):
        seen = await committed(app.settings)
        lives += [asyncio.create_task(live(app.url(0), CHAPTERS[number % 4])) for number in range(40)]
        await until(partial(grown, app.settings, seen))
        await app.kill()
        await app.start()
    ids = await asyncio.gather(*lives)
    assert await assert_mongodb_equals_mysql(app.settings) >= len(ids)
    await assert_all_shipped_and_nothing_stepped_back(app.settings, ids)


async def test_rows_deleted_by_hand_leave_and_the_document_goes_with_the_last(
    app: App, client: httpx.AsyncClient
) -> None:
    teller = Teller(client, app.url(0))
    order_id = await teller.order(CHAPTERS[0])
    await until(lambda: _is(app, client, order_id, "PENDING"))
    await sql(app.settings, "DELETE FROM item_detail WHERE order_id = %s AND item_id = '1'", order_id)

    async def one_item() -> bool:
        return len((await client.get(f"{app.url(2)}/api/orders/{order_id}")).json()["items"]) == 1

    await until(one_item)
    await sql(app.settings, "DELETE FROM item_detail WHERE order_id = %s", order_id)

    async def gone() -> bool:
        return (await client.get(f"{app.url(2)}/api/orders/{order_id}")).status_code == httpx.codes.NOT_FOUND

    await until(gone)

    async def tombstone() -> bool:
        return (await published(app.settings))[order_id][-1] is None

    await until(tombstone)
    await assert_mongodb_equals_mysql(app.settings)


async def test_a_paused_connector_turns_readiness_red_and_says_why(
    app: App, client: httpx.AsyncClient
) -> None:
    await connector.pause(app.settings)
    try:

        async def told() -> bool:
            answer = await client.get(f"{app.url(0)}/health/ready")
            checks = {check["name"]: check for check in answer.json()["checks"]}
            return answer.status_code == 503 and "PAUSED" in checks["connector"]["detail"]

        await until(told)
    finally:
        await connector.resume(app.settings)
    await app.until_ready(within=30)


async def test_capture_goes_on_soon_after_mysql_was_killed(
    app: App, client: httpx.AsyncClient, platform: Platform
) -> None:
    """Debezium's default is to look again after one or two minutes."""
    pid = platform.kill("database")
    await platform.healthy("database", not_pid=pid)
    order_id = await live(app.url(0), CHAPTERS[0])
    await until(lambda: _is(app, client, order_id, "SHIPPED"), within=30)


async def test_sigterm_ends_the_app_cleanly_and_it_comes_back(app: App) -> None:
    assert await app.stop() == 0
    await app.start()


async def test_the_demo_plays_twice_against_what_runs(app: App) -> None:
    for _ in range(2):
        argv = [sys.executable, "-m", "snacks", "demo", "--once"]
        told = await asyncio.to_thread(
            subprocess.run, argv, env=environment(app.settings), cwd=ROOT, capture_output=True, timeout=100
        )
        output = told.stdout.decode()
        assert told.returncode == 0, output + told.stderr.decode() + process.log_tail(app.log)
        assert "every order is SHIPPED" in output


async def test_no_card_number_is_anywhere(app: App, client: httpx.AsyncClient) -> None:
    """Neither paying nor any refusal leaves a whole number in logs, topics, MySQL or its binlog."""
    number = "5425-2334-3010-9903"  # of no other test: some put whole numbers into topics on purpose
    teller = Teller(client, app.url(0))
    order_id = await teller.order(CHAPTERS[0])
    payment = {"orderId": order_id, **CHAPTERS[0].payment, "creditCardNumber": number}
    for body in (
        payment | {"amount": 99},
        payment | {"orderId": "nobody"},
        payment | {"creditCardType": "x" * 300},
        payment | {"amount": number},
        payment | {number: number},
        payment,
    ):
        answer = await client.post(f"{app.url(0)}/api/payment", json=body)
        assert number not in answer.text
    await until(partial(_is, app, client, order_id, "PAID"))
    state = app.settings.state_dir
    forms = [form.encode() for form in (number, number.replace("-", ""), number.replace("-", " "))]
    files = [path for path in [*state.glob("logs/*"), *state.glob("data/**/*")] if path.is_file()]
    assert len(files) > 20
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # Kafka has compacted it away since
            continue
        assert not any(form in content for form in forms), path
    topic = str(await published(app.settings)).encode()  # its batches are compressed on disk
    assert not any(form in topic for form in forms)
