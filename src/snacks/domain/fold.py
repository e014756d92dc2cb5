"""What is known of one order, and how a change folds into it."""

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from snacks.domain.repair import Repair, digest
from snacks.domain.rows import ItemDetail, PartialRow, Payment, Position, Row, RowChange, ShippingLocation
from snacks.domain.values import RANK


class IncompleteRow(Exception):  # noqa: N818  (a fact about a record, named like one)
    """A partial row of a row never seen: nothing to keep its missing columns from."""


R = TypeVar("R", ItemDetail, ShippingLocation, Payment)


class Kept(Struct, Generic[R], frozen=True, omit_defaults=True, gc=False):
    """The newest of a row. `row` None: deleted, remembered so that an older record cannot revive it.

    `at` is when the row became so, in milliseconds since 1970 UTC (0: it was never there). `position` and
    `seen` (0: the same as `at`) are those of the newest record that told of it, be it a repeat: what is
    older than that record comes too late.
    """

    at: int
    row: R | None = None
    position: Position | None = None
    seen: int = 0


class OrderState(Struct, frozen=True, omit_defaults=True, gc=False):
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
        newest = 0
        for kept in (*self.items.values(), self.shipping_location, self.payment):
            if kept is not None and kept.at > newest:
                newest = kept.at
        return newest

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
    held = _held(state, change)
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


def why_nothing(state: OrderState, change: RowChange) -> str:
    """Why `fold` found nothing new in the change: `older`, `stepped back`, `too late` (a repair), `repeated`.

    Raises:
        IncompleteRow: as `fold`.
    """
    held = _held(state, change)
    if change.repair is not None:
        return "repeated" if change.repair.held == digest(held) else "too late"
    if held is None:
        return "repeated"
    if _older(change, held):
        return "older"
    row = _completed(change.row, held, change.table) if type(change.row) is PartialRow else change.row
    return "stepped back" if _steps_back(row, held.row) else "repeated"


def _held(state: OrderState, change: RowChange) -> Kept[Any] | None:
    """What the state has of the row that the change names."""
    kept: Kept[Any] | None
    kept = state.items.get(change.item_id) if change.table == "item_detail" else getattr(state, change.table)
    return kept


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
    items, place, payment = state.items, state.shipping_location, state.payment
    if change.table == "item_detail":
        items = {**items, change.item_id: kept}
    elif change.table == "payment":
        payment = kept
    else:
        place = kept
    return OrderState(revision, state.emitted, items, place, payment)


def _older(change: RowChange, held: Kept[Any]) -> bool:
    # After a fail-over, or when a clock is set back, one of the two alone says nothing. The changes of a
    # transaction share their time (on MariaDB those of a second): sent again, only the position tells.
    return (
        change.position is not None
        and held.position is not None
        and change.position < held.position
        and change.at <= (held.seen or held.at)
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
