"""One JSON value of a CDC record to one value of a row: what is accepted, what is refused, and why.

The columns come from `snacks.domain.order.ROWS`: a new column needs nothing here unless it has a type
of its own.
"""

import base64
import re
import typing
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

from msgspec import Struct

from snacks.domain.cards import mask_card, mask_cards
from snacks.domain.order import ROWS
from snacks.domain.values import STATUS_BY_ORDINAL, Currency, ItemStatus, to_cents

PLACEHOLDER = "__debezium_unavailable_value"
"""Debezium's word for "this column was not in the row image": it keeps its value."""

LONGEST_TEXT = 65_536
"""Characters of one text: beyond it, an order's document might not fit its topic and stop a partition."""

LONGEST_SHOWN = 60
LARGEST_QUANTITY = 2**31 - 1
CARD_COLUMNS = frozenset({"credit_card_number"})

STATUSES: dict[str | int, ItemStatus] = {
    name: status for rank, status in enumerate(STATUS_BY_ORDINAL) for name in (status.value, rank, str(rank))
}
CURRENCIES: dict[str | int, Currency] = {
    name: code for rank, code in enumerate(Currency) for name in (code.value, rank, str(rank))
}
"""A status or currency by its name or by the ancestor's enum ordinal, as a number or as text."""


class Undecodable(Exception):  # noqa: N818  (a fact about a record, named like one)
    """The record means nothing to us; the message names the field and what was got, card numbers masked."""


def got(value: object) -> str:
    """The value as it may stand in a reason: short, and without card numbers."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, (str, int, float, Decimal)):
        return "an object" if isinstance(value, dict) else "an array"
    # Masked before it is cut: half a card number would not be known as one.
    shown = mask_cards(str(value)[:200])
    shown = shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "…"
    return f'"{shown}"' if isinstance(value, str) else shown


def identifier(field: str, value: object) -> str:
    """An order or item id; a number (an INT column) becomes its digits."""
    if type(value) is int and abs(value) < 2**64:
        return str(value)
    if type(value) is not str:
        raise Undecodable(f"{field}: got {got(value)}, not an id")
    if field.endswith("order_id") and value.startswith("@"):
        raise Undecodable(f"{field}: got {got(value)}; ids that begin with @ are checkpoints' own")
    return text(field, value)


def text(field: str, value: object) -> str:
    """Text, of a bounded length."""
    if type(value) is not str:
        raise Undecodable(f"{field}: got {got(value)}, not text")
    if len(value) > LONGEST_TEXT:
        raise Undecodable(f"{field}: {len(value)} characters; at most {LONGEST_TEXT} are taken")
    return value


def card(field: str, value: object) -> str:
    """A card number, masked on the way in. A refused one is not shown at all."""
    if type(value) is not str:
        raise Undecodable(f"{field}: not text")
    return mask_card(text(field, value))


def status(field: str, value: object) -> ItemStatus:
    """An item status by name or ordinal."""
    found = STATUSES.get(value) if type(value) in (str, int) else None  # type: ignore[call-overload]  # it is one of them
    if found is None:
        raise Undecodable(f"{field}: got {got(value)}, not one of {', '.join(ItemStatus)}")
    return typing.cast("ItemStatus", found)


def currency(field: str, value: object) -> Currency:
    """A currency by name or ordinal; an explicit null is USD."""
    if value is None:
        return Currency.USD
    found = CURRENCIES.get(value) if type(value) in (str, int) else None  # type: ignore[call-overload]  # it is one of them
    if found is None:
        raise Undecodable(f"{field}: got {got(value)}, not one of {', '.join(Currency)}")
    return typing.cast("Currency", found)


def quantity(field: str, value: object) -> int:
    """A whole number from 1 to 2^31 - 1: `2`, `2.0` or `"2"`."""
    digits = type(value) is str and value.isascii() and value.isdecimal() and len(value) <= 10
    number = value
    if digits or (type(value) is float and value.is_integer()):
        number = int(value)  # type: ignore[call-overload]  # str or float, see above
    if type(number) is not int or not 1 <= number <= LARGEST_QUANTITY:
        raise Undecodable(f"{field}: got {got(value)}, not a whole number from 1 to {LARGEST_QUANTITY}")
    return number


_DECIMAL = re.compile(r"[+-]?\d{1,40}(?:\.\d{0,60})?(?:[eE][+-]?\d{1,4})?", re.ASCII)


def _number(value: object) -> Decimal:
    """A number, a decimal string, `{"scale", "value"}`, or what `unscaled` made. Raises ValueError."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    if isinstance(value, dict) and value.keys() >= {"scale", "value"}:
        return unscaled(value["value"], value["scale"])
    raise ValueError("not a number")


def unscaled(encoded: object, scale: object) -> Decimal:
    """Connect's Decimal: base64 of the big-endian two's complement of the unscaled number.

    Raises:
        ValueError: it is none, or far larger than any amount of money.
    """
    if type(encoded) is not str or type(scale) is not int or not 0 <= scale <= 60 or len(encoded) > 40:
        raise ValueError("not a Decimal")
    number = int.from_bytes(base64.b64decode(encoded, validate=True), "big", signed=True)
    return Decimal(f"{number}E-{scale}")


@lru_cache(maxsize=8192)
def cents(value: str | float | Decimal) -> Decimal:
    """Money in cents from a number or a short decimal string. Raises ValueError or ArithmeticError."""
    return to_cents(_number(value))


def money(field: str, value: object) -> Decimal:
    """Money, rounded to cents: float noise (`1.2500000000000002`) goes."""
    try:
        return to_cents(_number(value))
    except (ValueError, ArithmeticError):
        raise Undecodable(f"{field}: got {got(value)}, not an amount of money{_bytes(value)}") from None


def degrees(field: str, value: object) -> float:
    """A finite number."""
    try:
        number = float(_number(value))
    except (ValueError, ArithmeticError):
        number = float("nan")
    if not isfinite(number):
        raise Undecodable(f"{field}: got {got(value)}, not a number{_bytes(value)}")
    return number


def _bytes(value: object) -> str:
    if type(value) is not str:
        return ""
    return "; for base64 without a schema set decimal.handling.mode=string at the connector"


Reader = Callable[[str, object], Any]
_READERS: dict[type, Reader] = {
    str: text,
    ItemStatus: status,
    Currency: currency,
    Decimal: money,
    float: degrees,
    int: quantity,
}


class Column(Struct, frozen=True):
    """A column of a row: its name, its Python type, and what reads its JSON value."""

    name: str
    type: type
    read: Reader


COLUMNS: dict[str, tuple[Column, ...]] = {
    table: tuple(
        Column(name, kind, card if name in CARD_COLUMNS else _READERS[kind])
        for name, kind in typing.get_type_hints(row).items()
    )
    for table, row in ROWS.items()
}
"""The columns of each table besides its key, in the order of its row's fields."""

KEYS: dict[str, tuple[str, ...]] = {
    table: ("order_id", "item_id") if table == "item_detail" else ("order_id",) for table in ROWS
}
"""The primary key of each table."""
