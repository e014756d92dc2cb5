"""What one CDC record means: a change of one row, a truncated table, nothing, or a refusal with its reason.

The rules are the table "What a change record means" in `docs/domain.md`. Two lanes lead to the same answer:
`quick` (typed, for the records that our connector and the ancestor's write all day) and the careful one
here, which takes every legal shape and says what is wrong with the others. A test holds them together.
"""

import json
import re
from typing import Any

import msgspec
from msgspec import Struct

from snacks.cdc import keys, quick
from snacks.cdc.columns import COLUMNS, KEYS, PLACEHOLDER, Undecodable, got, identifier
from snacks.cdc.scales import with_decimals
from snacks.domain.cards import mask_cards
from snacks.domain.order import ROWS, PartialRow, Position, Row, RowChange
from snacks.domain.repair import Repair

TOPIC_PREFIX = "order-command-server"
DATABASE = "order-command-db"
_TABLES = {f"{TOPIC_PREFIX}.{DATABASE}.{table}": table for table in ROWS}
CDC_TOPICS = tuple(_TABLES)
"""The topics of our three tables. Everything else that Debezium writes is ignored."""

Fields = dict[str, Any]
_UPSERTS = frozenset({"r", "c", "u"})
_json = msgspec.json.Decoder().decode
_ID = re.compile(rb'"order_id"\s*:')


class Truncated(Struct, frozen=True):
    """The table was emptied at once (`op: "t"`): no row is named, so compare with MySQL and repair."""

    table: str


def table_of(topic: str) -> str | None:
    """The table whose rows the topic carries; None for any topic that is not one of ours."""
    return _TABLES.get(topic)


def decode(
    table: str, key: bytes | None, value: bytes | None, timestamp: int
) -> RowChange | Truncated | None:
    """What the record says of a row of `table`.

    `timestamp` is the record's, in milliseconds since 1970 UTC; it counts where there is no source time.
    None: the record says nothing (a tombstone whose key does not name one row).

    Raises:
        Undecodable: and nothing else, whatever the bytes are.
    """
    change = quick.decode(table, key, value, timestamp) if value else None
    return careful(table, key, value, timestamp) if change is None else change


def careful(
    table: str, key: bytes | None, value: bytes | None, timestamp: int
) -> RowChange | Truncated | None:
    """As `decode`, which calls it for what the quick lane does not take."""
    if not 0 <= timestamp <= quick.LATEST:
        if timestamp >= 0:
            raise Undecodable(f"record timestamp: got {got(timestamp)}, after the year 9999")
        timestamp = 0  # Kafka's "no timestamp" is -1
    document = None if value is None else _parsed(value)
    schema, body = None, document
    if isinstance(document, dict) and "payload" in document and "order_id" not in document:
        schema, body = document.get("schema"), document["payload"]
    if body is None:
        return _tombstone(table, key, timestamp)
    if not isinstance(body, dict):
        raise Undecodable(f"value: got {got(body)}, not an object")
    if schema is not None:
        body = with_decimals(table, body, schema)
    enveloped = "op" in body and "order_id" not in body and ("after" in body or "before" in body)
    _refuse_repeated_ids(value or b"", body, enveloped=enveloped)
    if enveloped:
        return _envelope(table, key, body, timestamp)
    when = _when(body, "__source_", timestamp)
    return _change(table, key, body, _operation(body, "__op"), when)


def _parsed(value: bytes) -> object:
    if not value:
        raise Undecodable("value: zero bytes, which is neither JSON nor a tombstone")
    try:
        return _json(value)
    except RecursionError:
        raise Undecodable("value: JSON nested too deep") from None
    except UnicodeDecodeError:
        raise Undecodable("value: not UTF-8") from None
    except msgspec.MsgspecError as error:
        raise Undecodable(f"value: {error}") from None


def _tombstone(table: str, key: bytes | None, timestamp: int) -> RowChange | None:
    row = keys.row_of(table, key)
    return None if row is None else RowChange(table, *row, None, timestamp)


def _envelope(table: str, key: bytes | None, body: Fields, timestamp: int) -> RowChange | Truncated:
    source = body.get("source")
    if source is not None and not isinstance(source, dict):
        raise Undecodable(f"source: got {got(source)}, not an object")
    when = _when(source or {}, "", timestamp)
    operation = _operation(body, "op")
    if operation is None:
        raise Undecodable("op: got null")
    before, after = (_image(body, name) for name in ("before", "after"))
    if before and after:
        for name in KEYS[table]:
            if name in before and before[name] != after.get(name):
                raise Undecodable(f"before and after name different rows: {name}")
    image = before if operation == "d" else after
    if image is None and operation in _UPSERTS:
        raise Undecodable("after: got null")
    return _change(table, key, image or {}, operation, when)


