"""Which row a record's key names, in all the shapes that converters give it."""

import msgspec

from snacks.cdc.columns import KEYS, Undecodable, got, identifier

_decode = msgspec.json.Decoder().decode
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not JSON, or nested beyond measure."""


def names(key: bytes | None) -> tuple[str | None, str | None]:
    """The order id and the item id in a key; None for what it does not give.

    A key is a JSON object with or without schema, a JSON string, or the bare order id as text.

    Raises:
        Undecodable: the key is none of these.
    """
    if not key:
        return None, None
    try:
        parsed = _decode(key)
    except MALFORMED:
        if key[:1] in (b"{", b"["):
            raise Undecodable("key: not JSON") from None
        return _bare(key), None
    if isinstance(parsed, dict) and "payload" in parsed and "order_id" not in parsed:
        parsed = parsed["payload"]
        if isinstance(parsed, int) and not isinstance(parsed, bool):
            parsed = str(parsed)
    if parsed is None:
        return None, None
    if isinstance(parsed, str):
        return identifier("key order_id", parsed), None
    if isinstance(parsed, dict):
        order_id, item_id = (
            None if parsed.get(name) is None else identifier(f"key {name}", parsed[name])
            for name in ("order_id", "item_id")
        )
        return order_id, item_id
    if isinstance(parsed, list):
        raise Undecodable("key: got an array")
    return _bare(key), None  # an order id of digits, written as plain text


def _bare(key: bytes) -> str:
    try:
        return identifier("key order_id", key.decode())
    except UnicodeDecodeError:
        raise Undecodable("key: neither JSON nor UTF-8 text") from None


def agree(key: bytes | None, order_id: str, item_id: str) -> None:
    """Refuse a key that names another row than the value. A key may name less (`message.key.columns`).

    Raises:
        Undecodable: it names another order or item, or it is no key.
    """
    for field, said, meant in zip(("order_id", "item_id"), names(key), (order_id, item_id), strict=True):
        if said is not None and said != meant and (field == "order_id" or meant):
            raise Undecodable(f"key and value name different rows: {field} {got(said)} and {got(meant)}")


def row_of(table: str, key: bytes | None) -> tuple[str, str] | None:
    """Order id and item id ("" but for items) of the one row that the key names, or None."""
    order_id, item_id = names(key)
    if order_id is None or ("item_id" in KEYS[table] and item_id is None):
        return None
    return order_id, item_id or "" if "item_id" in KEYS[table] else ""
