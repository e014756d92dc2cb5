"""What the Python rivals share: the join itself, as one would write it on dictionaries."""

from typing import Any

TABLES = ("item_detail", "shipping_location", "payment")
STATUSES = ("REQUESTED", "FULFILLED", "SHIPPED")


def topic(table: str) -> str:
    return f"order-command-server.order-command-db.{table}"


def fold(rows: dict[str, Any] | None, row: dict[str, Any]) -> dict[str, Any]:
    """The order's rows after a change; an item never goes back to a lower status."""
    rows = rows or {"items": {}, "place": None, "payment": None}
    if "item_id" in row:
        status = row["item_status"]
        row["item_status"] = rank = STATUSES.index(status) if isinstance(status, str) else status
        old = rows["items"].get(row["item_id"])
        if old is None or rank >= old["item_status"]:
            rows["items"][row["item_id"]] = row
    elif "latitude" in row:
        rows["place"] = row
    else:
        rows["payment"] = row
    return rows


def order(rows: dict[str, Any]) -> dict[str, Any] | None:
    """The customer order, once it has an item and a place."""
    place, payment = rows["place"], rows["payment"]
    if not rows["items"] or not place:
        return None
    lowest = min(item["item_status"] for item in rows["items"].values())
    return {
        "orderId": place["order_id"],
        "orderStatus": STATUSES[lowest] if lowest else "PAID" if payment else "PENDING",
        "items": [
            {
                "itemId": item_id,
                "itemName": item["item_name"],
                "itemStatus": STATUSES[item["item_status"]],
                "price": {"price": float(item["price"]), "currency": "USD"},
                "quantity": item["quantity"],
            }
            for item_id, item in sorted(rows["items"].items())
        ],
        "shippingLocation": {
            "customerName": place["customer_name"],
            "customerAddress": place["customer_address"],
            "zipCode": place["zip_code"],
            "geoLocation": {"latitude": place["latitude"], "longitude": place["longitude"]},
        },
        "payment": payment
        and {
            "paymentType": payment["payment_type"],
            "creditCardType": payment["credit_card_type"],
            "creditCardNumber": payment["credit_card_number"],
            "amount": {"amount": float(payment["amount"]), "currency": "USD"},
        },
    }
