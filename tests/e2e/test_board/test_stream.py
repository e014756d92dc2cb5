"""The stream behind the board: thousands of orders, what is stale, and a server that dies or is stopped."""

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page, WebSocketRoute, expect
from tests.e2e.app_process import App
from tests.e2e.browser import DESK, window
from tests.e2e.cards import card, paid

from snacks.story import Teller

pytestmark = pytest.mark.timeout(60, func_only=True)  # app and browser have limits of their own
MANY = 2000

# ── two thousand orders ──────────────────────────────────────────────────────────────────────────

TEMPLATE: dict[str, Any] = {
    "modifiedDate": "2026-01-01T00:00:00",
    "items": [
        {
            "itemId": "1",
            "itemName": "Pretzels",
            "itemStatus": "REQUESTED",
            "price": {"price": 0.01, "currency": "USD"},
            "quantity": 2,
        }
    ],
    "shippingLocation": {
        "customerName": "Many",
        "customerAddress": "1 Snack St",
        "zipCode": "08505",
        "geoLocation": {"latitude": 40.7, "longitude": -74.0},
    },
    "payment": None,
}


def told(number: int, status: str, revision: int, at: int) -> str:
    order = TEMPLATE | {"orderId": f"many-{number}", "orderStatus": status}
    times = {"changed": at, "captured": at + 1, "stored": at + 2, "published": at + 3}
    message = {"type": "order", "orderId": order["orderId"], "orderStatus": status, "revision": revision}
    return json.dumps(message | {"cursor": f"{revision}-{number}", "order": order, "times": times})


class Storm:
    """A stream of the test's own: the present state of many orders, then a change of every one of them."""

    def __init__(self, many: int) -> None:
        self.many = many
        self.socket: asyncio.Future[WebSocketRoute] = asyncio.get_running_loop().create_future()

    def serve(self, socket: WebSocketRoute) -> None:
        socket.send(json.dumps({"type": "hello", "cursor": "0", "resumed": False}))
        for number in range(self.many):
            socket.send(told(number, "PENDING", 1, 1000 + number))
        socket.send(json.dumps({"type": "current", "cursor": "1"}))
        if not self.socket.done():
            self.socket.set_result(socket)

    async def change_all(self, status: str, revision: int) -> None:
        socket = await self.socket
        for number in range(self.many):
            socket.send(told(number, status, revision, 1_000_000 * revision + number))
            if number % 20 == 0:
                await asyncio.sleep(0)


async def layout_count(page: Page) -> int:
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return int(next(one["value"] for one in metrics if one["name"] == "LayoutCount"))


async def test_two_thousand_orders_stay_smooth(app: App, browser: Browser) -> None:
    storm = Storm(MANY)
    async with window(browser, app.url(3)) as page:
        await page.route_web_socket("**/ws/orders*", storm.serve)
        await page.goto("/")
        await expect(page.locator("#lane-PENDING .count")).to_have_text(str(MANY))
        assert await page.locator(".card").count() <= 12
        layouts = await layout_count(page)
        await storm.change_all("SHIPPED", 2)
        await expect(page.locator("#lane-SHIPPED .count")).to_have_text(str(MANY))
        # The newest is on top, and there is a bounded number of cards whatever has gone through.
        newest = page.locator("#lane-SHIPPED .card").first
        await expect(newest).to_have_attribute("data-id", f"many-{MANY - 1}")
        assert await page.locator(".card").count() <= 4 * 12
        assert await page.locator("#lane-SHIPPED .more").inner_text() == f"and {MANY - 12} more"
        # Work is counted, as time depends on who else uses the two cores: one drawing for many changes.
        assert await layout_count(page) - layouts < MANY / 2
        # A press is answered as fast as on an empty page.
        await page.click("#lane-SHIPPED .more", timeout=5000)
        await expect(page.locator("#lane-SHIPPED .card")).to_have_count(24, timeout=5000)


async def test_of_the_finished_orders_only_the_newest_are_kept(app: App, browser: Browser) -> None:
    # Those that are finished come oldest last, so that the first to be told are not the ones to go.
    known = """async (order) => {
        const { Orders } = await import("/static/board-orders.js");
        const orders = new Orders();
        const take = (orderId, orderStatus, changed) =>
            orders.take({ orderId, orderStatus, revision: 1, order, times: { changed } });
        take("open", "PAID", 0);
        for (let number = 12500; number > 0; number -= 1) take(`done-${number}`, "SHIPPED", number);
        const hidden = orders.size;
        const { PAID, SHIPPED } = orders.lanes();
        return [hidden, orders.size, PAID.length, SHIPPED[0].id, SHIPPED.at(-1).id, !orders.get("done-2500")];
    }"""
    async with window(browser, app.url(3)) as page:
        await page.goto("/start")
        found = await page.evaluate(known, TEMPLATE)
    assert found == [10_501, 10_001, 1, "done-12500", "done-2501", True]


