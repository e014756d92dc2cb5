"""Everything known of one order, wherever it is, and whether it agrees. Only reads."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from msgspec import Raw

from snacks.cdc import CDC_TOPICS, Truncated, Undecodable, decode, reading, table_of
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS
from snacks.config import Settings
from snacks.documents import Documents, DocumentsUnavailable
from snacks.domain.cards import mask_cards
from snacks.domain.order import (
    NEW,
    CustomerOrder,
    IncompleteRow,
    Kept,
    OrderState,
    decode_state,
    fold,
    project,
    why_nothing,
)
from snacks.explain.found import Agreement, Explanation, Seen, Stored, agreement, plain, read, stored_json
from snacks.explain.found import published as published_as
from snacks.explain.found import rows as rows_of
from snacks.letters import Letters, LettersUnavailable
from snacks.repair.errors import RepairError
from snacks.repair.partition import partition_of
from snacks.repair.rows import Rows, snapshot

_numbers = msgspec.json.Encoder(decimal_format="number")
LONGEST = 1_000
"""Records, and dead letters, that are told of one order: the latest."""
PATIENCE = 30.0
"""Seconds after which what was found so far is told."""

Progress = Callable[[str, int, int], None]
"""Gets what is read, the records done, and the records in all."""


async def explain(
    settings: Settings,
    order_id: str,
    documents: Documents,
    letters: Letters,
    *,
    progress: Progress = lambda _what, _done, _total: None,
    patience: float = PATIENCE,
) -> Explanation:
    """Ask every part for the order. What does not answer in time is named in `problems`."""
    made = _Explaining(settings, order_id, progress)
    await asyncio.gather(
        made.attempt("MySQL", patience, made.mysql()),
        made.attempt("MongoDB", patience, made.mongodb(documents)),
        made.attempt("the topics", patience, made.topics()),
    )
    await made.attempt("the dead letters", patience, made.dead_letters(letters))
    made.compare()
    return made.found


class _Explaining:
    def __init__(self, settings: Settings, order_id: str, progress: Progress) -> None:
        self.found = Explanation(order_id=order_id)
        self._settings = settings
        self._order_id = order_id
        self._progress = progress
        # The id as it stands in JSON that keeps its characters, and in JSON that escapes them.
        quoted = msgspec.json.encode(order_id)[1:-1]
        self._marks = {order_id.encode(), quoted, json.dumps(order_id)[1:-1].encode()}
        self._folded: OrderState = NEW
        self._state: OrderState | None = None
        self._whole = True
        self._mysql: CustomerOrder | None = None

    async def attempt(self, what: str, patience: float, work: Any) -> None:
        try:
            async with asyncio.timeout(patience):
                await work
        except TimeoutError:
            self.found.problems.append(f"{what}: not all could be read within {patience:g} s")
        except (KafkaError, OSError, RepairError, LettersUnavailable, DocumentsUnavailable) as error:
            self.found.problems.append(mask_cards(f"{what}: {error}")[:300])

    async def mysql(self) -> None:
        async with snapshot(self._settings) as source:
            rows = (await source.of([self._order_id])).get(self._order_id, Rows({}))
        if rows.problem:
            self.found.problems.append(mask_cards(f"MySQL: {rows.problem}"))
        shown: dict[str, Any] = {}
        for (table, item_id), row in sorted(rows.rows.items()):
            columns = msgspec.json.decode(_numbers.encode(row))
            if item_id:
                shown.setdefault(table, {})[item_id] = columns
            else:
                shown[table] = columns
        self.found.rows = shown
        items: Any = {i: Kept[Any](0, row) for (table, i), row in rows.rows.items() if table == "item_detail"}
        others: Any = {
            table: Kept[Any](0, row) for (table, i), row in rows.rows.items() if table != "item_detail"
        }
        self._mysql = project(self._order_id, OrderState(items=items, **others))

    async def mongodb(self, documents: Documents) -> None:
        await documents.open()
        stored = await documents.model.get(self._order_id)
        if stored is not None:
            self.found.stored = Stored(stored.revision, Raw(stored_json(stored.customer_order)))

    async def dead_letters(self, letters: Letters) -> None:
        # In all partitions: one may have been set aside because it came in another than its order's.
        self.found.letters = await letters.of_order(self._order_id, LONGEST)

    async def topics(self) -> None:
        async with reading.reading(self._settings, "snacks-explain") as consumer:
            everywhere = range(self._settings.partitions)
            # Where our connector puts it comes first; another engine's may lie elsewhere.
            likely = partition_of(self._order_id, self._settings.partitions)
            for number in [likely, *(one for one in everywhere if one != likely)]:
                for record in await self._own(consumer, [CHECKPOINTS], [number], exact=True):
                    self.found.partitions = [record.partition]
                    self._state = None if record.value is None else decode_state(record.value)
                    self.found.state = None if record.value is None else Raw(record.value)
                if self.found.partitions:
                    break
            where = self.found.partitions or list(everywhere)
            for record in await self._own(consumer, [AGGREGATES], where, exact=True):
                self.found.published = published_as(record)
            for record in await self._own(consumer, CDC_TOPICS, where):
                self._fold(record)
            seen = {record.partition for record in self.found.records}
            self.found.partitions = self.found.partitions or sorted(seen)

    async def _own(
        self,
        consumer: AIOKafkaConsumer,
        topics: Sequence[str],
        partitions: Sequence[int],
        *,
        exact: bool = False,
    ) -> Sequence[ConsumerRecord]:
        """The order's latest records there, oldest first; `exact`: the one whose key is its id."""
        found: deque[ConsumerRecord] = deque(maxlen=1 if exact else LONGEST)
        spans = await reading.spans(consumer, topics, partitions)
        total, done = sum(end - begin for _, begin, end in spans), 0
        for source, begin, end in spans:
            self._whole = self._whole and (exact or begin == 0)
            async for record in reading.records(consumer, source, begin, end):
                done += 1
                if exact:
                    mine = record.key == self._order_id.encode()
                else:
                    mine = any(
                        mark in (record.key or b"") or mark in (record.value or b"") for mark in self._marks
                    )
                if mine:
                    self.found.left_out += len(found) == found.maxlen and not exact
                    found.append(record)
                if not done % 1000:
                    self._progress(source.topic, done, total)
                    await asyncio.sleep(0)
        return found

    def _fold(self, record: ConsumerRecord) -> None:
        """What the record did, told by folding it again."""
        did, detail, changed = self._outcome(record)
        if did:
            place = (record.topic, record.partition, record.offset, record.timestamp)
            self.found.records.append(Seen(*place, did, mask_cards(detail), changed))

    def _outcome(self, record: ConsumerRecord) -> tuple[str, str, int]:
        table = table_of(record.topic) or ""
        try:
            change = decode(table, record.key, record.value, record.timestamp)
        except Undecodable as error:
            return "set aside", str(error), 0
        if change is None or isinstance(change, Truncated):
            return "nothing", "names no row", 0
        if change.order_id != self._order_id:
            return "", "", 0
        row = f"{table} {change.item_id}".strip() + (" deleted" if change.row is None else "")
        try:
            state = fold(self._folded, change)
        except IncompleteRow as error:
            return "set aside", str(error), change.at
        nothing_new = state.revision == self._folded.revision and change.repair is None
        did = why_nothing(self._folded, change) if nothing_new or state is self._folded else "folded"
        self._folded = state
        return did, row, change.at

    def compare(self) -> None:
        """What must agree once everything is folded: MySQL, the state, the topic, the document."""
        found, right = self.found, project(self._order_id, self._state or NEW)
        published = (
            None if found.published is None or found.published.order is None else found.published.order
        )
        stored = None if found.stored is None else found.stored.order
        found.agreements = [
            agreement(
                "MySQL and the actor's state", plain(self._mysql, dated=False), plain(right, dated=False)
            ),
            agreement("the actor's state and the topic", plain(right), read(published)),
            agreement("the actor's state and MongoDB", plain(right), read(stored)),
        ]
        if self._whole and not found.left_out:
            same = rows_of(self._folded) == rows_of(self._state or NEW)
            detail = "" if same else "the records, folded again, give other rows"
            found.agreements.append(Agreement("the records and the actor's state", same, detail))
        if found.stored and self._state:
            same = found.stored.revision == self._state.revision
            detail = (
                "" if same else f"{found.stored.revision} in MongoDB, {self._state.revision} in the state"
            )
            found.agreements.append(Agreement("revisions", same, detail))
        found.agree = None if found.problems else all(one.ok for one in found.agreements)
