"""Every record that Debezium really wrote here (tests/records/debezium), through decode and fold.

The recordings' item statuses are another application's: as recorded, they are dead letters; with ours put
in their place, every file must end in the rows that a plain replay of it gives.
"""

import base64
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from snacks.cdc import Undecodable, decode, table_of
from snacks.domain.order import NEW, IncompleteRow, OrderState, RowChange, encode, fold, project

FOLDER = Path(__file__).parents[1] / "records" / "debezium"
FILES = sorted(path.name.removesuffix(".jsonl") for path in FOLDER.glob("*.jsonl"))
OURS = {"PENDING": "REQUESTED", "COOKING": "FULFILLED", "DONE": "SHIPPED"}
MASK = "****-****-****-1111"

Rows = dict[tuple[str, str, str], dict[str, Any]]


def recorded(name: str, *, ours: bool = True) -> list[dict[str, Any]]:
    text = (FOLDER / f"{name}.jsonl").read_text()
    if ours:
        for theirs, status in OURS.items():
            # In the schema's list of allowed names as well, as a real connector would write it.
            text = text.replace(theirs, status)
    return [json.loads(line) for line in text.splitlines()]


def change_of(record: dict[str, Any]) -> RowChange | None:
    table = table_of(record["topic"])
    if table is None:
        return None
    key, value = (None if record[part] is None else record[part].encode() for part in ("key", "value"))
    change = decode(table, key, value, record["ts"])
    assert change is None or isinstance(change, RowChange)
    return change


def folded(records: list[dict[str, Any]]) -> tuple[dict[str, OrderState], list[str]]:
    """The states by order id, and the reasons of the dead letters."""
    states: dict[str, OrderState] = {}
    letters = []
    for record in records:
        try:
            change = change_of(record)
            if change is not None:
                states[change.order_id] = fold(states.get(change.order_id, NEW), change)
        except (Undecodable, IncompleteRow) as refused:
            letters.append(str(refused))
    return states, letters


def rows_of(states: dict[str, OrderState]) -> Rows:
    kept: Rows = {}
    for order_id, state in states.items():
        for item_id, item in state.items.items():
            if item.row is not None:
                kept["item_detail", order_id, item_id] = plain(item.row)
        for table in ("shipping_location", "payment"):
            one = getattr(state, table)
            if one is not None and one.row is not None:
                kept[table, order_id, ""] = plain(one.row)
    return kept


