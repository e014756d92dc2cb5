"""Whether an order steps back for a reader. One `Steps` for each reader."""

from tests.chaos.real.load import FORWARD

RANK = {"PENDING": 0, "PAID": 1, "FULFILLED": 2, "SHIPPED": 3}


class Steps:
    """Follows what one reader sees of each order, in the order in which it sees it.

    Revisions never fall, for any order. Orders that MySQL only moves forwards keep their status or raise it,
    and never vanish.
    """

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self.seen = 0
        self.violations: list[str] = []
        self._status: dict[str, str] = {}
        self._revision: dict[str, int] = {}

    def saw(self, order_id: str, status: str | None, revision: int | None = None) -> None:
        """`status` None: the order is not there. `revision` None: this reader is not told."""
        self.seen += 1
        if revision is not None:
            before = self._revision.get(order_id, 0)
            if revision < before:
                self._wrong(order_id, f"revision {before} became {revision}")
            self._revision[order_id] = revision
        if order_id.startswith(FORWARD):
            known = self._status.get(order_id)
            if known is not None and status is None:
                self._wrong(order_id, f"{known} vanished")
            elif known is not None and status is not None and RANK[status] < RANK[known]:
                self._wrong(order_id, f"{known} became {status}")
            if status is not None:
                self._status[order_id] = status

    def _wrong(self, order_id: str, what: str) -> None:
        self.violations.append(f"{self.reader}: {order_id}: {what}")
