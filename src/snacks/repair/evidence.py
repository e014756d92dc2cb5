"""One order: what it must be, what the actor, the topic and MongoDB have, and the records that repair it.

Pure, but for encoding: the same evidence gives the same differences and the same records.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from snacks.cdc.columns import KEYS
from snacks.cdc.decode import DATABASE, TOPIC_PREFIX
from snacks.domain.cards import mask_cards
from snacks.domain.order import NEW, Kept, OrderState, decode_state, encode, project
from snacks.domain.repair import HIGHEST_RAISE, Repair, digest
from snacks.repair.rows import Key, Moment, Rows
from snacks.repair.spool import Known
from snacks.repair.stored import document, opened

AnyKept = Kept[Any]
FIELDS_SHOWN = 20
LONGEST_SHOWN = 120
ABSENT = "absent"


class Difference(Struct, frozen=True, rename="camel"):
    """One thing that differs; card numbers are masked.

    `where`: `actor` (its rows against the truth), `topic` or `document` (against what its rows give).
    """

    order_id: str
    where: str
    field: str
    expected: str
    found: str


class Record(Struct, frozen=True):
    """A repair record: a row of a CDC topic, as Debezium flattens it, with `__repair`."""

    topic: str
    key: bytes
    value: bytes


class Evidence(Struct):
    """What is known of one order at one time.

    `wanted`: the rows as they must be, with time and position; a row not in it must not be there: then
    `deleted` (else `gone`) says when it was deleted.
    """

    order_id: str
    wanted: dict[Key, AnyKept]
    state: OrderState
    topic: bytes | None
    document: bytes | None
    gone: AnyKept
    deleted: dict[Key, AnyKept] = {}

    def differs(self) -> bool:
        """True if anything is not as it must be. Quick: most orders are."""
        order = project(self.order_id, self.state)
        if order is None:
            right = self.topic is None and self.document is None
        else:
            right = self.topic == encode(order) and self.document == document(
                self.order_id, self.state.revision, order
            )
        return not right or self._rows_differ()

    def _rows_differ(self) -> bool:
        held = rows_of(self.state)
        return self.wanted != held and _content(self.wanted) != _content(held)

    def differences(self) -> list[Difference]:
        """Field by field, at most some twenty of each kind."""
        order = project(self.order_id, self.state)
        must = None if order is None else msgspec.json.decode(encode(order))
        held = {} if self.document is None else opened(self.document)
        shown = None if self.document is None else _plain(held.get("customerOrder"))
        rows = _compared(_named(self.wanted), _named(rows_of(self.state)))
        differences = [Difference(self.order_id, "actor", *one) for one in rows]
        published = None if self.topic is None else _published(self.topic)
        differences += [Difference(self.order_id, "topic", *one) for one in _compared(must, published)]
        documents = list(_compared(must, shown))
        if order is not None and self.document is not None:
            if held.get("revision") != self.state.revision:
                documents.append(("revision", str(self.state.revision), _text(held.get("revision"))))
            exact = document(self.order_id, self.state.revision, order)
            if not documents and self.document != exact:
                documents.append(("document", "the types and the order of the fields", "others"))
        differences += [Difference(self.order_id, "document", *one) for one in documents]
        return differences

    def repair(self) -> list[Record]:
        """The records that put it right; they say nothing if the actor's rows change before they come."""
        held = _all_rows(self.state)
        must, have = _content(self.wanted), _content(rows_of(self.state))
        records = {
            key: self.wanted.get(key) or self.deleted.get(key, self.gone)
            for key in sorted(must.keys() | have.keys())
            if must.get(key) != have.get(key)
        }
        order = project(self.order_id, self.state)
        published = self.topic == (None if order is None else encode(order))
        if not records:
            # No row is wrong: one of them is said again, so that the order is emitted again.
            first = next(iter(self.wanted), ("shipping_location", ""))
            records = {first: self.wanted.get(first) or held.get(first) or self.gone}
        publish = must != have or not published
        return [
            _record(
                self.order_id,
                key,
                kept,
                held.get(key),
                Repair(digest(held.get(key)), self._raise(), publish, kept.seen),
            )
            for key, kept in records.items()
        ]

    def _raise(self) -> int:
        """How much the revision must grow for MongoDB's guard to let the repaired document through."""
        if self.document is None:
            return 0
        revision = opened(self.document).get("revision")
        if isinstance(revision, bool) or not isinstance(revision, (int, float)):
            return 1
        return int(max(1, min(revision - self.state.revision + 1, HIGHEST_RAISE)))


def by_mysql(order_id: str, rows: Rows, moment: Moment, known: Known, document: bytes | None) -> Evidence:
    """The evidence of an order with MySQL's rows for the truth.

    Where the actor has the same row, its own time and position stay: MySQL does not tell them.
    """
    state = NEW if known.state is None else decode_state(known.state)
    held = rows_of(state)
    wanted: dict[Key, AnyKept] = {
        key: same
        if (same := held.get(key)) is not None and same.row == row
        else Kept(moment.at, row, moment.position)
        for key, row in rows.rows.items()
    }
    gone = Kept[Any](moment.at, None, moment.position)
    return Evidence(order_id, wanted, state, known.topic, document, gone)


