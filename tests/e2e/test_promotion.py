"""The promotion in a real browser: a wish, a name, a penny, and the order on its way."""

import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, Route, WebSocketRoute, expect
from tests.e2e.app_process import App
from tests.e2e.browser import DESK, PHONE, violations, watching, window
from tests.waiting import until

from snacks.story import Teller

pytestmark = pytest.mark.timeout(60, func_only=True)  # app and browser have limits of their own
COMMANDS = {"wish": "/api/item-details", "where": "/api/shipping-location", "penny": "/api/payment"}


@pytest.fixture
async def page(app: App, browser: Browser) -> AsyncIterator[Page]:
    async with window(browser, app.url(3), size=PHONE) as one:
        yield one


def on(screen: str) -> str:
    return f"#screen-{screen}:not([hidden])"


async def wish(page: Page, name: str, *, until_screen: str = "sent") -> None:
    await page.goto("/promotion")
    for screen, following in (("wish", "where"), ("where", "penny"), ("penny", "sent")):
        if screen == until_screen:
            return
        if screen == "where":
            await page.fill("#name", name)
        await page.click(f"{on(screen)} button")
        await page.wait_for_selector(on(following))


async def order_id(page: Page) -> str:
    return str(await page.evaluate("JSON.parse(sessionStorage.getItem('snickers-wish')).orderId"))


async def orders_of(app: App, name: str) -> list[dict[str, Any]]:
    """The orders for this customer, whatever their status."""
    found = []
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        for status in ("PENDING", "PAID", "FULFILLED", "SHIPPED"):
            listed = (await client.get(f"{app.url(2)}/api/orders", params={"status": status})).json()
            found += [one for one in listed if one["shippingLocation"]["customerName"] == name]
    return found


def counted(page: Page) -> list[str]:
    """The commands that the page sends, as it sends them."""
    sent: list[str] = []
    page.on(
        "request", lambda request: sent.append(request.url) if request.method in {"POST", "PUT"} else None
    )
    return sent


async def test_a_wish_goes_all_the_way_to_shipped_before_the_wishers_eyes(
    app: App, browser: Browser, page: Page
) -> None:
    await wish(page, "Wanda")
    await page.wait_for_selector("li[data-status=PAID][aria-current]")
    async with window(browser, app.url(3)) as kitchen:
        await kitchen.goto("/")
        card = kitchen.locator(f'.card[data-id="{await order_id(page)}"]')
        await card.get_by_role("button", name="Sam: fulfil").click()
        await page.wait_for_selector("li[data-status=FULFILLED][aria-current]")
        await card.get_by_role("button", name="Minions: ship").click()
    await page.wait_for_selector("li[data-status=SHIPPED][aria-current]")
    await expect(page.locator("#news")).to_contain_text("on their way to you")
    (order,) = await orders_of(app, "Wanda")
    assert order["items"][0]["itemName"] == "Snickers"
    assert order["shippingLocation"]["geoLocation"] == {
        "latitude": 44.9374829167,
        "longitude": -93.1893875758,
    }
    assert order["payment"]["creditCardNumber"] == "****-****-****-7777"


async def test_a_penny_whose_answer_was_lost_and_whose_order_was_shipped_since_is_no_dead_end(
    app: App, page: Page
) -> None:
    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await wish(page, "Quinn", until_screen="penny")
    await page.route("**/api/payment", lose, times=1)
    await page.click(f"{on('penny')} button")
    await expect(page.locator("#problem")).to_contain_text("please try again")
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        teller = Teller(client, app.url(0))
        mine = await order_id(page)
        await teller.fulfil(mine)
        await teller.ship(mine)
    await page.click(f"{on('penny')} button")
    await page.wait_for_selector("li[data-status=SHIPPED][aria-current]")


async def test_a_double_click_orders_once(app: App, page: Page) -> None:
    sent = counted(page)
    await page.goto("/promotion")
    await page.dblclick(f"{on('wish')} button")
    await page.fill("#name", "Dora")
    await page.dblclick(f"{on('where')} button")
    await page.dblclick(f"{on('penny')} button")
    await page.wait_for_selector("li[data-status=PAID].done")
    assert [sum(url.endswith(path) for url in sent) for path in COMMANDS.values()] == [1, 1, 1]
    assert len(await orders_of(app, "Dora")) == 1


async def test_a_reload_stays_on_its_screen_and_orders_once(app: App, page: Page) -> None:
    sent = counted(page)
    await page.goto("/promotion")
    first = await order_id(page)
    for screen, following in (("wish", "where"), ("where", "penny"), ("penny", "sent")):
        await page.reload()
        await page.wait_for_selector(on(screen))
        if screen == "where":
            await page.fill("#name", "Rhea")
        await page.click(f"{on(screen)} button")
        await page.wait_for_selector(on(following))
    await page.reload()
    await page.wait_for_selector("li[data-status=PAID].done")
    assert page.url.endswith("/promotion/sent")
    assert await order_id(page) == first
    assert len(sent) == 3
    assert len(await orders_of(app, "Rhea")) == 1


