"""What MongoDB must hold, told from the MySQL tables alone. It imports nothing from `snacks`.

`modifiedDate` is the one thing that the tables do not know: its form is checked, not its value.
"""

import re
from typing import Any

import asyncmy
from asyncmy.cursors import DictCursor
from bson.decimal128 import Decimal128
from pymongo import AsyncMongoClient

RANK = {"REQUESTED": 0, "FULFILLED": 1, "SHIPPED": 2}
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


Tables = dict[str, list[dict[str, Any]]]
"""The rows of the three tables by the table's name."""


async def expected(
    host: str, port: int, user: str, password: str, database: str
) -> dict[str, dict[str, Any]]:
    """The documents by order id, as plain values, without `modifiedDate`."""
    return documents(await rows(host, port, user, password, database))


async def rows(host: str, port: int, user: str, password: str, database: str) -> Tables:
    """All rows of the three tables, as of one moment."""
    connection = await asyncmy.connect(host=host, port=port, user=user, password=password, db=database)
    try:
        async with connection.cursor(cursor=DictCursor) as cursor:
            await cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            tables = {}
            for table in ("item_detail", "shipping_location", "payment"):
                await cursor.execute(f"SELECT * FROM {table}")
                tables[table] = await cursor.fetchall()
    finally:
        connection.close()
    return tables


def documents(tables: Tables) -> dict[str, dict[str, Any]]:
    """What these rows mean, by order id."""
    places = {row["order_id"]: row for row in tables["shipping_location"]}
    payments = {row["order_id"]: row for row in tables["payment"]}
    items: dict[str, list[dict[str, Any]]] = {}
    for row in tables["item_detail"]:
        items.setdefault(row["order_id"], []).append(row)
    return {
        order_id: document(order_id, mine, places[order_id], payments.get(order_id))
        for order_id, mine in items.items()
        if order_id in places
    }


def document(
    order_id: str, rows: list[dict[str, Any]], place: dict[str, Any], paid: dict[str, Any] | None
) -> Any:
    lowest = min(RANK[row["item_status"]] for row in rows)
    status = ("PENDING" if paid is None else "PAID", "FULFILLED", "SHIPPED")[lowest]
    return {
        "orderId": order_id,
        "orderStatus": status,
        "items": [
            {
                "itemId": row["item_id"],
                "itemName": row["item_name"],
                "itemStatus": row["item_status"],
                "price": {"price": row["price"], "currency": row["currency"]},
                "quantity": row["quantity"],
            }
            for row in sorted(rows, key=lambda row: row["item_id"])
        ],
        "shippingLocation": {
            "customerName": place["customer_name"],
            "customerAddress": place["customer_address"],
            "zipCode": place["zip_code"],
            "geoLocation": {"latitude": place["latitude"], "longitude": place["longitude"]},
        },
        "payment": None
        if paid is None
        else {
            "paymentType": paid["payment_type"],
            "creditCardType": paid["credit_card_type"],
            "creditCardNumber": paid["credit_card_number"],
            "amount": {"amount": paid["amount"], "currency": paid["currency"]},
        },
    }


async def stored(url: str, database: str) -> dict[str, dict[str, Any]]:
    """The documents that MongoDB holds, by order id, without `modifiedDate`."""
    async with AsyncMongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=5000) as client:
        found = await client[database]["customerOrder"].find().to_list()
    held = {}
    for one in found:
        order = plain(one["customerOrder"])
        assert DATE.fullmatch(order.pop("modifiedDate")), one
        held[one["_id"]] = order
    return held


def plain(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


def differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """What differs, one line an order: empty when both are equal."""
    return [
        f"{order_id}: MySQL says {left.get(order_id)}, MongoDB says {right.get(order_id)}"
        for order_id in sorted(left.keys() | right.keys())
        if left.get(order_id) != right.get(order_id)
    ]