def plain(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


# ── the replay: nothing of snacks in it ───────────────────────────────────────────────────────────


def replay(records: list[dict[str, Any]]) -> tuple[Rows, list[str]]:
    """The rows that are left, and the column that made each dead letter."""
    rows: Rows = {}
    letters = []
    for record in records:
        table = record["topic"].split(".")[-1]
        if table not in ("item_detail", "shipping_location", "payment"):
            continue
        value: Any = json.loads(record["value"]) if record["value"] is not None else None
        schema = value is not None and "schema" in value
        if schema:
            value = value["payload"]
        deleted = value is None
        if value is not None and "op" in value:
            deleted = value["op"] == "d"
            value = value["before"] if deleted else value["after"]
        elif value is not None:
            deleted = value.get("__deleted") == "true"
        named = value if value is not None else parsed_key(record["key"])
        if table == "item_detail" and "item_id" not in named:
            continue  # the key names an order only
        identity = (table, named["order_id"], str(named.get("item_id", "")))
        if deleted:
            rows.pop(identity, None)
            continue
        columns = {
            name: field
            for name, field in value.items()
            if name not in ("order_id", "item_id") and not name.startswith("__")
        }
        wrong = spoiled(columns, schema=schema)
        if wrong:
            letters.append(wrong)
        else:
            rows[identity] = columns
    return rows, letters


def parsed_key(key: str) -> dict[str, Any]:
    if not key.startswith("{"):
        return {"order_id": key}
    parsed: dict[str, Any] = json.loads(key)
    return parsed.get("payload", parsed)  # type: ignore[no-any-return]


def spoiled(columns: dict[str, Any], *, schema: bool) -> str:
    """Put money and card right in place; the column that cannot be, in the order of the row's."""
    if columns.get("item_status", "SHIPPED") not in OURS.values():
        return "item_status"
    for name in ("price", "amount"):
        money = columns.get(name)
        if isinstance(money, str) and "." not in money:
            if not schema:
                return name
            money = Decimal(int.from_bytes(base64.b64decode(money), "big", signed=True)) / 100
        if money is not None:
            columns[name] = Decimal(str(money)).quantize(Decimal("0.01"))
    if "credit_card_number" in columns:
        assert columns["credit_card_number"] == "4111111111111111"
        columns["credit_card_number"] = MASK
    return ""


# ── the rules ─────────────────────────────────────────────────────────────────────────────────────


def test_the_recordings_are_all_there():
    assert len(FILES) == 35
    assert sum(len(recorded(name)) for name in FILES) == 788


@pytest.mark.parametrize("name", FILES)
def test_every_file_ends_in_the_rows_that_a_plain_replay_gives(name):
    records = recorded(name)
    states, letters = folded(records)
    rows, expected = replay(records)
    assert rows_of(states) == rows
    assert [letter.partition(":")[0] for letter in letters] == expected
    for letter in letters:
        assert "decimal.handling.mode" in letter or letter.startswith("item_status:")


@pytest.mark.parametrize("name", FILES)
def test_as_recorded_every_item_is_a_dead_letter_that_names_the_status(name):
    records = recorded(name, ours=False)
    states, letters = folded(records)
    assert not any(item.row for state in states.values() for item in state.items.values())
    upserts = [r for r in records if r["topic"].endswith("item_detail") and "snack" in (r["value"] or "")]
    statuses = [letter for letter in letters if letter.startswith("item_status:")]
    assert upserts
    assert statuses
    assert len(statuses) <= len(upserts)


@pytest.mark.parametrize("name", FILES)
def test_every_record_read_twice_in_a_row_gives_the_same_bytes(name):
    records = recorded(name)
    once, _ = folded(records)
    again, _ = folded([record for record in records for _ in range(2)])
    assert {order: encode(state) for order, state in again.items()} == {
        order: encode(state) for order, state in once.items()
    }


@pytest.mark.parametrize("name", FILES)
def test_no_card_number_is_left_anywhere(name):
    states, letters = folded(recorded(name))
    assert "4111111111111111" not in " ".join([*map(str, states.values()), *letters])


SAME = [
    f"{database}-{shape}"
    for database in ("mysql", "maria", "97-mysql", "1011-maria")
    for shape in (
        "a_unwrap_schemas",
        "c2_envelope_schemas",
        "d_rewrite",
        "d_tombstone_double",
        "d_transaction",
    )
    if f"{database}-{shape}" in FILES
]


def test_shapes_and_databases_give_the_same_orders():
    """Flat or enveloped, with or without schemas, MySQL or MariaDB: the same steps, the same orders."""
    steps = ["insert_tx", "update_status", "update_multi_tx", "pk_change_item", "pk_change_order"]
    seen = set()
    for name in SAME:
        records = [r for r in recorded(name) if r["step"] in ("snapshot", *steps)]
        states, letters = folded(records)
        assert not letters
        seen.add(json.dumps(sorted((*k, str(v)) for k, v in rows_of(states).items())))
    assert len(SAME) >= 12
    assert len(seen) == 1


def test_the_transactions_and_flushes_of_other_topics_are_ignored():
    other = [r for r in recorded("mysql-d_transaction") if r["topic"].endswith(".transaction")]
    assert other
    assert [change_of(record) for record in other] == [None] * len(other)


@pytest.mark.parametrize(
    "name", ["mysql-d_rewrite", "maria-d_rewrite", "97-mysql-d_rewrite", "1011-maria-d_rewrite"]
)
def test_our_connectors_records_carry_time_and_position(name):
    for record in recorded(name):
        change = change_of(record)
        if change is not None:
            value = json.loads(record["value"])
            number = int(value["__source_file"].split(".")[1])
            assert change.at == value["__source_ts_ms"]
            assert change.position == (number, value["__source_pos"])


def test_an_order_of_the_recording_shows_as_its_document():
    states, _ = folded([r for r in recorded("mysql-d_rewrite") if r["step"] in ("snapshot", "insert_tx")])
    order = project("o-1", states["o-1"])
    assert order is not None
    document = json.loads(encode(order))
    assert document["orderStatus"] == "PAID"
    assert [item["itemId"] for item in document["items"]] == ["1", "2"]
    assert [item["price"]["price"] for item in document["items"]] == [12.5, 22.5]
    assert document["payment"]["creditCardNumber"] == MASK
