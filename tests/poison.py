"""Records that mean nothing, of every kind that the decoder and the fold refuse."""

import json
import random
from collections.abc import Callable
from typing import Any

from snacks.cdc import CDC_TOPICS, Undecodable, decode, table_of
from tests.given import item, payment, place, value
from tests.mutated import mutated, seeds

CARD = "4929381332664295"
Record = tuple[str, bytes, bytes]
"""Topic, key, value."""

_BAD_COLUMNS: dict[str, list[Any]] = {
    "item_status": ["", -1, 3, "shipped ", None, True],
    "quantity": [-1, 0, 2**63, 2.5, True, None],
    "price": ["fQ==", "NaN", "1e999", None, []],
    "item_name": [None, "\ud800", "n" * 100_000],
    "item_id": ["another"],
    "__deleted": ["yes"],
    "__op": ["x"],
    "__source_ts_ms": [-1],
    "__repair": [{"held": 5}],
}
_BAD_BYTES: tuple[bytes, ...] = (
    b"",
    b"not json " + CARD.encode(),
    b"\x00\xff",
    b"[]",
    b'"text"',
    b"[" * 50_000,
    b"x" * 500_000,
)


def poisons() -> list[Callable[[str], Record]]:
    """Makers of records: given an order, one that would damage it if it were folded."""
    made = [_bytes(body) for body in _BAD_BYTES]
    made += [_item(name, bad) for name, values in _BAD_COLUMNS.items() for bad in values]
    made += [_missing, _twice, _of_another, _bad_place, _bad_payment, _bad_envelope]
    return made


def _bytes(body: bytes) -> Callable[[str], Record]:
    return lambda order_id: (CDC_TOPICS[0], json.dumps({"order_id": order_id}).encode(), body)


def _item(name: str, bad: Any) -> Callable[[str], Record]:
    def make(order_id: str) -> Record:
        topic, key, body = value(item(order_id, quantity=999))
        return topic, key, json.dumps(json.loads(body) | {name: bad}).encode()

    return make


def _missing(order_id: str) -> Record:
    """A partial row of an item that was never there."""
    topic, key, _ = value(item(order_id, item_id="ghost"))
    return topic, key, json.dumps({"order_id": order_id, "item_id": "ghost", "quantity": 999}).encode()


def _twice(order_id: str) -> Record:
    topic, key, body = value(item(order_id, quantity=999))
    return topic, key, body.replace(b'"order_id"', b'"order_id": "kit-0", "order_id"', 1)


def _of_another(order_id: str) -> Record:
    topic, _, body = value(item(order_id, quantity=999))
    return topic, value(item(f"{order_id}-not"))[1], body


def _bad_place(order_id: str) -> Record:
    return value(place(order_id, latitude="north", customer_name=f"card {CARD}"))


def _bad_payment(order_id: str) -> Record:
    return value(payment(order_id, amount="", credit_card_type=CARD))


def _bad_envelope(order_id: str) -> Record:
    topic, key, body = value(item(order_id, quantity=999))
    return topic, key, json.dumps({"before": None, "after": json.loads(body), "op": 7}).encode()


def fuzzed(dice: random.Random) -> Record:
    """A recorded record with bytes flipped, cut, doubled and nested, until nothing is meant by it."""
    records = seeds()
    while True:
        (table, key, body), (_, _, other) = dice.choice(records), dice.choice(records)
        body = mutated(dice, body, other)
        try:
            decode(table, key, body, 0)
        except Undecodable:
            return next(topic for topic in CDC_TOPICS if table_of(topic) == table), key, body
