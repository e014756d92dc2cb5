"""Orders as they are emitted to MongoDB, and a look at the documents that come of it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from snacks.documents import Documents, Emission
from snacks.domain.order import Amount, CustomerOrder, Destination, GeoLocation, Item, Paid, Price
from snacks.domain.values import Currency, ItemStatus, OrderStatus

HOME = Destination("Ada K", "9 Quay St", "00501", GeoLocation(1.5, -2.5))
APPLE_RINGS = Item("1", "Apple Rings", ItemStatus.REQUESTED, Price(Decimal("1.25"), Currency.USD), 2)
PAID = Paid("CREDIT", "Visa", "****-****-****-4242", Amount(Decimal("2.50"), Currency.USD))


def order(
    order_id: str = "kit-1",
    status: OrderStatus = OrderStatus.PAID,
    modified: str = "2026-01-01T00:00:00",
    **fields: Any,
) -> CustomerOrder:
    whole = CustomerOrder(order_id, status, modified, [APPLE_RINGS], HOME, PAID)
    return replace(whole, **fields)


def first(one: CustomerOrder, revision: int = 1) -> Emission:
    return Emission(one.order_id, revision, one)


async def raw(documents: Documents, query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    collection = documents.model.get_pymongo_collection()
    found: list[dict[str, Any]] = await collection.find(query or {}).sort("_id", 1).to_list()
    return found


async def stored_order(documents: Documents, order_id: str) -> Mapping[str, Any]:
    found = await documents.get(order_id)
    assert found is not None
    return found
