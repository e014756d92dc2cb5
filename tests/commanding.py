"""A client of the command side with its real handlers, and an eye on the rows it writes."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
from litestar import Litestar
from litestar.di import Provide
from msgspec.structs import replace

from snacks.config import Settings
from snacks.domain.order import ROWS
from snacks.domain.requests import (
    CardMask,
    Command,
    CreateOrder,
    Money,
    NewItem,
    Pay,
    Price,
    Refused,
    SetStatus,
    ShipTo,
)
from snacks.domain.values import ItemStatus
from snacks.http import commands, errors, openapi
from snacks.tables import Tables
from tests.sql import connected, query

CARD = "1111-1111-1111-1111"
ITEM = {"itemId": "1", "itemName": "Apple Rings", "price": 0.07, "quantity": 3}
PLACE = {
    "customerName": "Ada",
    "customerAddress": "9 Quay St",
    "zipCode": "1",
    "latitude": 1.5,
    "longitude": -2.5,
}
PAYMENT = {"paymentType": "CREDIT", "creditCardType": "Visa", "creditCardNumber": CARD, "amount": 0.21}
JSON = {"content-type": "application/json"}
NOTHING: list[Any] = [(), (), ()]
"""The rows of an order that is not there."""

STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "order": ("POST item-details", {"items": [ITEM]}),
    "paid": ("POST payment", PAYMENT),
    "placed": ("POST shipping-location", PLACE),
    "fulfilled": ("PUT item-details", {"itemStatus": "FULFILLED"}),
    "shipped": ("PUT item-details", {"itemStatus": "SHIPPED"}),
}
WAYS = {
    "": [],
    "order": ["order"],
    "paid": ["order", "paid"],
    "placed": ["order", "placed"],
    "paid and placed": ["order", "paid", "placed"],
    "fulfilled": ["order", "paid", "placed", "fulfilled"],
    "shipped": ["order", "paid", "placed", "fulfilled", "shipped"],
}
"""How far an order has come, and the commands that bring it there."""


@asynccontextmanager
async def client_of(tables: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the command side that writes to these tables."""
    app: Any = Litestar(
        [commands.router],
        dependencies={"tables": Provide(lambda: tables, sync_to_thread=False)},
        exception_handlers=errors.HANDLERS,
        plugins=[openapi.MoneySchema()],
        openapi_config=openapi.config(),
        logging_config=None,
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/api/", timeout=60) as client:
        yield client


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Tables]:
    """The tables, ready."""
    tables = Tables(settings)
    await tables.open()
    try:
        yield tables
    finally:
        await tables.close()


async def rows(connection: Any, order_id: str) -> list[Any]:
    """The order's rows in the three tables."""
    return [
        await query(connection, f"SELECT * FROM {t} WHERE order_id = %s ORDER BY 1, 2", order_id)
        for t in ROWS
    ]


async def send(
    client: httpx.AsyncClient, request: str, body: Any, order_id: str = "", headers: Any = JSON
) -> httpx.Response:
    """Send `METHOD path`. In a text, `$id` is the order id; a dict gets it as its orderId."""
    method, path = request.split()
    if isinstance(body, dict):
        body = json.dumps({"orderId": order_id} | body)
    content = body if isinstance(body, bytes) else body.replace("$id", order_id).encode()
    return await client.request(method, path, content=content, headers=headers)


async def bring(
    client: httpx.AsyncClient, order_id: str, given: str, item: dict[str, Any] | None = None
) -> None:
    """An order that has come so far, of one item: 0.07 x 3 unless given otherwise."""
    for step in WAYS[given]:
        request, body = STEPS[step]
        if item and "items" in body:
            body = {"items": [ITEM | item]}
        answer = await send(client, request, body, order_id)
        assert answer.status_code == 200, answer.text


def message_of(answer: httpx.Response) -> str:
    """The message of an error, whose shape is checked."""
    problem = answer.json()
    assert list(problem) == ["timestamp", "message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", problem["timestamp"])
    assert answer.headers["content-type"] == "application/json"
    return str(problem["message"])


# ── straight to the tables ──


def create(order_id: str, *item_ids: str, price: str = "0.07") -> CreateOrder:
    """A new order of items that cost the price x 3; one item unless given."""
    items = [
        NewItem(item_id=item_id, item_name="x", price=Price(price), quantity=3)
        for item_id in item_ids or ("1",)
    ]
    return CreateOrder(order_id=order_id, items=items)


def pay(order_id: str, amount: str = "0.21", card_type: str = "Visa") -> Pay:
    """A payment; of one item's total unless given."""
    card = CardMask("****-****-****-1111")
    return Pay(
        order_id=order_id,
        payment_type="C",
        credit_card_type=card_type,
        credit_card_number=card,
        amount=Money(amount),
    )


def ship_to(order_id: str, name: str = "Ada") -> ShipTo:
    """A place."""
    return ShipTo(
        order_id=order_id, customer_name=name, customer_address="", zip_code="", latitude=1.0, longitude=2.0
    )


def become(order_id: str, status: str) -> SetStatus:
    """A status, by its name."""
    return SetStatus(order_id=order_id, item_status=ItemStatus[status])


@asynccontextmanager
async def fresh_database(settings: Settings) -> AsyncIterator[Settings]:
    """Settings of an empty database that root owns."""
    name = f"commands-{uuid4().hex[:12]}"
    root = {"user": "root", "password": "", "database": None}
    async with connected(settings, **root) as connection:
        await query(connection, f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        try:
            yield replace(settings, mysql_user="root", mysql_password="", mysql_database=name)
        finally:
            await query(connection, f"DROP DATABASE `{name}`")


async def outcome(tables: Tables, command: Command) -> str | None:
    """None if the command was written, else why not."""
    try:
        await tables.execute(command)
    except Refused as error:
        return str(error)
    return None
