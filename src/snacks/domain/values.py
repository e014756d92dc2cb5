"""The small words of the domain: statuses, money, order ids."""

import unicodedata
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

CENT = Decimal("0.01")
MONEY_LIMIT = Decimal(1_000_000_000)
"""Amounts of money are below this, so that they fit the tables' DECIMAL(11, 2)."""

ORDER_ID_LENGTH = 64
RESERVED_ORDER_IDS = frozenset({"snickers-promotion", "stream"})
"""What stands for something else in `/api/orders/...`."""


class ItemStatus(StrEnum):
    """Where one item of an order is. An item only moves forward."""

    REQUESTED = "REQUESTED"
    FULFILLED = "FULFILLED"
    SHIPPED = "SHIPPED"

    @property
    def rank(self) -> int:
        """0, 1, 2: the ancestor's enum ordinal, and the order in which an item moves."""
        return RANK[self]


RANK = {status: rank for rank, status in enumerate(ItemStatus)}
STATUS_BY_ORDINAL = tuple(ItemStatus)


class OrderStatus(StrEnum):
    """Where an order is, told from its items and its payment (see `order.order_status`)."""

    PENDING = "PENDING"
    PAID = "PAID"
    FULFILLED = "FULFILLED"
    SHIPPED = "SHIPPED"


class Currency(StrEnum):
    """The currencies of the ancestor: one."""

    USD = "USD"


def to_cents(amount: Decimal) -> Decimal:
    """The amount with exactly two decimal places; float noise (`1.2500000000000002`) is rounded off.

    Raises:
        ValueError: the amount is not finite or does not fit the tables.
    """
    if not amount.is_finite() or abs(amount) >= MONEY_LIMIT:
        raise ValueError(f"money must be a finite amount below {MONEY_LIMIT:,}")
    return amount.quantize(CENT, ROUND_HALF_UP)


def order_id_problem(order_id: str) -> str | None:
    """Why this cannot be an order id, or None. Ids are compared byte for byte, so all else is allowed."""
    if not order_id.strip():
        return "orderId must not be blank"
    if len(order_id) > ORDER_ID_LENGTH:
        return f"orderId must have at most {ORDER_ID_LENGTH} characters"
    if any(unicodedata.category(char) == "Cc" for char in order_id):
        return "orderId must not contain control characters"
    if order_id.startswith("@"):
        return "orderId must not begin with @"
    # The router does not tell `stream/` from `stream`.
    if order_id in RESERVED_ORDER_IDS or order_id.strip("/") == "stream":
        return f"orderId {order_id} is reserved"
    return None
