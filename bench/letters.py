"""What it costs to set a record aside: microseconds a dead letter, by the size and kind of its value.

PYTHONPATH=src .venv/bin/python bench/letters.py
"""

import base64
import random
import time
from collections.abc import Callable

from aiokafka import ConsumerRecord
from rich.console import Console
from rich.table import Table

from snacks.actors.dead_letters import dead_letter

SIZES = {"500 B": 500, "64 KB": 65_536, "1 MB": 1_048_576}
ROW = b'{"order_id":"kit-1","item_id":"1","item_name":"Pretzels","item_status":"EATEN","price":"1.25"},'
DICE = random.Random(1)
KINDS: dict[str, Callable[[int], bytes]] = {
    "JSON": lambda size: (ROW * (size // len(ROW) + 1))[:size],
    "prose": lambda size: (b"no card number in here " * (size // 23 + 1))[:size],
    "digits": lambda size: bytes(DICE.choices(b"0123456789", k=size)),
    "base64": lambda size: base64.b64encode(DICE.randbytes(size))[:size],
    "any bytes": DICE.randbytes,
}
REPEAT = 5


def cost(value: bytes) -> float:
    """The median seconds of a letter."""
    record = ConsumerRecord("t", 0, 0, 0, 0, b"kit-1", value, None, 5, len(value), ())
    times = []
    for _ in range(REPEAT):
        began = time.perf_counter()
        dead_letter(record, "value: not JSON")
        times.append(time.perf_counter() - began)
    return sorted(times)[REPEAT // 2]


def main() -> None:
    """Measure, and print a table."""
    table = Table("value", *SIZES, title="microseconds a dead letter (median of 5)")
    for kind, make in KINDS.items():
        table.add_row(kind, *(f"{cost(make(size)) * 1e6:,.0f}" for size in SIZES.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
