"""What it costs to decode a change record: microseconds, by the shape that the connector gives it.

PYTHONPATH=src .venv/bin/python bench/decode.py
"""

import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from snacks.cdc import Undecodable, decode, table_of
from snacks.domain.order import RowChange

RECORDS = Path(__file__).parents[1] / "tests" / "records" / "debezium"
SHAPES = {
    "rows, as our connector writes them": "mysql-d_rewrite",
    "rows with schemas (the ancestor's)": "mysql-a_unwrap_schemas",
    "envelopes without schemas": "mysql-c_envelope",
    "envelopes with schemas": "mysql-c2_envelope_schemas",
    "rows with string keys": "mysql-f_stringkey",
}
ROUNDS, REPEAT = 200, 5

Record = tuple[str, bytes | None, bytes | None]


def recorded(name: str) -> list[Record]:
    """The records in a recording that make or change a row of ours, as nearly all do: table, key, value."""
    found = []
    for line in (RECORDS / f"{name}.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        table = table_of(record["topic"])
        if table is not None:
            parts = (record[part] for part in ("key", "value"))
            key, value = (None if part is None else part.encode() for part in parts)
            if _upserts(table, key, value):
                found.append((table, key, value))
    return found


def _upserts(table: str, key: bytes | None, value: bytes | None) -> bool:
    try:
        change = decode(table, key, value, 0)
    except Undecodable:
        return False
    return isinstance(change, RowChange) and change.row is not None


def cost(records: list[Record]) -> float:
    """Seconds a record: the best of some runs."""
    best = float("inf")
    for _ in range(REPEAT):
        began = time.process_time()
        for _ in range(ROUNDS):
            for table, key, value in records:
                decode(table, key, value, 0)
        best = min(best, time.process_time() - began)
    return best / ROUNDS / len(records)


def main() -> None:
    """Measure, and print a table."""
    table = Table("records", "bytes", "microseconds", title=f"decode (best of {REPEAT}, seconds of CPU)")
    for shape, name in SHAPES.items():
        records = recorded(name)
        size = sum(len(value or b"") for _, _, value in records) // len(records)
        table.add_row(shape, f"{size:,}", f"{cost(records) * 1e6:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
