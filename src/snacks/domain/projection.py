"""What the world sees of one order: the customer order, made from the rows that are known of it."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from msgspec import Struct

from snacks.domain.fold import OrderState
from snacks.domain.rows import Payment
from snacks.domain.values import Currency, ItemStatus, OrderStatus


class Price(Struct, frozen=True, gc=False):
    """A unit price; exact digits."""

    price: Decimal
    currency: Currency


class Amount(Struct, frozen=True, gc=False):
    """An amount paid; exact digits."""

    amount: Decimal
    currency: Currency


class Item(Struct, frozen=True, rename="camel", gc=False):
    """An item of a customer order."""

    item_id: str
    item_name: str
    item_status: ItemStatus
    price: Price
    quantity: int


class GeoLocation(Struct, frozen=True, gc=False):
    """Degrees, WGS 84."""

    latitude: float
    longitude: float


class Destination(Struct, frozen=True, rename="camel", gc=False):
    """Where a customer order goes."""

    customer_name: str
    customer_address: str
    zip_code: str
    geo_location: GeoLocation


class Paid(Struct, frozen=True, rename="camel", gc=False):
    """How a customer order was paid; the card number is a mask."""

    payment_type: str
    credit_card_type: str
    credit_card_number: str
    amount: Amount


class CustomerOrder(Struct, frozen=True, rename="camel", gc=False):
    """The aggregate: published to `customer-order-aggregate` and stored in MongoDB.

    `modified_date` is UTC, `yyyy-MM-dd'T'HH:mm:ss`: when the newest source row changed.
    """

    order_id: str
    order_status: OrderStatus
    modified_date: str
    items: list[Item]
    shipping_location: Destination
    payment: Paid | None


def project(order_id: str, state: OrderState) -> CustomerOrder | None:
    """The customer order, or None while it has no item or no shipping location (an inner join)."""
    place = state.shipping_location
    if place is None or place.row is None:
        return None
    rows = {item_id: kept.row for item_id, kept in sorted(state.items.items()) if kept.row is not None}
    if not rows:
        return None
    to, paid = place.row, None if state.payment is None else state.payment.row
    return CustomerOrder(
        order_id,
        order_status([row.item_status for row in rows.values()], paid=paid is not None),
        _timestamp(state.changed // 1000),
        [
            Item(item_id, row.item_name, row.item_status, Price(row.price, row.currency), row.quantity)
            for item_id, row in rows.items()
        ],
        Destination(
            to.customer_name, to.customer_address, to.zip_code, GeoLocation(to.latitude, to.longitude)
        ),
        None if paid is None else _paid(paid),
    )


def _paid(row: Payment) -> Paid:
    amount = Amount(row.amount, row.currency)
    return Paid(row.payment_type, row.credit_card_type, row.credit_card_number, amount)


def order_status(items: list[ItemStatus], *, paid: bool) -> OrderStatus:
    """SHIPPED if every item is; else FULFILLED if every item is at least that; else PAID or PENDING."""
    if ItemStatus.REQUESTED in items:
        return OrderStatus.PAID if paid else OrderStatus.PENDING
    return OrderStatus.FULFILLED if ItemStatus.FULFILLED in items else OrderStatus.SHIPPED


@lru_cache(maxsize=1024)
def _timestamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