def by_fold(order_id: str, known: Known, document: bytes | None) -> Evidence | None:
    """The evidence of an order with what the CDC topics give for the truth.

    None: the actor has a row of which the topics never told. Their history is not whole, so they are no
    truth for this order.
    """
    state = NEW if known.state is None else decode_state(known.state)
    folded = NEW if known.folded is None else decode_state(known.folded)
    told = _all_rows(folded)
    if rows_of(state).keys() - told.keys():
        return None
    deleted = {key: kept for key, kept in told.items() if kept.row is None}
    gone = Kept[Any](folded.changed)
    return Evidence(order_id, rows_of(folded), state, known.topic, document, gone, deleted)


def same_content(order_id: str, rows: Rows, document: bytes | None) -> bool:
    """Whether the document says what MySQL's rows say; what MySQL does not tell (`modifiedDate`) aside."""
    kept = {key: Kept[Any](0, row) for key, row in rows.rows.items()}
    items = {item_id: one for (table, item_id), one in kept.items() if table == "item_detail"}
    state = OrderState(1, True, items, kept.get(("shipping_location", "")), kept.get(("payment", "")))
    order = project(order_id, state)
    if order is None or document is None:
        return order is None and document is None
    must = msgspec.to_builtins(order, builtin_types=(Decimal,))
    shown = opened(document).get("customerOrder")
    return isinstance(shown, dict) and {**shown, "modifiedDate": must["modifiedDate"]} == must


def rows_of(state: OrderState) -> dict[Key, AnyKept]:
    """The rows that the state has; deleted ones that it only remembers are left out."""
    return {key: kept for key, kept in _all_rows(state).items() if kept.row is not None}


def _content(rows: Mapping[Key, AnyKept]) -> dict[Key, tuple[int, Any]]:
    """What of the rows shows in a document; not which records told of them."""
    return {key: (kept.at, kept.row) for key, kept in rows.items()}


def _all_rows(state: OrderState) -> dict[Key, AnyKept]:
    rows: dict[Key, AnyKept] = {("item_detail", item_id): kept for item_id, kept in state.items.items()}
    if state.shipping_location is not None:
        rows["shipping_location", ""] = state.shipping_location
    if state.payment is not None:
        rows["payment", ""] = state.payment
    return rows


def _record(order_id: str, key: Key, kept: AnyKept, held: AnyKept | None, repair: Repair) -> Record:
    table, item_id = key
    keys = dict(zip(KEYS[table], (order_id, item_id), strict=False))
    shown = kept.row if kept.row is not None else (None if held is None else held.row)
    value: dict[str, Any] = {**keys, **(msgspec.to_builtins(shown) if shown is not None else {})}
    value |= {"__deleted": str(kept.row is None).lower(), "__op": "d" if kept.row is None else "r"}
    value["__source_ts_ms"] = kept.at
    if kept.position is not None:
        number, byte = kept.position
        value |= {"__source_file": f"binlog.{number:06d}", "__source_pos": byte, "__source_row": 0}
    value["__repair"] = msgspec.to_builtins(repair)
    return Record(f"{TOPIC_PREFIX}.{DATABASE}.{table}", msgspec.json.encode(keys), msgspec.json.encode(value))


_as_json = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode

# ── field by field ───────────────────────────────────────────────────────────────────────────────


def _named(rows: Mapping[Key, AnyKept]) -> dict[str, Any]:
    return {
        " ".join(filter(None, key)): {"changed": kept.at, **msgspec.to_builtins(kept.row)}
        for key, kept in rows.items()
    }


def _compared(expected: Any, found: Any) -> list[tuple[str, str, str]]:
    """The fields that differ, as text: path, expected, found."""
    if not (isinstance(expected, dict) and isinstance(found, dict)):
        return [] if expected == found else [("whole", _text(expected), _text(found))]
    left, right = dict(_flat("", expected)), dict(_flat("", found))
    different = [
        (path, _text(left.get(path)), _text(right.get(path)))
        for path in left | right
        if left.get(path) != right.get(path)
    ]
    return different[:FIELDS_SHOWN]


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), one)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _flat(f"{path}[{number}]", one)
    else:
        yield path, value


def _published(value: bytes) -> Any:
    """An aggregate as JSON gives it; what is no JSON object, and so nothing of ours, as text."""
    found = None
    with suppress(ValueError, RecursionError):  # not JSON, not UTF-8, too deep
        found = msgspec.json.decode(value)
    return found if isinstance(found, dict) else value.decode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """A document's value as JSON would give it, so that it compares with the topic's."""
    try:
        return msgspec.json.decode(_as_json(value))
    except (TypeError, ValueError):
        return str(value)


def _text(value: Any) -> str:
    if value is None:
        return ABSENT
    text = value if isinstance(value, str) else _as_json(value).decode()
    shown = mask_cards(text)
    return shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "…"