async def test_the_answer_was_lost_and_the_same_wish_is_sent_again_as_one_order(app: App, page: Page) -> None:
    async def lose(route: Route) -> None:
        await route.fetch()  # it arrives, its answer does not
        await route.abort()

    await page.goto("/promotion")
    await page.route("**/api/item-details", lose, times=1)
    await page.click(f"{on('wish')} button")
    await expect(page.locator("#problem")).to_contain_text("please try again")
    await page.click(f"{on('wish')} button")
    await page.wait_for_selector(on("where"))
    await page.fill("#name", "Lotte")
    await page.click(f"{on('where')} button")
    await until(partial(orders_of, app, "Lotte"))
    assert len(await orders_of(app, "Lotte")) == 1


async def test_back_orders_nothing_twice_and_leads_to_the_order_that_was_sent(app: App, page: Page) -> None:
    sent = counted(page)
    await wish(page, "Bea")
    await page.wait_for_selector("li[data-status=PAID].done")
    await page.go_back()
    await page.wait_for_selector(on("sent"))
    await page.go_back()
    await page.wait_for_selector(on("sent"))
    assert len(sent) == 3
    assert len(await orders_of(app, "Bea")) == 1


async def test_back_before_the_payment_corrects_the_name(app: App, page: Page) -> None:
    await wish(page, "Jon", until_screen="penny")
    await page.go_back()
    await page.wait_for_selector(on("where"))
    await expect(page.locator("#name")).to_have_value("Jon")
    await page.fill("#name", "Joan")
    await page.click(f"{on('where')} button")
    await page.click(f"{on('penny')} button")
    await page.wait_for_selector("li[data-status=PAID].done")
    assert len(await orders_of(app, "Joan")) == 1
    assert not await orders_of(app, "Jon")


async def test_a_wish_that_the_stream_let_go_of_is_shown_as_queries_know_it(app: App, page: Page) -> None:
    await wish(page, "Olga")
    await page.wait_for_selector("li[data-status=PAID].done")
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        teller = Teller(client, app.url(0))
        await teller.fulfil(await order_id(page))
        await teller.ship(await order_id(page))
    await page.wait_for_selector("li[data-status=SHIPPED].done")

    def forget(socket: WebSocketRoute) -> None:
        socket.send('{"type":"hello","cursor":"0","resumed":false}')
        socket.send('{"type":"current","cursor":"0"}')

    await page.route_web_socket("**/ws/orders/*", forget)
    await page.reload()
    await page.wait_for_selector("li[data-status=SHIPPED][aria-current]")
    await expect(page.locator("#news")).to_contain_text("on their way to you")


async def test_a_screen_that_is_not_reached_yet_leads_to_the_first(page: Page) -> None:
    await page.goto("/promotion/sent")
    await page.wait_for_selector(on("wish"))
    assert re.search(r"/promotion$", page.url)


async def test_another_wish_is_another_order(app: App, page: Page) -> None:
    await wish(page, "Ann")
    first = await order_id(page)
    await page.click(f"{on('sent')} button")
    await page.wait_for_selector(on("wish"))
    assert await order_id(page) != first


async def test_a_refusal_and_a_server_that_is_away_are_said_kindly_and_can_be_tried_again(page: Page) -> None:
    await wish(page, "Kim", until_screen="penny")
    problem = page.locator("#problem")
    refusal = {"timestamp": "2026-01-01T00:00:00Z", "message": "no such order"}
    await page.route("**/api/payment", lambda route: route.fulfill(status=400, json=refusal), times=1)
    await page.click(f"{on('penny')} button")
    await expect(problem).to_contain_text("no such order")
    await page.route("**/api/payment", lambda route: route.abort(), times=1)
    await page.click(f"{on('penny')} button")
    await expect(problem).to_contain_text("does not answer")
    await page.click(f"{on('penny')} button")
    await page.wait_for_selector(on("sent"))
    await expect(problem).to_be_empty()


async def test_the_keyboard_alone_makes_a_wish(page: Page) -> None:
    await page.goto("/promotion")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(on("where"))
    await page.keyboard.press("Tab")
    await page.keyboard.type("Kay")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(on("penny"))
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("li[data-status=PAID].done")


async def test_axe_finds_nothing_wrong_with_any_screen(app: App, browser: Browser) -> None:
    async with window(browser, app.url(3), size=PHONE, calm=True) as page:
        await page.goto("/promotion")
        for screen in COMMANDS:
            await page.wait_for_selector(on(screen))
            assert not await violations(page), screen
            if screen == "where":
                await page.fill("#name", "Axel")
            await page.click(f"{on(screen)} button")
        await page.wait_for_selector("li[data-status=PAID].done")
        assert not await violations(page), "sent"


async def test_no_screen_is_wider_than_a_phone_or_a_desk(app: App, browser: Browser) -> None:
    for size in (PHONE, DESK):
        async with window(browser, app.url(3), size=size) as page:
            await wish(page, "W" * 60)
            await page.wait_for_selector("li[data-status=PAID].done")
            assert await page.evaluate("document.documentElement.scrollWidth") <= size[0]
            await page.goto("/")
            await watching(page)
            assert await page.evaluate("document.documentElement.scrollWidth") <= size[0]
