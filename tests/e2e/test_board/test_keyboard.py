"""The board for people who use the keyboard, or are quick."""

import pytest
from playwright.async_api import Page, expect
from tests.e2e.cards import card, paid

from snacks.story import Teller

pytestmark = pytest.mark.timeout(60, func_only=True)  # app and browser have limits of their own


async def test_the_keyboard_alone_fulfils_ships_and_opens_an_order(board: Page, teller: Teller) -> None:
    order_id = await paid(teller)
    here = f'document.activeElement.closest(".card")?.dataset.id === "{order_id}"'
    await expect(card(board, order_id, "PAID")).to_be_visible()
    await board.locator(".skip").focus()
    await board.keyboard.press("Enter")
    await tab_until(board, f'{here} && document.activeElement.matches(".act")')
    await board.keyboard.press("Enter")
    await expect(card(board, order_id, "FULFILLED")).to_be_visible()
    # The focus went with the card, to its name.
    await expect(card(board, order_id).locator(".open")).to_be_focused()
    await board.keyboard.press("Enter")
    dialog = board.locator("dialog#order")
    await expect(dialog).to_be_visible()
    for _ in range(4):
        await board.keyboard.press("Tab")
        # Of the page, only what is in the dialog; the browser's own bars are its own.
        assert await board.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    await board.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    assert await board.evaluate(here)
    await board.keyboard.press("Tab")
    await board.keyboard.press("Enter")
    await expect(card(board, order_id, "SHIPPED")).to_be_visible()


async def test_who_leaves_an_order_quickly_keeps_the_focus_where_it_is(board: Page, teller: Teller) -> None:
    order_id = await paid(teller)
    await card(board, order_id, "PAID").locator(".open").click()
    await close(board, order_id, ".act", "focus")
    await expect(card(board, order_id).locator(".act")).to_be_focused()


async def test_an_order_that_is_opened_again_quickly_is_followed(board: Page, teller: Teller) -> None:
    order_id = await paid(teller)
    await card(board, order_id, "PAID").locator(".open").click()
    await close(board, order_id, ".open", "click")
    await teller.fulfil(order_id)
    await expect(board.locator("#order-status")).to_have_text("FULFILLED")


async def test_the_next_step_can_be_pressed_when_the_card_has_moved(board: Page, teller: Teller) -> None:
    order_id = await paid(teller)
    await expect(card(board, order_id, "PAID")).to_be_visible()
    await board.evaluate(
        """(id) => new Promise((resolve) => {
            const card = document.querySelector(`.card[data-id="${id}"]`);
            new MutationObserver((_, observer) => {
                if (card.dataset.status !== "FULFILLED") return;
                observer.disconnect();
                card.querySelector(".act").click();
                resolve();
            }).observe(card, { attributes: true });
            card.querySelector(".act").click();
        })""",
        order_id,
    )
    await expect(card(board, order_id, "SHIPPED")).to_be_visible()


async def test_a_double_click_does_one_step_only(board: Page, teller: Teller) -> None:
    order_id = await paid(teller)
    await expect(card(board, order_id, "PAID")).to_be_visible()
    press = """([id, detail, at]) => {
        const event = new MouseEvent("click", { detail, bubbles: true });
        Object.defineProperty(event, "timeStamp", { value: at });
        document.querySelector(`.card[data-id="${id}"] .act`).dispatchEvent(event);
    }"""
    await board.evaluate(press, [order_id, 1, 10_000])
    await expect(card(board, order_id, "FULFILLED")).to_be_visible()
    act = card(board, order_id, "FULFILLED").locator(".act")
    await board.evaluate(press, [order_id, 2, 10_100])
    await expect(act).to_have_text("Minions: ship")
    await board.evaluate(press, [order_id, 2, 10_900])  # who presses on and on, though
    await expect(card(board, order_id, "SHIPPED")).to_be_visible()


async def close(board: Page, order_id: str, button: str, then: str) -> None:
    """Close the order and do this with its card's button before the browser tells that it was closed."""
    await board.evaluate(
        """async ([id, button, then]) => {
            const dialog = document.getElementById("order");
            const told = new Promise((resolve) => dialog.addEventListener("close", resolve));
            dialog.close();
            document.querySelector(`.card[data-id="${id}"] ${button}`)[then]();
            await told;
        }""",
        [order_id, button, then],
    )


async def tab_until(page: Page, condition: str) -> None:
    for _ in range(200):
        if await page.evaluate(condition):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {condition}")
