"""`snacks reconcile`: MySQL is the truth; actors, topic and MongoDB are brought to it."""

import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from snacks.cdc import connector
from snacks.cdc.connector import ConnectorError
from snacks.config import Settings
from snacks.repair.comparison import PAGE, Comparison, Report, Step
from snacks.repair.evidence import Evidence, by_mysql
from snacks.repair.reader import Actors
from snacks.repair.rows import Rows, Snapshot, snapshot
from snacks.repair.spool import Known, Spool
from snacks.repair.stored import Stored

NOBODY = Known()


class MySQL:
    """The truth that MySQL tells; see `comparison.Truth`."""

    def __init__(self, settings: Settings, spool: Spool, stored: Stored, report: Report) -> None:
        self.settle = settings.reconcile_settle
        self._settings = settings
        self._spool = spool
        self._stored = stored
        self._report = report
        self._unreadable: set[str] = set()

    async def pages(self) -> AsyncIterator[dict[str, Evidence]]:
        """All orders that MySQL, the actors or MongoDB know, from one snapshot of MySQL."""
        async with snapshot(self._settings) as taken:
            after = ""
            while True:
                ends = [await taken.nth(after, PAGE), self._spool.nth(after, PAGE)]
                ends.append(await self._stored.nth(after, PAGE))
                last = min((end for end in ends if end is not None), default=None)
                yield self._judged(
                    taken,
                    await taken.between(after, last),
                    self._spool.between(after, last),
                    await self._stored.between(after, last),
                )
                if last is None:
                    return
                after = last

    async def of(self, order_ids: Sequence[str]) -> dict[str, Evidence]:
        """These orders, each from a fresh snapshot of MySQL."""
        async with snapshot(self._settings) as taken:
            rows = await taken.of(order_ids)
            known, documents = self._spool.of(order_ids), await self._stored.of(order_ids)
            return self._judged(taken, rows, known, documents, order_ids)

    def _judged(
        self,
        taken: Snapshot,
        rows: Mapping[str, Rows],
        known: Mapping[str, Known],
        documents: Mapping[str, bytes],
        asked: Sequence[str] = (),
    ) -> dict[str, Evidence]:
        judged = {}
        for order_id in sorted({*rows, *known, *documents, *asked}):
            order = rows.get(order_id, Rows({}))
            if order.problem:
                self._refuse(order_id, order.problem)
                continue
            judged[order_id] = by_mysql(
                order_id, order, taken.moment, known.get(order_id, NOBODY), documents.get(order_id)
            )
        return judged

    def _refuse(self, order_id: str, problem: str) -> None:
        if order_id not in self._unreadable:
            self._unreadable.add(order_id)
            self._report.unreadable += 1
            if len(self._report.notes) < PAGE:
                self._report.notes.append(f"{order_id}: {problem}")


async def reconcile(
    settings: Settings, *, repair: bool, order_id: str | None = None, step: Step = lambda _what, _n, _of: None
) -> Report:
    """Compare every order (or one) with MySQL; repair those that stay different, if told so.

    Safe while the system runs: an order that differs is looked at again once the actors have folded all
    that was in the topics, and judged only if MySQL did not change it meanwhile.

    Raises:
        RepairError: a server does not answer, or the actors do not get on; what was repaired stays so.
    """
    began = time.perf_counter()
    with temporary() as spool:
        async with Actors(settings, spool) as actors, Stored(settings) as stored:
            await actors.catch_up(lambda n, total: step("read from the topics", n, total))
            report = Report()
            report.notes += [
                f"{one} has a state in partitions {first} and {second}: the connector must route by order id"
                for one, (first, second) in spool.splits(PAGE).items()
            ]
            truth = MySQL(settings, spool, stored, report)
            comparison = Comparison(settings, spool, actors, truth, step)
            comparison.report = report
            await _note_connector(settings, report)
            total = 0 if order_id else await _count(settings)
            await comparison.run(None if order_id is None else [order_id], repair=repair, total=total)
            report.strangers = await stored.strangers()
            report.seconds = round(time.perf_counter() - began, 3)
            return report


async def _count(settings: Settings) -> int:
    async with snapshot(settings) as taken:
        return await taken.count()


async def _note_connector(settings: Settings, report: Report) -> None:
    try:
        state = await connector.status(settings)
    except ConnectorError as error:
        report.notes.append(
            f"Kafka Connect does not answer ({error}): changes may not have been captured yet"
        )
        return
    if not state.running:
        report.notes.append(f"the connector is {state.state}: changes may not have been captured yet")


@contextmanager
def temporary() -> Iterator[Spool]:
    """A spool that is deleted at the end, about 1 KB for each order."""
    with (
        tempfile.TemporaryDirectory(prefix="snacks-repair-") as folder,
        Spool(Path(folder) / "spool.db") as spool,
    ):
        yield spool
