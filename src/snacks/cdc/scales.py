"""Decimals that came as bytes: base64 whose scale only the record's Connect schema knows."""

from functools import lru_cache
from typing import Any

import msgspec

from snacks.cdc.columns import COLUMNS, Undecodable, got, unscaled
from snacks.domain.values import Currency, ItemStatus

CONNECT_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_NOT_NUMBERS = (str, ItemStatus, Currency)
_IMAGES = ("before", "after")


def with_decimals(table: str, body: dict[str, Any], schema: object) -> dict[str, Any]:
    """The body, flat row or envelope, with a Decimal wherever the schema says that text is one.

    Raises:
        Undecodable: the bytes of such a column are no Decimal.
    """
    scales = _scales(schema)
    if not scales:
        return body
    numbers = [c.name for c in COLUMNS[table] if c.type not in _NOT_NUMBERS and c.name in scales]

    def read(image: dict[str, Any]) -> dict[str, Any]:
        made = dict(image)
        for name in numbers:
            if type(image.get(name)) is str and "." not in image[name]:  # else no base64: decimal text
                try:
                    made[name] = unscaled(image[name], scales[name])
                except ValueError:
                    raise Undecodable(f"{name}: got {got(image[name])}, not a Connect Decimal") from None
        return made

    body = read(body)
    return body | {name: read(body[name]) for name in _IMAGES if isinstance(body.get(name), dict)}


@lru_cache(maxsize=64)
def scales_of(head: bytes) -> dict[str, int | None]:
    """The scales by column in a record's head, `{"schema":...,"payload":`; a topic has only a few schemas."""
    document = msgspec.json.decode(head + b"null}")
    return _scales(document["schema"])


def _scales(schema: object) -> dict[str, int | None]:
    """The scale of each Decimal column; None where the schema does not give one."""
    found: dict[str, int | None] = {}
    for field in _columns(schema):
        if (
            isinstance(field, dict)
            and field.get("name") == CONNECT_DECIMAL
            and type(field.get("field")) is str
        ):
            parameters = field.get("parameters")
            digits = str(parameters.get("scale")) if isinstance(parameters, dict) else ""
            good = digits.isascii() and digits.isdecimal() and len(digits) <= 2
            found[field["field"]] = int(digits) if good else None
    return found


def _columns(schema: object) -> list[Any]:
    """The fields of a schema that may be columns: its own, and those of before and after."""
    fields = schema.get("fields") if isinstance(schema, dict) else None
    if not isinstance(fields, list):
        return []
    columns = list(fields)
    for field in fields:
        if isinstance(field, dict) and field.get("field") in _IMAGES:
            inner = field.get("fields")
            columns += inner if isinstance(inner, list) else []
    return columns
