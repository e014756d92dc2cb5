"""The rows of one order as MySQL has them, and what a change record says of one of them.

A new column of the command tables is a field here, and in `projection.py` if readers see it.

`gc=False` here and in the modules beside: such a value never leads back to itself, so the cyclic collector
need not visit it. With the collector as Python sets it, these visits were half of a drain's work.
"""

from decimal import Decimal
from typing import Any

from msgspec import Struct

from snacks.domain.repair import Repair
from snacks.domain.values import Currency, ItemStatus


class ItemDetail(Struct, frozen=True, gc=False):
    """A row of `item_detail`, without its key (order_id, item_id)."""

    item_name: str
    item_status: ItemStatus
    price: Decimal
    currency: Currency
    quantity: int


class ShippingLocation(Struct, frozen=True, gc=False):
    """A row of `shipping_location`, without its key (order_id)."""

    customer_name: str
    customer_address: str
    zip_code: str
    latitude: float
    longitude: float


class Payment(Struct, frozen=True, gc=False):
    """A row of `payment`, without its key (order_id). The card number is a mask."""

    payment_type: str
    credit_card_type: str
    credit_card_number: str
    amount: Decimal
    currency: Currency


Row = ItemDetail | ShippingLocation | Payment
ROWS: dict[str, type[Row]] = {
    "item_detail": ItemDetail,
    "shipping_location": ShippingLocation,
    "payment": Payment,
}
"""The command tables by name, in the order of their topics."""

Position = tuple[int, int]
"""Binlog coordinates: the number of the binlog file, and the byte in it. They order transactions."""


class PartialRow(Struct, frozen=True):
    """A row of which some columns were not sent (a minimal row image): those keep their value."""

    columns: dict[str, Any]
    missing: tuple[str, ...]


class RowChange(Struct, frozen=True, gc=False):
    """What one CDC record says: this row is now so, or is gone (`row` None).

    `at` is when the row changed, in milliseconds since 1970 UTC: `source.ts_ms`, else the record's
    timestamp. `position` is there only if the record carries both its source time and its binlog
    coordinates: only such records can be told older. `repair`: see there.
    """

    table: str
    order_id: str
    item_id: str
    row: Row | PartialRow | None
    at: int
    position: Position | None = None
    repair: Repair | None = None
