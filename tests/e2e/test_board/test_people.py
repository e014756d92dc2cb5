"""The board in a real browser: what a person does there, and orders that move in every window."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Request, Route, expect
from tests.e2e.app_process import App
from tests.e2e.browser import PHONE, violations, watching, window
from tests.e2e.cards import card, paid

from snacks.story import CHAPTERS, Teller

pytestmark = pytest.mark.timeout(60, func_only=True)  # app and browser have limits of their own
HERE, THERE = "Shards of this process:", "Shards of snacks-b-9800:"


async def story(page: Page) -> list[str]:
    """Plays the story from the page; the ids of its orders."""
    ids: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/api/item-details"):
            ids.append(json.loads(request.post_data or "")["orderId"])

    page.on("request", note)
    await page.click("#play")
    await page.wait_for_selector("text=Four orders are placed and paid")
    return ids


async def test_the_story_is_told_from_the_board_alone_and_seen_in_two_windows(
    app: App, browser: Browser, board: Page
) -> None:
    async with window(browser, app.url(0), size=PHONE) as other:
        await other.goto("/")
        await watching(other)
        ids = await story(board)
        assert len(ids) == len(CHAPTERS)
        for order_id in ids:
            await card(other, order_id, "PAID").get_by_role("button", name="Sam: fulfil").click()
        for order_id in ids:
            await card(board, order_id, "FULFILLED").get_by_role("button", name="Minions: ship").click()
        for order_id in ids:
            for page in (board, other):
                await expect(card(page, order_id, "SHIPPED")).to_have_count(1)


async def test_a_reload_in_the_middle_shows_every_order_where_it_is(board: Page) -> None:
    ids = await story(board)
    await card(board, ids[0], "PAID").locator(".act").click()
    await expect(card(board, ids[0], "FULFILLED")).to_be_visible()
    await board.reload()
    await expect(card(board, ids[0], "FULFILLED")).to_be_visible()
    for order_id in ids[1:]:
        await expect(card(board, order_id, "PAID")).to_be_visible()


async def test_a_refused_command_is_said_at_its_card_and_the_button_works_again(
    board: Page, teller: Teller
) -> None:
    order_id = await paid(teller)
    refusal = {"timestamp": "2026-01-01T00:00:00Z", "message": "the order is not paid"}
    await board.route("**/api/item-details", lambda route: route.fulfill(status=400, json=refusal), times=1)
    act = card(board, order_id, "PAID").locator(".act")
    await act.click()
    await expect(card(board, order_id).get_by_role("alert")).to_have_text("Not done: the order is not paid.")
    await act.click()
    await expect(card(board, order_id, "FULFILLED")).to_be_visible()
    await expect(card(board, order_id).locator(".error")).to_be_hidden()


async def test_an_order_opens_to_what_is_known_of_it_and_follows_it(board: Page, teller: Teller) -> None:
    order_id = await paid(teller, 1)
    await card(board, order_id, "PAID").locator(".open").click()
    dialog = board.locator("dialog#order")
    for known in (
        "Oakley S.",
        "Veggie Sticks",
        "$0.07",
        "****-****-****-2222",
        "104 Mimi & Pop Street",
        "20.713° N",
    ):
        await expect(dialog).to_contain_text(known)
    await teller.fulfil(order_id)
    await expect(dialog.locator("#order-status")).to_have_text("FULFILLED")
    # PENDING is there only if it was not passed by before the page was told.
    history = dialog.locator("#order-history .status")
    await expect(history.last).to_have_text("FULFILLED")
    assert (await history.all_inner_texts())[-2:] == ["PAID", "FULFILLED"]
    await expect(dialog.locator("#order-hops .hop")).to_have_text(
        ["MySQL", "Debezium", "MongoDB", "Topic", "Here"]
    )
    assert "2222-2222-2222-2222" not in await board.content()
    await dialog.get_by_role("link", name="Explain it").click()
    await expect(board.get_by_role("heading", name="An order explained")).to_be_visible()
    assert board.url.endswith(f"/explain/{order_id}")


async def test_new_cards_ask_for_no_picture(board: Page, teller: Teller) -> None:
    await board.wait_for_selector("body > svg.hidden", state="attached")
    asked: list[str] = []
    board.on("request", lambda request: asked.append(request.url) if "snacks.svg" in request.url else None)
    order_id = await paid(teller)
    picture = card(board, order_id).locator(".picture")
    await expect(picture).to_be_visible()
    assert await picture.locator("use").evaluate("(use) => use.getBBox().width") > 0
    assert not asked


async def test_an_order_from_the_form_waits_for_its_payment_and_is_paid_by_its_button(board: Page) -> None:
    await board.click("text=New order")
    await board.fill("[name=name]", "Grandpa Joe")
    await board.fill("[name=quantity]", "3")
    await board.uncheck("[name=paid]")
    await board.click("#make-send")
    pending = board.locator("#lane-PENDING .card", has_text="Grandpa Joe")
    await pending.get_by_role("button", name="Pay $0.03").click()
    await expect(board.locator("#lane-PAID .card", has_text="Grandpa Joe")).to_be_visible()


async def test_the_system_is_drawn_with_counts_health_and_shards(
    app: App, board: Page, teller: Teller
) -> None:
    await paid(teller)
    boxes = board.locator("#flow > li")
    await expect(boxes).to_have_count(8)
    await expect(boxes.nth(1)).to_contain_text("MySQL (well)")
    await expect(boxes.nth(1).locator(".value")).to_have_text(re.compile(r"^[1-9]"))
    own = board.get_by_role("list", name="Shards of this process")
    await expect(own.get_by_role("listitem")).to_have_count(app.settings.partitions)
    await expect(board.locator("#system-state")).to_contain_text("All is well")


async def test_an_order_from_the_form_whose_answer_was_lost_is_sent_again_as_one(board: Page) -> None:
    sent: list[str] = []

    async def lose(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or "")["orderId"])
        if len(sent) == 1:
            await route.fetch()  # it arrives, its answer does not
            await route.abort()
        else:
            await route.continue_()

    await board.route("**/api/shipping-location", lose)
    await board.click("text=New order")
    await board.fill("[name=name]", "Otto")
    await board.click("#make-send")
    await expect(board.locator("#make-said")).to_contain_text("please try again")
    for number in (2, 3):
        await board.click("#make-send")
        await expect(board.locator("#make-said")).to_have_text("Otto's order is placed and paid.")
        await expect(board.locator("#lane-PAID .card", has_text="Otto")).to_have_count(number - 1)
    assert sent[0] == sent[1] != sent[2], "once more it is another order"


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, [f"{HERE} 0: 3 orders 1: 2 orders", f"{THERE} 2: 4 to fold"]),
        ({"shards": []}, [f"{HERE} none", f"{THERE} 2: 4 to fold"]),
        ({"shards": [], "member": ""}, ["Shards of snacks-a-8800: 0 1", f"{THERE} 2: 4 to fold"]),
        ({"group": None}, [f"{HERE} 0: 3 orders 1: 2 orders", "The broker does not tell of others."]),
    ],
    ids=["shares", "has none", "folds nothing", "broker away"],
)
async def test_the_shard_owners_of_all_processes_are_shown(
    app: App, browser: Browser, changed: dict[str, Any], shown: list[str]
) -> None:
    members = [
        {"clientId": "snacks-a-8800", "host": "10.0.0.1", "shards": {"0": 0, "1": 0}},
        {"clientId": "snacks-b-9800", "host": "10.0.0.2", "shards": {"2": 4}},
    ]
    shards = [{"partition": n, "state": "running", "reason": "", "orders": 3 - n, "lag": 0} for n in range(2)]
    group = {"groupId": "g", "state": "Stable", "members": members, "lags": {"0": 0, "1": 0, "2": 4}}
    drawn = {"member": "snacks-a-8800", "shards": shards, "group": group} | changed
    drawn |= {"time": "2026-01-01T00:00:00Z", "problems": [], "nodes": [], "edges": []}
    async with window(browser, app.url(3)) as page:
        await page.route("**/api/topology*", lambda route: route.fulfill(json=drawn))
        await page.goto("/")
        rows = page.locator("#owners > li")
        await expect(rows).to_have_text(shown, use_inner_text=True)


async def test_where_flink_folds_no_page_says_that_nobody_does(app: App, browser: Browser) -> None:
    def node(name: str, stage: int, title: str) -> dict[str, Any]:
        blank = {"kind": "", "health": "ok", "detail": "", "counts": {"records": 1}}
        return {"id": name, "stage": stage, "title": title} | blank

    nodes = [node("debezium", 2, "Debezium"), node("actors", 4, "Flink SQL")]
    group = {"groupId": "g", "state": "Empty", "members": [], "lags": {"0": 0}}
    drawn: dict[str, Any] = {
        "time": "2026-01-01T00:00:00Z",
        "role": "all",
        "problems": [],
        "nodes": nodes,
        "edges": [],
    }
    drawn |= {"shards": [], "group": group, "member": ""}
    async with window(browser, app.url(3)) as page:
        await page.route("**/api/topology*", lambda route: route.fulfill(json=drawn))
        await page.goto("/")
        await expect(page.locator("#system-state")).to_contain_text("All is well")
        await expect(page.locator("#owners > li")).to_have_count(0)
        await expect(page.locator("#flow > li").nth(4)).to_contain_text("Flink SQL (well)")
        await page.goto("/static/topology.html")
        await expect(page.locator("#state")).to_contain_text("All is well")
        await expect(page.get_by_text("No process folds")).to_be_hidden()
        await expect(page.get_by_role("heading", name="shard")).to_have_count(0)


async def test_an_address_that_cannot_be_read_is_said_to_be_no_order_id(app: App, browser: Browser) -> None:
    async with window(browser, app.url(3)) as page:
        await page.goto("/explain/%")
        await expect(page.locator("#state")).to_have_text('"%" is no order id.')
        await expect(page.locator("#order")).to_have_value("%")


async def test_axe_finds_nothing_wrong_with_the_pages(app: App, browser: Browser, teller: Teller) -> None:
    order_id = await paid(teller)
    await teller.order(CHAPTERS[2])
    async with window(browser, app.url(3), calm=True) as page:
        await page.goto("/")
        await watching(page)
        await page.click("text=New order")
        await page.wait_for_selector("#flow .line")
        await card(page, order_id).wait_for()
        assert not await violations(page), "board"
        await card(page, order_id).locator(".open").click()
        assert not await violations(page), "an order"
        for path, drawn in (
            ("/start", "h1"),
            ("/static/topology.html", "svg.flow"),
            ("/schema", "main details"),
            ("/explain", "main #ask"),
            (f"/explain/{order_id}", "#state.ok"),
        ):
            await page.goto(path)
            await page.wait_for_selector(drawn)
            assert not await violations(page), path


async def test_axe_finds_nothing_wrong_on_a_phone_that_has_lost_the_stream(
    app: App, browser: Browser
) -> None:
    async with window(browser, app.url(3), size=PHONE, calm=True) as page:
        await page.route_web_socket("**/ws/orders*", lambda socket: socket.close())
        await page.route("**/api/topology*", lambda route: route.abort())
        await page.goto("/")
        await page.wait_for_selector("#banner:visible")
        await page.click("#system summary")
        assert not await violations(page)
