"""Compares all orders with a truth, looks again at those that differ, and repairs those that stay so.

Both commands are this: `reconcile` with MySQL for the truth, `rebuild` with what the CDC topics give.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct

from snacks.actors.closing import close_producer
from snacks.config import Settings
from snacks.repair.errors import RepairError
from snacks.repair.evidence import Difference, Evidence, Record
from snacks.repair.partition import partition_of
from snacks.repair.reader import Actors
from snacks.repair.spool import CONFIRMED, LOOKED, SENT, Known, Spool

PAGE = 1_000
"""Rows, documents or orders that are compared at a time: memory is bounded by it."""
LOOKS = 5
"""How often an order that keeps changing is looked at again."""
REPAIRS = 3
"""How often an order is repaired anew that changed before its repair came."""
SHOWN = 200
"""Orders whose differences are kept for the report; the others are counted."""
SEND_TIMEOUT = 60.0
STOP_TIMEOUT = 5.0

Step = Callable[[str, int, int], None]
"""Told of progress: what is done, how much of it, of how much (0: not known)."""


class Report(Struct, rename="camel"):
    """What a comparison found.

    `differing` orders stayed different; `under_way` ones kept changing and are not judged. `remaining` were
    not repaired (all of them, with `--check`). `unreadable` ones cannot be judged: `notes` say why.
    `strangers` are documents whose id is no text. Seconds are wall time.
    """

    orders: int = 0
    differing: int = 0
    repaired: int = 0
    remaining: int = 0
    under_way: int = 0
    unreadable: int = 0
    strangers: int = 0
    seconds: float = 0.0
    differences: list[Difference] = []
    notes: list[str] = []


class Truth(Protocol):
    """Where it is read how orders must be."""

    settle: float
    """Seconds after which a change of the truth has reached the topics, if nothing is wrong."""

    def pages(self) -> AsyncIterator[dict[str, Evidence]]:
        """All orders that anybody knows, in the order of their ids, a page at a time."""
        ...

    async def of(self, order_ids: Sequence[str]) -> dict[str, Evidence]:
        """These orders as they are now; one that cannot be read is absent."""
        ...


class Comparison:
    """One run over all orders, or over some. The spool holds who differs, so that memory does not grow."""

    def __init__(self, settings: Settings, spool: Spool, actors: Actors, truth: Truth, step: Step) -> None:
        self._settings = settings
        self._spool = spool
        self._actors = actors
        self._truth = truth
        self._step = step
        self.report = Report()

    async def run(self, order_ids: Sequence[str] | None, *, repair: bool, total: int = 0) -> Report:
        """Compare, look again, and repair if told so.

        Raises:
            RepairError: a server does not answer, or the actors do not get on.
        """
        self._spool.forget_suspects()
        if order_ids is None:
            async for page in self._truth.pages():
                self.report.orders += len(page)
                self._spool.suspect({one.order_id: print_of(one) for one in page.values() if one.differs()})
                self._step("compared", self.report.orders, total)
        else:
            self.report.orders = len(order_ids)
            found = await self._truth.of(order_ids)
            self._spool.suspect({one.order_id: print_of(one) for one in found.values() if one.differs()})
        self._spool.save()
        await self._look_again()
        self.report.differing = self._spool.suspected(CONFIRMED)
        if repair:
            await self._repair()
        self.report.remaining = self._spool.suspected(CONFIRMED) + self._spool.suspected(SENT)
        return self.report

    async def _look_again(self) -> None:
        """Confirm those that differ from a truth that did not change, once the actors had it all."""
        for _ in range(LOOKS):
            if not self._spool.suspected(LOOKED):
                return
            await asyncio.sleep(self._truth.settle)
            await self._actors.settled()
            seen = 0
            async for before, now in self._suspects(LOOKED):
                seen += len(before)
                self._step("looked at again", seen, 0)
                differing = {order_id: one for order_id, one in now.items() if one.differs()}
                prints = {order_id: print_of(one) for order_id, one in differing.items()}
                same = {order_id: text for order_id, text in prints.items() if text == before[order_id]}
                self._spool.clear(before.keys() - prints.keys())
                self._spool.suspect(same, CONFIRMED)
                self._spool.suspect({one: text for one, text in prints.items() if one not in same}, LOOKED)
                self._show(differing[order_id] for order_id in same)
        self.report.under_way = self._spool.suspected(LOOKED)

    async def _repair(self) -> None:
        """Send the repairs of all that are confirmed, look whether they did it; a few times."""
        for _ in range(REPAIRS):
            todo = self._spool.suspected(CONFIRMED)
            if not todo:
                return
            sent = 0
            async with _producer(self._settings) as producer:
                async for before, now in self._suspects(CONFIRMED):
                    await _send(self._settings, producer, self._spool, now)
                    self._spool.suspect(before, SENT)
                    self._spool.save()
                    sent += len(before)
                    self._step("repaired", sent, todo)
            await self._actors.settled()
            async for before, now in self._suspects(SENT):
                still = {order_id: before[order_id] for order_id, one in now.items() if one.differs()}
                self._spool.clear(before.keys() - still.keys())
                self._spool.suspect(still, CONFIRMED)
                self._spool.save()
                self.report.repaired += len(before) - len(still)

    async def _suspects(self, stage: int) -> AsyncIterator[tuple[dict[str, str], dict[str, Evidence]]]:
        """The suspects of a stage as they were noted, and as they are now, a page at a time."""
        after = ""
        while page := self._spool.suspects(stage, after, PAGE // 4):
            yield page, await self._truth.of(list(page))
            after = max(page)

    def _show(self, differing: Iterable[Evidence]) -> None:
        for one in differing:
            if len({d.order_id for d in self.report.differences}) >= SHOWN:
                return
            self.report.differences += one.differences()


def print_of(one: Evidence) -> str:
    """A digest of how the order must be; equal as long as the truth did not change."""
    rows = [(key, kept.row) for key, kept in sorted(one.wanted.items())]
    return blake2b(msgspec.json.encode(rows), digest_size=16).hexdigest()


# ── sending ──────────────────────────────────────────────────────────────────────────────────────


class _producer:  # noqa: N801  (reads as a noun where it is used)
    """A producer for repair records: what it says was written is written once."""

    def __init__(self, settings: Settings) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka,
            client_id="snacks-repair",
            enable_idempotence=True,
            request_timeout_ms=int(SEND_TIMEOUT * 1000),
            linger_ms=5,
        )

    async def __aenter__(self) -> AIOKafkaProducer:
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._producer.start()
        except (KafkaError, TimeoutError) as error:
            await self.__aexit__()
            raise RepairError(f"the broker does not answer: {error!r}") from error
        return self._producer

    async def __aexit__(self, *_: object) -> None:
        await close_producer(self._producer, STOP_TIMEOUT)  # whether all was written is known by now


async def _send(
    settings: Settings, producer: AIOKafkaProducer, spool: Spool, orders: Mapping[str, Evidence]
) -> None:
    known = spool.of(list(orders))
    sent = []
    try:
        async with asyncio.timeout(SEND_TIMEOUT):
            for order_id, one in orders.items():
                records: list[Record] = one.repair() if one.differs() else []
                partition = _partition(settings, order_id, known.get(order_id, Known()))
                sent += [await producer.send(r.topic, r.value, r.key, partition=partition) for r in records]
            await asyncio.gather(*sent)
    except (KafkaError, TimeoutError) as error:
        raise RepairError(f"repair records cannot be written: {error!r}") from error


def _partition(settings: Settings, order_id: str, known: Known) -> int:
    """Where the order's actor is; else where a rebuild found its records, however they were routed."""
    if known.state is not None and known.partition is not None:
        return known.partition
    if known.folded_partition is not None:
        return known.folded_partition
    return partition_of(order_id, settings.partitions)
