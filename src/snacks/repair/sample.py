"""The sampled check: on a timer, some orders by chance and those changed lately, MySQL against MongoDB."""

import asyncio
import random
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import structlog
from msgspec import Struct

from snacks.config import Settings
from snacks.repair.errors import RepairError
from snacks.repair.evidence import same_content
from snacks.repair.rows import Rows, snapshot
from snacks.repair.stored import Stored

log = structlog.get_logger(__name__)

PAGE = 500
MOST = 10_000
"""Drifted orders that are remembered and looked at each time."""
NAMED = 20
NOTHING = Rows({})


class DriftStatus(Struct, frozen=True, rename="camel"):
    """What the last sample found. `orders_drifted`: orders known to differ from MySQL, `orders` some of them.

    `checked` orders were compared `at` (UTC, ISO 8601); `problem` says why the last check could not be made.
    """

    orders_drifted: int = 0
    checked: int = 0
    at: str = ""
    orders: list[str] = []
    problem: str = ""


class Drift:
    """Takes the samples of one process. `run` ends only when it is cancelled."""

    def __init__(self, settings: Settings) -> None:
        self.status = DriftStatus()
        self._settings = settings
        self._drifted: set[str] = set()
        self._since = datetime.now(UTC)

    async def run(self) -> None:
        """Check again and again; what cannot be checked now is checked next time."""
        if not self._settings.reconcile_every:
            return
        while True:
            await asyncio.sleep(self._settings.reconcile_every)
            try:
                await self.check()
            except RepairError as error:
                self._failed(str(error))
            except Exception as error:
                log.exception("the sampled check failed")
                self._failed(repr(error))

    async def check(self) -> DriftStatus:
        """Take one sample now.

        Raises:
            RepairError: MySQL or MongoDB does not answer.
        """
        began = datetime.now(UTC)
        async with Stored(self._settings) as stored:
            chosen = sorted(await self._choose(stored) | self._drifted)
            first = await self._differing(stored, chosen)
            again = dict[str, Rows]()
            if first:
                await asyncio.sleep(self._settings.reconcile_settle)
                again = await self._differing(stored, sorted(first))
        # One that MySQL changed in between is under way.
        drifted = {order_id for order_id, rows in again.items() if rows == first[order_id]}
        for order_id in sorted(drifted - self._drifted)[:NAMED]:
            log.warning("an order differs from MySQL: ./snacks reconcile repairs it", order_id=order_id)
        self._drifted = set(sorted(drifted)[:MOST])
        self._since = began
        self.status = DriftStatus(
            len(drifted), len(chosen), began.isoformat(timespec="seconds"), sorted(drifted)[:NAMED]
        )
        return self.status

    def _failed(self, reason: str) -> None:
        now = self.status
        self.status = DriftStatus(now.orders_drifted, now.checked, now.at, now.orders, reason[:300])
        log.warning("the sampled check could not be made", reason=reason[:300])

    async def _choose(self, stored: Stored) -> set[str]:
        """Half by chance from MongoDB, half a stretch of MySQL from a place by chance, and the latest."""
        size = self._settings.reconcile_sample
        # A change has some seconds to reach its document: look back a little further than the last time.
        since = self._since - timedelta(seconds=2 * self._settings.reconcile_settle)
        found = set(await stored.some(size // 2 or 1))
        after = random.choice(sorted(found)) if found else ""  # noqa: S311  (a sample, no secret)
        found |= set(await stored.since(since.strftime("%Y-%m-%dT%H:%M:%S"), size))
        async with snapshot(self._settings) as taken:
            last = await taken.nth(after, size // 2)
            found |= set(await taken.between(after, last))
            if last is None:  # at the end: go on from the beginning
                found |= set(await taken.between("", await taken.nth("", size // 2)))
        return found

    async def _differing(self, stored: Stored, order_ids: Collection[str]) -> dict[str, Rows]:
        """Those that differ now, with MySQL's rows."""
        asked, differing = list(order_ids), dict[str, Rows]()
        for start in range(0, len(asked), PAGE):
            page = asked[start : start + PAGE]
            async with snapshot(self._settings) as taken:
                rows = await taken.of(page)
            documents = await stored.of(page)
            for order_id in page:
                order = rows.get(order_id, NOTHING)
                if not order.problem and not same_content(order_id, order, documents.get(order_id)):
                    differing[order_id] = order
        return differing
