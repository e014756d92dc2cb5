"""Coverage-guided fuzzing of decode: `python tests/fuzz/decode.py CORPUS -max_total_time=600`.

It needs atheris from PyPI, and `src` on the path. The first byte picks the table, then come the key, a
zero byte, and the value. Anything but `Undecodable`, a reason without a code, and any input that takes a
second is a finding.
"""

import json
import sys
import time
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["snacks"]):
    from snacks.actors.dead_letters import code_of
    from snacks.cdc import Undecodable, decode
    from snacks.domain.cards import mask_cards

TABLES = ("item_detail", "shipping_location", "payment")
RECORDS = Path(__file__).parents[1] / "records" / "debezium"
SLOW = 1.0


def one_input(data: bytes) -> None:
    """One record of any bytes."""
    table = TABLES[data[0] % 3] if data else TABLES[0]
    key, _, value = data[1:].partition(b"\x00")
    began = time.process_time()
    try:
        decode(table, key or None, value or None, 1_767_225_600_000)
    except Undecodable as refused:
        if code_of(str(refused)) == "other":
            raise
    mask_cards(value.decode("utf-8", "surrogateescape"))
    assert time.process_time() - began < SLOW


def seed(folder: Path) -> None:
    """The recordings as a corpus to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(sorted(RECORDS.glob("*.jsonl"))):
        for line, text in enumerate(file.read_text("utf-8").splitlines()):
            record = json.loads(text)
            table = record["topic"].rpartition(".")[2]
            if table in TABLES and record["value"] and line % 5 == 0:
                data = bytes([TABLES.index(table)]) + (record["key"] or "").encode()
                (folder / f"{number}-{line}").write_bytes(data + b"\x00" + record["value"].encode())


if __name__ == "__main__":
    seed(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
