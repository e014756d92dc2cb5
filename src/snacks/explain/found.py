"""What is told of one order, and how what was found is compared."""

from typing import Any

import msgspec
from aiokafka import ConsumerRecord
from msgspec import Raw, Struct

from snacks.domain.cards import mask_cards
from snacks.domain.order import CustomerOrder, OrderState, decode_order, encode
from snacks.letters import Letter


class Seen(Struct, frozen=True, rename="camel"):
    """One CDC record of the order. `timestamp` and `changed` are milliseconds since 1970 UTC.

    `did`: folded, repeated, older, stepped back, too late (a repair), set aside, nothing.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    did: str
    detail: str = ""
    changed: int = 0


class Published(Struct, frozen=True, rename="camel"):
    """The last record of the order on the aggregate topic; `order` None: a tombstone."""

    partition: int
    offset: int
    timestamp: int
    headers: dict[str, str]
    order: Raw | None


class Stored(Struct, frozen=True, rename="camel"):
    """The order's document in MongoDB."""

    revision: int
    order: Raw


class Agreement(Struct, frozen=True):
    """Whether two places say the same of the order."""

    what: str
    ok: bool
    detail: str = ""


class Explanation(Struct, kw_only=True, rename="camel"):
    """All that was found. `problems`: what could not be read, so that the rest is not taken for all.

    `rows`: MySQL's. `records`: oldest first per topic; of more than LONGEST, `left_out` are not told.
    `state`: the checkpoint's. `agree`: None while something could not be read.
    """

    order_id: str
    partitions: list[int] = []
    rows: dict[str, Any] = {}
    records: list[Seen] = []
    left_out: int = 0
    state: Raw | None = None
    published: Published | None = None
    stored: Stored | None = None
    letters: list[Letter] = []
    agreements: list[Agreement] = []
    problems: list[str] = []
    agree: bool | None = None

    @property
    def known(self) -> bool:
        """Whether anything at all is known of the order."""
        found = (self.rows, self.records, self.state, self.published, self.stored, self.letters)
        return any(found)


def published(record: ConsumerRecord) -> Published:
    """The record, told. A value that is no JSON, and so nothing of ours, is told as text."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    order = None
    if record.value is not None:
        try:
            msgspec.json.decode(record.value)
            order = Raw(record.value)
        except (ValueError, RecursionError):  # not JSON, not UTF-8, too deep
            order = Raw(msgspec.json.encode(mask_cards(record.value.decode("utf-8", "replace"))))
    return Published(record.partition, record.offset, record.timestamp, headers, order)


def stored_json(stored: Any) -> bytes:
    """A stored order in its contract's form; as it is, where it is none."""
    try:
        return encode(msgspec.convert(stored, CustomerOrder, strict=False))
    except msgspec.ValidationError:
        return msgspec.json.encode(stored, enc_hook=str)


def read(order: Raw | None) -> Any:
    """A rendered order as plain values; None if there is none."""
    if order is None:
        return None
    try:
        return plain(decode_order(bytes(order)))
    except msgspec.MsgspecError:
        return msgspec.json.decode(order)


def plain(order: CustomerOrder | None, *, dated: bool = True) -> Any:
    """An order as plain values, with or without its date."""
    if order is None:
        return None
    made = msgspec.json.decode(encode(order))
    return made if dated else {name: one for name, one in made.items() if name != "modifiedDate"}


def rows(state: OrderState) -> dict[str, Any]:
    """The rows of a state, deleted ones left out."""
    found: dict[str, Any] = {f"item {i}": kept.row for i, kept in state.items.items()}
    for name, kept in (("shipping_location", state.shipping_location), ("payment", state.payment)):
        found[name] = kept and kept.row
    return {name: row for name, row in found.items() if row is not None}


def agreement(what: str, left: Any, right: Any) -> Agreement:
    """Whether two orders, as plain values, are the same; else which fields differ."""
    if left == right:
        return Agreement(what, ok=True)
    if left is None or right is None:
        return Agreement(what, ok=False, detail=f"only the {'second' if left is None else 'first'} has it")
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return Agreement(what, ok=False, detail="what was found is no order")
    fields = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    return Agreement(what, ok=False, detail=f"they differ in {', '.join(fields)}")
