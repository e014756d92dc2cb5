"""A short fuzz for every run: real records with bytes flipped, cut, doubled and nested. Cases A25, A30.

`tests/fuzz/decode.py` is the long one, guided by coverage.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from snacks.actors.dead_letters import code_of
from snacks.cdc import Undecodable, decode

RECORDS = Path(__file__).parents[1] / "records" / "debezium"
COUNT = 20_000
RUNS = 20_000
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


@pytest.mark.timeout(60)
def test_mutated_records_are_a_change_nothing_or_undecodable_with_a_known_code() -> None:
    dice = random.Random(20_260_101)
    records = seeds()
    codes: Counter[str] = Counter()
    for _ in range(COUNT):
        (table, key, value), (_, other_key, other) = dice.choice(records), dice.choice(records)
        if dice.random() < 0.7:
            value = mutated(dice, value, other)
        if dice.random() < 0.5:
            key = mutated(dice, key, other_key)
        try:
            decode(table, key, value, 1_767_225_600_000)
        except Undecodable as refused:
            codes[code_of(str(refused))] += 1
    assert len(codes) > 10
    assert "other" not in codes


def test_a_fuzzer_guided_by_coverage_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="it has wheels for Linux on x86-64 only")
    options = [f"-runs={RUNS}", "-max_len=4096", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    script = Path(__file__).parents[1] / "fuzz" / "decode.py"
    ended = subprocess.run(
        [sys.executable, script, tmp_path / "corpus", *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert f"Done {RUNS} runs" in ended.stderr
