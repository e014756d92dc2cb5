"""Real Debezium records, and bytes of them flipped, cut, doubled and nested."""

import json
import random
from pathlib import Path

RECORDS = Path(__file__).parent / "records" / "debezium"
TABLES = ("item_detail", "shipping_location", "payment")
WORDS = [
    b"null",
    b"true",
    b"1e999",
    b"-1",
    b'""',
    b"[",
    b"{",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b'"order_id":',
    b"9" * 40,
]


def seeds() -> list[tuple[str, bytes, bytes]]:
    found = []
    for file in sorted(RECORDS.glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            record = json.loads(line)
            table = record["topic"].rpartition(".")[2]
            if table in TABLES and record["value"]:
                found.append((table, (record["key"] or "").encode(), record["value"].encode()))
    return found


def mutated(dice: random.Random, data: bytes, other: bytes) -> bytes:
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(data) + 1)
        kind = dice.randrange(6)
        if kind == 0:
            data = data[:place] + bytes([dice.randrange(256)]) + data[place + 1 :]
        elif kind == 1:
            data = data[:place] + dice.choice(WORDS) + data[place + dice.randrange(8) :]
        elif kind == 2:
            data = data[:place]
        elif kind == 3:
            data = data[:place] + data[max(0, place - 40) :]
        elif kind == 4:
            data = data[:place] + other[dice.randrange(len(other) + 1) :]
        else:
            data = data[:place] + data[place + dice.randrange(40) :]
    return data
