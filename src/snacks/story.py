"""The story that the demo, the docs and the tests tell, played over HTTP as any client would.

Three grandchildren order snacks, somebody makes a wish, Sam the Wizard fulfils what is paid, and the
Minions ship what is fulfilled. The numbers of the cards are made up.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from msgspec import Struct


class Chapter(Struct, frozen=True):
    """One order of the story: who wants what, where it goes and how it is paid. JSON of the contract."""

    name: str
    items: list[dict[str, Any]]
    place: dict[str, Any]
    payment: dict[str, Any]


def _item(item_id: int, name: str, quantity: int) -> dict[str, Any]:
    return {"itemId": str(item_id), "itemName": name, "price": 0.01, "quantity": quantity}


def _place(name: str, address: str, zip_code: str, latitude: float, longitude: float) -> dict[str, Any]:
    return {
        "customerName": name,
        "customerAddress": address,
        "zipCode": zip_code,
        "latitude": latitude,
        "longitude": longitude,
    }


def _card(card_type: str, digit: str, amount: float) -> dict[str, Any]:
    return {
        "paymentType": "CREDIT_CARD",
        "creditCardType": card_type,
        "creditCardNumber": "-".join([digit * 4] * 4),
        "amount": amount,
    }


CHAPTERS = (
    Chapter(
        "Brady",
        [_item(1, "Swedish Fish", 2), _item(2, "Pretzels", 2)],
        _place("Brady S", "104 Rising Sun Rd", "08505", 40.7127281, -74.0060152),
        _card("Visa", "1", 0.04),
    ),
    Chapter(
        "Oakley",
        [_item(1, "Cheez-It", 2), _item(2, "Veggie Sticks", 4), _item(3, "Gold Fish", 1)],
        _place("Oakley S.", "104 Mimi & Pop Street", "14141", 20.7127281, -60.0060152),
        _card("Visa", "2", 0.07),
    ),
    Chapter(
        "Rylan",
        [_item(1, "Fruit Snacks", 4), _item(2, "Frosty Mini Donut", 1)],
        _place("Rylan S", "1414 Cinderella Ln", "44055", 32.7127281, -56.0060152),
        _card("Visa", "4", 0.05),
    ),
    Chapter(
        "A wish",
        [_item(1, "Snickers", 1)],
        _place("A. Wisher", "2115 Summit Ave.", "55105", 44.9374829167, -93.1893875758),
        _card("Magical Visa", "7", 0.01),
    ),
)

STATUSES = ("PENDING", "PAID", "FULFILLED", "SHIPPED")


class Refusal(Exception):  # noqa: N818  (what the command side said)
    """A command of the story was refused; the message is the answer's."""


class Teller:
    """Sends the story's commands to the command side at `commands` (a base URL)."""

    def __init__(self, client: httpx.AsyncClient, commands: str) -> None:
        self._client = client
        self._commands = commands

    async def order(self, chapter: Chapter) -> str:
        """Order the items and say where they go; the new order's id. The order is then PENDING."""
        created = await self._send("POST", "item-details", {"orderId": "", "items": chapter.items})
        order_id: str = created["orderId"]
        await self._send("POST", "shipping-location", {"orderId": order_id, **chapter.place})
        return order_id

    async def pay(self, order_id: str, chapter: Chapter) -> None:
        """Pay the order: PAID."""
        await self._send("POST", "payment", {"orderId": order_id, **chapter.payment})

    async def fulfil(self, order_id: str) -> None:
        """Sam the Wizard has packed the order: FULFILLED."""
        await self._send("PUT", "item-details", {"orderId": order_id, "itemStatus": "FULFILLED"})

    async def ship(self, order_id: str) -> None:
        """The Minions are on their way with the order: SHIPPED."""
        await self._send("PUT", "item-details", {"orderId": order_id, "itemStatus": "SHIPPED"})

    def step(self, status: str, order_id: str, chapter: Chapter) -> Callable[[], Awaitable[None]]:
        """The command that brings an order of the story to this status."""
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "PAID": lambda: self.pay(order_id, chapter),
            "FULFILLED": lambda: self.fulfil(order_id),
            "SHIPPED": lambda: self.ship(order_id),
        }
        return steps[status]

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.request(method, f"{self._commands}/api/{path}", json=body)
        if answer.status_code != httpx.codes.OK:
            raise Refusal(f"{method} /api/{path} answered {answer.status_code}: {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        return told
