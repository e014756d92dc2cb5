"""How many histories it takes to find each planted bug: `PYTHONPATH=src:. python -m tests.chaos.model.power`.

The yardstick for a change of the simulation: histories may become fewer or slower if more is found a second.
"""

import sys
from time import process_time

from rich.console import Console
from rich.table import Table
from tests.chaos.model.bugs import PLANTED
from tests.chaos.model.runner import play_until_wrong, workers

FINDS = 5
"""How often each is found, one search beginning where the last one ended."""
ENOUGH = 8_000


def search(bug: str) -> tuple[str, int, int, float]:
    """The bug, how often it was found, in how many histories, in how many seconds of a core."""
    begin, start, found = 1, process_time(), 0
    while found < FINDS and begin < ENOUGH:
        report = play_until_wrong(range(begin, ENOUGH), bug)
        begin += report.histories
        found += report.failure is not None
    return bug, found, begin - 1, process_time() - start


def main() -> None:
    """A table, the rarest last."""
    table = Table("planted bug", "found", "histories for one", "seconds of a core for one")
    with workers() as pool:
        rows = list(pool.map(search, sys.argv[1:] or list(PLANTED)))
    for bug, found, histories, seconds in sorted(rows, key=lambda row: row[2] / max(row[1], 1)):
        each = max(found, 1)
        table.add_row(bug, str(found), f"{histories / each:.0f}", f"{seconds / each:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
