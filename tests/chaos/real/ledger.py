"""What commands were answered, and whether MySQL agrees in the end."""

from collections import defaultdict

from tests.oracle import Tables

Cell = tuple[str, str]
"""Column and order id."""
COLUMNS = {
    "item_name": "item_detail",
    "item_status": "item_detail",
    "customer_name": "shipping_location",
    "credit_card_type": "payment",
    "order_id": "item_detail",
}


class Ledger:
    """For each cell the value that was acknowledged last, and those whose answer was lost.

    A command without an answer may have been done, not at all, or may be done late by a process that was
    frozen: from then on its value is possible too.
    """

    def __init__(self) -> None:
        self._acknowledged: dict[Cell, str] = {}
        self._possible: dict[Cell, set[str]] = defaultdict(set)
        self._refused: set[tuple[Cell, str]] = set()
        self.answers: dict[str, int] = defaultdict(int)

    def answered(self, cell: Cell, value: str, status: int | None) -> None:
        """`status` is HTTP's, None if no answer came."""
        self.answers["none" if status is None else f"{status // 100}xx"] += 1
        if status is not None and 200 <= status < 300:
            self._acknowledged[cell] = value
            self._refused.discard((cell, value))
        elif status is not None and 400 <= status < 500:
            self._refused.add((cell, value))
        else:
            self._possible[cell].add(value)

    def check(self, tables: Tables) -> tuple[int, list[str]]:
        """How many answers were compared, and which MySQL contradicts."""
        held: dict[Cell, set[str]] = defaultdict(set)
        for column, table in COLUMNS.items():
            for row in tables[table]:
                held[column, row["order_id"]].add(row[column])
        wrong = []
        for cell, value in self._acknowledged.items():
            allowed = {value} | self._possible[cell]
            if not held[cell] & allowed:
                wrong.append(f"{cell}: answered 2xx for {value!r}, MySQL has {sorted(held[cell])}")
        for cell, value in self._refused:
            if value in held[cell] and value not in {self._acknowledged.get(cell), *self._possible[cell]}:
                wrong.append(f"{cell}: answered 4xx for {value!r}, and MySQL has it")
        return len(self._acknowledged) + len(self._refused), wrong