def _image(body: Fields, name: str) -> Fields | None:
    image = body.get(name)
    if image is None or isinstance(image, dict):
        return image
    raise Undecodable(f"{name}: got {got(image)}, not an object")


def _operation(body: Fields, name: str) -> str | None:
    """`r`, `c`, `u`, `d`, `t`, or None where the record does not say."""
    operation, deleted = body.get(name), body.get("__deleted")
    if operation is not None and (type(operation) is not str or operation not in {*_UPSERTS, "d", "t"}):
        raise Undecodable(f"{name}: got {got(operation)}, not one of r, c, u, d, t")
    if deleted is True or deleted == "true":
        return "d"
    if deleted is not None and deleted is not False and deleted != "false":
        raise Undecodable(f"__deleted: got {got(deleted)}, not true or false")
    return operation


def _when(fields: Fields, prefix: str, timestamp: int) -> tuple[int, Position | None]:
    """Time and position. A position counts only with its time: only then can a record be told older."""
    at: Any
    at, pos, file = (fields.get(prefix + name) for name in ("ts_ms", "pos", "file"))
    for name, value, limit in (("ts_ms", at, quick.LATEST), ("pos", pos, 2**63 - 1)):
        if value is not None and (type(value) is not int or not 0 <= value <= limit):
            raise Undecodable(f"{prefix}{name}: got {got(value)}, not a number from 0 to {limit}")
    if file is not None and type(file) is not str:
        raise Undecodable(f"{prefix}file: got {got(file)}, not text")
    if at is None:
        return timestamp, None
    number = None if file is None or pos is None else quick.file_number(file)
    return at, None if number is None or pos is None else (number, pos)


def _change(
    table: str, key: bytes | None, fields: Fields, operation: str | None, when: tuple[int, Position | None]
) -> RowChange | Truncated:
    if operation == "t":
        return Truncated(table)
    deleted = operation == "d"
    order_id, item_id = _identity(table, key, fields, deleted=deleted)
    keys.agree(key, order_id, item_id)
    row = None if deleted else _row(table, fields)
    return RowChange(table, order_id, item_id, row, *when, _repair(fields))


def _repair(fields: Fields) -> Repair | None:
    try:
        return msgspec.convert(fields.get("__repair"), Repair | None)
    except msgspec.ValidationError as error:
        raise Undecodable(f"__repair: {mask_cards(str(error))}") from None


def _identity(table: str, key: bytes | None, fields: Fields, *, deleted: bool) -> tuple[str, str]:
    """The ids in the value; those of the key where the value carries only other columns."""
    given = [name for name in KEYS[table] if name in fields]
    if not given:
        row = keys.row_of(table, key)
        known = deleted or any(column.name in fields for column in COLUMNS[table])
        if row is None or not known:
            raise Undecodable(f"value: no {' and '.join(KEYS[table])}")
        return row
    for name in KEYS[table]:
        if name not in fields:
            raise Undecodable(f"{name}: absent")
    ids = [identifier(name, fields[name]) for name in KEYS[table]]
    return ids[0], ids[1] if len(ids) > 1 else ""


def _row(table: str, fields: Fields) -> Row | PartialRow:
    values, missing = {}, []
    for column in COLUMNS[table]:
        value = fields.get(column.name, PLACEHOLDER)
        if value == PLACEHOLDER:
            missing.append(column.name)
        else:
            values[column.name] = column.read(column.name, value)
    return PartialRow(values, tuple(missing)) if missing else ROWS[table](**values)


def _refuse_repeated_ids(value: bytes, body: Fields, *, enveloped: bool) -> None:
    """An id twice in one object: parsers differ in which they take, so we take none."""
    images = [body.get("before"), body.get("after")] if enveloped else [body]
    if len(_ID.findall(value)) <= sum(isinstance(image, dict) and "order_id" in image for image in images):
        return

    def once(pairs: list[tuple[str, object]]) -> None:
        given = [name for name, _ in pairs if name in ("order_id", "item_id")]
        if len(given) > len(set(given)):
            raise Undecodable(f"{given[0]}: given more than once")

    try:
        json.loads(value, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise Undecodable("value: not JSON") from None
