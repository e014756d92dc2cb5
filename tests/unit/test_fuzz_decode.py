"""A short fuzz for every run: real records with bytes flipped, cut, doubled and nested. Cases A25, A30.

`tests/fuzz/decode.py` is the long one, guided by coverage.
"""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.mutated import mutated, seeds

from snacks.actors.dead_letters import code_of
from snacks.cdc import Undecodable, decode

COUNT = 20_000
RUNS = 20_000


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