async def test_what_was_deleted_while_the_page_was_away_leaves_when_the_stream_begins_afresh(
    app: App, browser: Browser
) -> None:
    rounds: list[WebSocketRoute] = []

    def serve(socket: WebSocketRoute) -> None:
        rounds.append(socket)
        socket.send(json.dumps({"type": "hello", "cursor": "0", "resumed": False}))
        for number in range(3 if len(rounds) == 1 else 1):
            socket.send(told(number, "PAID" if len(rounds) == 1 else "PENDING", 1, 1000))
        socket.send(json.dumps({"type": "current", "cursor": "1"}))

    async with window(browser, app.url(3)) as page:
        await page.route_web_socket("**/ws/orders*", serve)
        await page.goto("/")
        await expect(page.locator("#lane-PAID .card")).to_have_count(3)
        await rounds[0].close(code=1012)
        await expect(page.locator("#lane-PENDING .card")).to_have_count(1)
        await expect(page.locator(".card")).to_have_count(1)
        assert "cursor=1" in rounds[1].url


async def test_what_is_said_aloud_is_a_summary(app: App, browser: Browser) -> None:
    storm = Storm(50)
    async with window(browser, app.url(3), size=DESK) as page:
        await page.clock.install()
        await page.route_web_socket("**/ws/orders*", storm.serve)
        await page.goto("/")
        await expect(page.locator("#lane-PENDING .count")).to_have_text("50")
        await page.evaluate(
            "window.said = 0; new MutationObserver(() => { window.said += 1; })"
            ".observe(document.getElementById('said'), { childList: true, subtree: true })"
        )
        await storm.change_all("PAID", 2)
        await expect(page.locator("#lane-PAID .count")).to_have_text("50")
        await page.clock.fast_forward(5000)
        await expect(page.locator("#said")).to_have_text("Orders: 50 now paid.")
        assert await page.evaluate("window.said") <= 2


async def test_a_stream_that_is_stale_says_so_until_it_lives_again(app: App, browser: Browser) -> None:
    storm = Storm(50)
    async with window(browser, app.url(3)) as page:
        await page.route_web_socket("**/ws/orders*", storm.serve)
        await page.goto("/")
        socket = await storm.socket
        socket.send(json.dumps({"type": "stale", "reason": "the broker does not answer"}))
        await expect(page.locator("#banner")).to_contain_text("the broker does not answer")
        socket.send(json.dumps({"type": "live"}))
        await expect(page.locator("#banner")).to_be_hidden()


# ── the server dies and is stopped: last, as each other test needs it ──────────────────────────────


async def test_an_open_page_heals_by_itself_when_the_server_is_killed_and_comes_back(
    app: App, board: Page, teller: Teller
) -> None:
    order_id = await paid(teller)
    await expect(card(board, order_id, "PAID")).to_be_visible()
    await board.evaluate("window.sameDocument = true")
    await app.kill()
    await expect(board.locator("#banner")).to_contain_text("connection is lost")
    await card(board, order_id).locator(".act").click()
    await expect(card(board, order_id).locator(".error")).to_contain_text("please try again")
    await app.start()
    await teller.fulfil(order_id)
    await expect(board.locator("#banner")).to_be_hidden()
    await expect(card(board, order_id, "FULFILLED")).to_be_visible()
    await card(board, order_id).locator(".act").click()
    await expect(card(board, order_id, "SHIPPED")).to_be_visible()
    assert await board.evaluate("window.sameDocument")


async def test_a_restart_that_is_announced_loses_no_change_and_shows_none_twice(
    app: App, board: Page, teller: Teller
) -> None:
    order_id = await paid(teller)
    await expect(card(board, order_id, "PAID")).to_be_visible()
    assert await app.stop() == 0
    await app.start()
    await teller.fulfil(order_id)
    await teller.ship(order_id)
    await expect(card(board, order_id, "SHIPPED")).to_be_visible()
    await expect(card(board, order_id)).to_have_count(1)
