"""One order: its rows as MySQL has them, how a change folds into them, and what the world sees of it.

Everything here is pure: the same changes give the same order and the same bytes, whatever process
folds them and whenever (design: `docs/architecture.md`).
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from snacks.domain.repair import Repair, digest
from snacks.domain.values import RANK, Currency, ItemStatus, OrderStatus

# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


class ItemDetail(Struct, frozen=True):
    """A row of `item_detail`, without its key (order_id, item_id)."""

    item_name: str
    item_status: ItemStatus
    price: Decimal
    currency: Currency
    quantity: int


class ShippingLocation(Struct, frozen=True):
    """A row of `shipping_location`, without its key (order_id)."""

    customer_name: str
    customer_address: str
    zip_code: str
    latitude: float
    longitude: float


class Payment(Struct, frozen=True):
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


class RowChange(Struct, frozen=True):
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


class IncompleteRow(Exception):  # noqa: N818  (a fact about a record, named like one)
    """A partial row of a row never seen: nothing to keep its missing columns from."""


# ── state ────────────────────────────────────────────────────────────────────────────────────────

R = TypeVar("R", ItemDetail, ShippingLocation, Payment)


class Kept(Struct, Generic[R], frozen=True, omit_defaults=True):
    """The newest of a row. `row` None: deleted, remembered so that an older record cannot revive it.

    `at` is when the row became so, in milliseconds since 1970 UTC (0: it was never there). `position` and
    `seen` (0: the same as `at`) are those of the newest record that told of it, be it a repeat: what is
    older than that record comes too late.
    """

    at: int
    row: R | None = None
    position: Position | None = None
    seen: int = 0


class OrderState(Struct, frozen=True, omit_defaults=True):
    """All that is known of one order; what a checkpoint holds.

    `revision` counts the changes that were folded in (and what repairs raised it by): it only grows, and
    the same records give the same number. `emitted` says whether the order was ever published.
    """

    revision: int = 0
    emitted: bool = False
    items: dict[str, Kept[ItemDetail]] = {}
    shipping_location: Kept[ShippingLocation] | None = None
    payment: Kept[Payment] | None = None

    @property
    def changed(self) -> int:
        """When the newest row changed, in milliseconds since 1970 UTC; 0 if there is none."""
        rows = [kept.at for kept in self.items.values()]
        rows += [kept.at for kept in (self.shipping_location, self.payment) if kept is not None]
        return max(rows, default=0)

    @property
    def has_deletions(self) -> bool:
        """True if a row was deleted and not made again: the order may once have been more complete."""
        rows = [*self.items.values(), self.shipping_location, self.payment]
        return any(kept is not None and kept.row is None for kept in rows)


NEW = OrderState()


def fold(state: OrderState, change: RowChange) -> OrderState:
    """The state after the change; with the same revision if the change says nothing new.

    Nothing new: a repeat, a record older than the row it changes, a delete of a row that is not
    there, or an item's step back to a lower status (which only a delete makes possible again). Of a
    repeat at another position the state remembers that it was seen; else it is the very same object. A
    repair overrules all of them, if the row is still the one that it was decided on; else it says nothing.

    Raises:
        IncompleteRow: the change is a partial row of a row never seen.
    """
    is_item = change.table == "item_detail"
    held: Kept[Any] | None = state.items.get(change.item_id) if is_item else getattr(state, change.table)
    if change.repair is not None:
        return _repaired(state, change, held, change.repair)
    if held is not None and _older(change, held):
        return state
    row = _completed(change.row, held, change.table) if type(change.row) is PartialRow else change.row
    if row == (None if held is None else held.row):
        return _seen(state, change, held)
    if held is not None and _steps_back(row, held.row):
        return state
    return _with(state, change, Kept(change.at, row, change.position), state.revision + 1)


def _seen(state: OrderState, change: RowChange, held: Kept[Any] | None) -> OrderState:
    """Remember a repeat, or what was between it and the row (a dead letter sent again) would be folded."""
    if change.position is None:
        return state
    held = held or Kept(0)
    seen = 0 if change.at == held.at else change.at
    if (change.position, seen) == (held.position, held.seen):
        return state
    return _with(state, change, Kept(held.at, held.row, change.position, seen), state.revision)


def _repaired(state: OrderState, change: RowChange, held: Kept[Any] | None, repair: Repair) -> OrderState:
    if repair.held != digest(held):
        return state
    row = _completed(change.row, held, change.table) if type(change.row) is PartialRow else change.row
    kept: Kept[Any] = Kept(change.at, row, change.position, repair.seen)
    revision = state.revision + repair.raise_by
    if row is None if held is None else held == kept:
        # A new object even if nothing changes: the order is emitted again.
        return msgspec.structs.replace(state, revision=revision)
    return _with(state, change, kept, revision + 1)


def _with(state: OrderState, change: RowChange, kept: Kept[Any], revision: int) -> OrderState:
    if change.table == "item_detail":
        items = {**state.items, change.item_id: kept}
        return msgspec.structs.replace(state, revision=revision, items=items)
    return msgspec.structs.replace(state, **{"revision": revision, change.table: kept})


def _older(change: RowChange, held: Kept[Any]) -> bool:
    # After a fail-over, or when a clock is set back, one of the two alone says nothing.
    return (
        change.position is not None
        and held.position is not None
        and change.position < held.position
        and change.at < (held.seen or held.at)
    )


def _steps_back(row: Row | PartialRow | None, held: Row | None) -> bool:
    return (
        type(row) is ItemDetail
        and type(held) is ItemDetail
        and RANK[row.item_status] < RANK[held.item_status]
    )


def _completed(partial: PartialRow, held: Kept[Any] | None, table: str) -> Row:
    if held is None or held.row is None:
        raise IncompleteRow(f"{table} lacks {', '.join(partial.missing)} and no earlier row is known")
    row: Row = msgspec.structs.replace(held.row, **partial.columns)
    return row


# ── what the world sees ──────────────────────────────────────────────────────────────────────────


class Price(Struct, frozen=True):
    """A unit price; exact digits."""

    price: Decimal
    currency: Currency


class Amount(Struct, frozen=True):
    """An amount paid; exact digits."""

    amount: Decimal
    currency: Currency


class Item(Struct, frozen=True, rename="camel"):
    """An item of a customer order."""

    item_id: str
    item_name: str
    item_status: ItemStatus
    price: Price
    quantity: int


class GeoLocation(Struct, frozen=True):
    """Degrees, WGS 84."""

    latitude: float
    longitude: float


class Destination(Struct, frozen=True, rename="camel"):
    """Where a customer order goes."""

    customer_name: str
    customer_address: str
    zip_code: str
    geo_location: GeoLocation


class Paid(Struct, frozen=True, rename="camel"):
    """How a customer order was paid; the card number is a mask."""

    payment_type: str
    credit_card_type: str
    credit_card_number: str
    amount: Amount


class CustomerOrder(Struct, frozen=True, rename="camel"):
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
        _timestamp(state),
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
    lowest = min(items, key=RANK.__getitem__)
    if lowest is ItemStatus.SHIPPED:
        return OrderStatus.SHIPPED
    if lowest is ItemStatus.FULFILLED:
        return OrderStatus.FULFILLED
    return OrderStatus.PAID if paid else OrderStatus.PENDING


def _timestamp(state: OrderState) -> str:
    return datetime.fromtimestamp(state.changed // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────

_encoder = msgspec.json.Encoder(decimal_format="number")
_order_decoder = msgspec.json.Decoder(CustomerOrder)
_state_decoder = msgspec.json.Decoder(OrderState)


def encode(value: CustomerOrder | OrderState) -> bytes:
    """JSON as it stands in the topics: money is a number with its exact digits."""
    return _encoder.encode(value)


def decode_order(data: bytes) -> CustomerOrder:
    """A customer order from the topic's JSON. Raises msgspec.ValidationError for anything else."""
    return _order_decoder.decode(data)


def decode_state(data: bytes) -> OrderState:
    """A state from its checkpoint's JSON. Raises msgspec.ValidationError for anything else."""
    return _state_decoder.decode(data)
