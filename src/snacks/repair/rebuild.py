"""`snacks rebuild`: fold the CDC topics again from their first record, beside the live system.

What comes out is the truth; actors, topic and MongoDB are brought to it order by order, through the
actors, as `reconcile` does. What was folded is kept in a file, so that a rebuild can be gone on with.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence

from aiokafka import ConsumerRecord

from snacks.cdc import CDC_TOPICS, Truncated, Undecodable, decode, table_of
from snacks.config import Settings
from snacks.documents import Documents
from snacks.domain.order import NEW, IncompleteRow, OrderState, decode_state, encode, fold
from snacks.platform.state import REBUILD
from snacks.repair.comparison import PAGE, Comparison, Report, Step
from snacks.repair.errors import RepairError
from snacks.repair.evidence import Evidence, by_fold
from snacks.repair.reader import Actors, Reader
from snacks.repair.reconcile import reconcile
from snacks.repair.spool import Known, Spool
from snacks.repair.stored import Stored

FILE = REBUILD
SETTLE = 0.2
NOTES = 100
NOBODY = Known()


def refold(spool: Spool, records: Sequence[ConsumerRecord]) -> None:
    """Fold records of one partition into the spool, as an actor would; dead letters are passed over."""
    topic, partition = records[0].topic, records[0].partition
    table = table_of(topic)
    if table is None:
        return
    changes = []
    for record in records:
        try:
            change = decode(table, record.key, record.value, record.timestamp)
        except Undecodable:
            continue  # the live actors have set it aside
        if change is not None and not isinstance(change, Truncated):
            changes.append(change)
    held = spool.of(list({change.order_id for change in changes}))
    states: dict[str, OrderState] = {}
    changed: set[str] = set()
    for change in changes:
        order_id = change.order_id
        state = states.get(order_id)
        if state is None:
            known = held.get(order_id, NOBODY)
            state = NEW if known.folded is None else decode_state(known.folded)
        try:
            states[order_id] = folded = fold(state, change)
        except IncompleteRow:
            continue
        if folded is not state:
            changed.add(order_id)
    spool.folded({order_id: (partition, encode(states[order_id])) for order_id in changed})


class Folded:
    """The truth that the CDC topics tell; see `comparison.Truth`."""

    settle = SETTLE

    def __init__(self, spool: Spool, stored: Stored, sources: Reader, report: Report) -> None:
        self._spool = spool
        self._stored = stored
        self._sources = sources
        self._report = report
        self._incomplete: set[str] = set()

    async def pages(self) -> AsyncIterator[dict[str, Evidence]]:
        """All orders that the topics, the actors or MongoDB know."""
        after = ""
        while True:
            ends = [self._spool.nth(after, PAGE), await self._stored.nth(after, PAGE)]
            last = min((end for end in ends if end is not None), default=None)
            known = self._spool.between(after, last)
            documents = await self._stored.between(after, last)
            yield self._judged(sorted({*known, *documents}), known, documents)
            if last is None:
                return
            after = last

    async def of(self, order_ids: Sequence[str]) -> dict[str, Evidence]:
        """These orders, with all that the topics have now."""
        await self._sources.catch_up()
        return self._judged(order_ids, self._spool.of(order_ids), await self._stored.of(order_ids))

    def _judged(
        self, order_ids: Sequence[str], known: dict[str, Known], documents: dict[str, bytes]
    ) -> dict[str, Evidence]:
        judged = {}
        for order_id in order_ids:
            one = by_fold(order_id, known.get(order_id, NOBODY), documents.get(order_id))
            if one is not None:
                judged[order_id] = one
            elif order_id not in self._incomplete:
                self._incomplete.add(order_id)
                self._report.unreadable += 1
                if len(self._report.notes) < NOTES:
                    self._report.notes.append(f"{order_id}: the topics lack rows of it; use snacks reconcile")
        return judged


async def rebuild(
    settings: Settings, *, fresh: bool = False, step: Step = lambda _what, _n, _of: None
) -> Report:
    """Fold all again, compare, and bring every order that differs to what was folded.

    Where the topics no longer reach back to their first record, MySQL is the truth: `reconcile`. Stopped
    before the end it has changed nothing, or some orders wholly; called again, it goes on.

    Raises:
        RepairError: a server does not answer, the actors do not get on, or another rebuild is running.
    """
    began = time.perf_counter()
    path = settings.state_dir / FILE
    if fresh:
        Spool.delete(path)
    try:
        spool = Spool(path, alone=True)
    except sqlite3.OperationalError as error:
        raise RepairError(f"another rebuild is running, or {path} cannot be used: {error}") from error
    with spool:
        _same_system(settings, spool)
        async with (
            Reader(settings, spool, CDC_TOPICS, refold) as sources,
            Actors(settings, spool) as actors,
            Stored(settings) as stored,
        ):
            if lost := sum(sources.begins.values()):
                report = await reconcile(settings, repair=True, step=step)
                report.notes.append(f"the topics have lost their first {lost} records: rebuilt from MySQL")
                return report
            await sources.catch_up(lambda n, total: step("records folded", n, total))
            await actors.catch_up(lambda n, total: step("read from the topics", n, total))
            async with Documents(settings.mongo, settings.mongo_database):
                pass  # the indexes, if the collection was dropped
            report = Report()
            comparison = Comparison(settings, spool, actors, Folded(spool, stored, sources, report), step)
            comparison.report = report
            await comparison.run(None, repair=True, total=spool.count())
            report.seconds = round(time.perf_counter() - began, 3)
    Spool.delete(path)
    return report


def _same_system(settings: Settings, spool: Spool) -> None:
    """A file that was begun against another system must not be gone on with."""
    system = f"{settings.kafka} {settings.group_id} {settings.partitions}"
    if spool.fact("system") not in (None, system):
        raise RepairError(
            f"{spool.path} belongs to {spool.fact('system')}, not to {system}: begin anew (--fresh)"
        )
    spool.remember("system", system)
    spool.save()
