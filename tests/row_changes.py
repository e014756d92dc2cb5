"""Changes of one order's rows, as the fold gets them, and the state after them."""

from decimal import Decimal
from typing import Any

from snacks.domain.order import (
    NEW,
    ItemDetail,
    OrderState,
    PartialRow,
    Payment,
    RowChange,
    ShippingLocation,
    fold,
)
from snacks.domain.values import Currency, ItemStatus

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
REQUESTED, FULFILLED, SHIPPED = ItemStatus
USD = Currency.USD
APPLE = ItemDetail("Apple Rings", REQUESTED, Decimal("1.25"), USD, 2)
QUAY = ShippingLocation("Ada K", "9 Quay St", "00501", 1.5, -2.5)
VISA = Payment("CREDIT", "Visa", "****-****-****-4242", Decimal("2.50"), USD)


def item(
    row: ItemDetail | PartialRow | None = APPLE, item_id: str = "1", at: int = NOW, **more: Any
) -> RowChange:
    return RowChange("item_detail", "kit-1", item_id, row, at, **more)


def place(row: ShippingLocation | None = QUAY, at: int = NOW) -> RowChange:
    return RowChange("shipping_location", "kit-1", "", row, at)


def payment(row: Payment | None = VISA, at: int = NOW) -> RowChange:
    return RowChange("payment", "kit-1", "", row, at)


def folded(*changes: RowChange, state: OrderState = NEW) -> OrderState:
    for change in changes:
        state = fold(state, change)
    return state


BASE = (item(), place(), payment())
