"""The quick lane: typed decoding of the records that come all day; the careful lane takes the unusual.

One typed msgspec decode per record, built from `ROWS`. It skips the schema of a wrapped record without
reading it, and compares the key's bytes with what they must be instead of decoding them.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from snacks.cdc.columns import (
    COLUMNS,
    CURRENCIES,
    KEYS,
    LARGEST_QUANTITY,
    LONGEST_TEXT,
    PLACEHOLDER,
    STATUSES,
    Column,
    card,
    cents,
    unscaled,
)
from snacks.cdc.keys import agree
from snacks.cdc.scales import scales_of
from snacks.domain.cards import mask_card
from snacks.domain.order import ROWS, Position, RowChange
from snacks.domain.values import Currency, ItemStatus

LATEST = 253_402_300_799_999
"""The end of the year 9999, in milliseconds since 1970 UTC: later times have no date."""

LONGEST_HEAD = 65_536
"""Bytes of a schema that are kept to know the same schema again."""

Millis = Annotated[int, Meta(ge=0, le=LATEST)]
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Upsert = Literal["r", "c", "u"]


class Source(Struct, gc=False):
    """Where a row of an envelope comes from."""

    ts_ms: Millis | None = None
    file: str | None = None
    pos: Offset | None = None


_TYPES: dict[type, Any] = {
    str: Text,
    ItemStatus: int | str,
    Currency: int | str,
    Decimal: float | str,
    float: float,
    int: Annotated[int, Meta(ge=1, le=LARGEST_QUANTITY)],
}
_READERS: dict[type, Callable[[Any], Any]] = {
    ItemStatus: STATUSES.__getitem__,
    Currency: CURRENCIES.__getitem__,
    Decimal: cents,
}


class Lane:
    """The typed decoders of one table, and what makes its columns' values."""

    def __init__(self, table: str, columns: tuple[Column, ...]) -> None:
        # Columns come first: their values are the head of the struct's tuple. None has a default, so
        # an absent column or a null is a ValidationError, and the careful lane looks into it.
        fields: list[Any] = [(column.name, _TYPES[column.type]) for column in columns]
        fields += [(key, Text if key == "order_id" else int | Text) for key in KEYS[table]]
        after = msgspec.defstruct("After", fields, gc=False)
        # Nor is a delete or a repair a usual record: the types of these let only upserts pass.
        fields += [
            ("deleted", Literal["false"] | None, msgspec.field(default=None, name="__deleted")),
            ("op", Upsert | None, msgspec.field(default=None, name="__op")),
            ("ts_ms", Millis | None, msgspec.field(default=None, name="__source_ts_ms")),
            ("file", str | None, msgspec.field(default=None, name="__source_file")),
            ("pos", Offset | None, msgspec.field(default=None, name="__source_pos")),
            ("repair", None, msgspec.field(default=None, name="__repair")),
        ]
        flat = msgspec.defstruct("Flat", fields, gc=False)
        self.flat: Callable[[Any], Any] = msgspec.json.Decoder(flat).decode
        before = msgspec.defstruct("Before", [(key, int | str) for key in KEYS[table]])
        envelope = msgspec.defstruct(
            "Envelope",
            [("op", Upsert), ("after", after), ("source", Source), ("before", before | None, None)],
        )
        self.envelope: Callable[[Any], Any] = msgspec.json.Decoder(envelope).decode
        self.row: Callable[..., Any] = ROWS[table]
        self.width = len(columns)
        self.keys = KEYS[table]
        self.items = "item_id" in self.keys
        self.readers = [
            (n, mask_card if column.read is card else _READERS[column.type])
            for n, column in enumerate(columns)
            if column.read is card or column.type in _READERS
        ]
        self.money = [(n, column.name) for n, column in enumerate(columns) if column.type is Decimal]

    def values(self, row: Struct, value: bytes, start: int) -> list[Any]:
        """The row's column values; the record's payload begins at `start` (0: no schema)."""
        values = list(astuple(row)[: self.width])
        if PLACEHOLDER in values:  # a third of the cost of looking through the bytes
            raise ValueError("a partial row, for the careful lane")
        if start:
            for n, name in self.money:
                # Digits, or base64? The schema knows. (Debezium's decimal strings have a point.)
                if type(values[n]) is str and "." not in values[n]:
                    values[n] = unscaled(values[n], scales_of(value[:start])[name])
        for n, read in self.readers:
            values[n] = read(values[n])
        return values


_LANES = {table: Lane(table, columns) for table, columns in COLUMNS.items()}


def decode(table: str, key: bytes | None, value: bytes, timestamp: int) -> RowChange | None:
    """The row that a usual record upserts; None if it must be looked at with care.

    Raises:
        Undecodable: the key names another row.
    """
    try:
        return _decode(table, key, value, timestamp)
    except (ValueError, KeyError, ArithmeticError, RecursionError):
        return None  # msgspec's errors are ValueErrors


def _decode(table: str, key: bytes | None, value: bytes, timestamp: int) -> RowChange | None:
    lane = _LANES[table]
    start = value.find(b'"payload":') + 10 if value.startswith(b'{"schema":') else 0
    if start > LONGEST_HEAD:
        return None
    body = memoryview(value)[start:-1] if start else value
    if value.startswith(b'{"before":', start):
        record = lane.envelope(body)
        row, before, source = record.after, record.before, record.source
        if before is not None and [getattr(before, name) for name in lane.keys] != [
            getattr(row, name) for name in lane.keys
        ]:
            return None
        ids = 1 if before is None else 2
    else:
        row = source = lane.flat(body)
        ids = 1
    # An id given twice in one object: msgspec takes the last, other parsers the first.
    if value.count(b'"order_id":', start) != ids:
        return None
    order_id = row.order_id
    if order_id[:1] == "@":
        return None
    given = row.item_id if lane.items else None
    if given is None:
        item_id, expected = "", f'{{"order_id":"{order_id}"}}'
    elif type(given) is str:
        item_id, expected = given, f'{{"order_id":"{order_id}","item_id":"{given}"}}'
    else:
        item_id, expected = str(given), f'{{"order_id":"{order_id}","item_id":{given}}}'
    if not _is(key, expected.encode()):
        agree(key, order_id, item_id)
    columns = lane.values(row, value, start)
    return RowChange(table, order_id, item_id, lane.row(*columns), *_when(source, timestamp))


def _when(source: Any, timestamp: int) -> tuple[int, Position | None]:
    at: int | None = source.ts_ms
    if at is None:
        if not 0 <= timestamp <= LATEST:
            raise ValueError("a time for the careful lane")
        return timestamp, None
    if source.file is None or source.pos is None:
        return at, None
    number = file_number(source.file)
    return at, None if number is None else (number, source.pos)


def _is(key: bytes | None, expected: bytes) -> bool:
    """Whether the key is just this, with or without a schema. It may be equal in other words."""
    return key == expected or (
        key is not None and key.startswith(b'{"schema":') and key.endswith(expected + b"}")
    )


@lru_cache(maxsize=1024)
def file_number(name: str) -> int | None:
    """The number of a binlog file: 7 of `binlog.000007`; None if it does not end in one."""
    digits = name.rpartition(".")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else None
