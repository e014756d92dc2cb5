"""An order that is paid, and its card on the board."""

from playwright.async_api import Locator, Page

from snacks.story import CHAPTERS, Teller


async def paid(teller: Teller, chapter: int = 0) -> str:
    order_id = await teller.order(CHAPTERS[chapter])
    await teller.pay(order_id, CHAPTERS[chapter])
    return order_id


def card(page: Page, order_id: str, lane: str = "") -> Locator:
    return page.locator(f'{lane and f"#lane-{lane} "}.card[data-id="{order_id}"]')
