"""The small words of the domain: statuses, money, card masks, order ids."""

import re
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


MASKED = re.compile(r"\*{4}-\*{4}-\*{4}-(?:[0-9]{4}|\*{4})")
MASK = "****-****-****-"
CARD_DIGITS = 13
"""Card numbers have 13 to 19 digits (ISO/IEC 7812)."""


def mask_card(number: str) -> str:
    """The mask of a card number, `****-****-****-1111`; a mask stays as it is.

    The last four digits show only if there are at least 13 digits (PCI DSS 3.4.1 allows at most the
    first six and last four of a whole number).
    """
    if MASKED.fullmatch(number):
        return number
    digits = [str(unicodedata.digit(char)) for char in number if char.isdigit()]
    return MASK + ("".join(digits[-4:]) if len(digits) >= CARD_DIGITS else "****")


# A UUID and a clock reading (milliseconds, microseconds or nanoseconds since 1970) are no card
# numbers though they hold as many digits; the digits behind a decimal point are none either.
_CARD_IN_TEXT = re.compile(
    r"(?P<other>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?<!\d)1[5-9]\d{11}(?:\d{3}){0,2}(?!\d)|\d\.\d+)"
    r"|(?<!\d)\d(?:[ -]?\d){12,}(?!\d)"
)


def mask_cards(text: str) -> str:
    """The text with everything in it that could be a card number masked: for logs and dead letters."""
    return _CARD_IN_TEXT.sub(lambda m: m[0] if m["other"] else mask_card(m[0]), text)


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
