"""Read, send again and drop dead letters, from the topic that the order actors write.

The topic keeps everything: a letter that was sent again or dropped gets a second record with the same
identity, a mark. The newest record of an identity says how it stands.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from snacks.actors.dead_letters import CODE_HEADER, DeadLetter
from snacks.cdc import reading
from snacks.cdc.topics import DEAD_LETTERS
from snacks.config import Settings
from snacks.letters.sending import (
    PORTION,
    STATUS_HEADER,
    LettersUnavailable,
    NoSuchLetter,
    NotReplayable,
    Record,
    Standing,
    again,
    id_of,
    identity,
    mark,
    producing,
    sendable,
)

Progress = Callable[[int, int], None]
LONGEST_LIST = 16 * 1024 * 1024
"""Characters of keys and values that are held at once; one letter has at most 1.5 million (base64)."""


class Letter(Struct, frozen=True, rename="camel"):
    """A dead letter, and what became of it. `id` is `<table>-<partition>-<offset>` of its record.

    `omitted`: its key and value are left out of a list that would hold too much. Asked for alone it has them.
    """

    id: str
    status: Standing
    letter: DeadLetter
    omitted: bool = False


class Place(Struct, frozen=True):
    """Where a letter lies in the dead-letter topic: all that is held in memory of it, 0.3 kB each."""

    partition: int
    offset: int
    at: int
    code: str
    status: Standing = Standing.OPEN


class Letters:
    """The dead letters of a cluster. Knows the topic up to where it read last; reads on when asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places: dict[str, Place] = {}
        self._next: dict[int, int] = {}
        self._lock = asyncio.Lock()

    async def counts(self, progress: Progress | None = None) -> dict[str, int]:
        """Open letters by reason code, the most frequent first."""
        async with self._lock, self._reading(progress):
            counted = Counter(one.code for one in self._places.values() if one.status is Standing.OPEN)
        return dict(counted.most_common())

    async def newest(
        self, limit: int, code: str | None = None, *, closed: bool = False, progress: Progress | None = None
    ) -> list[Letter]:
        """The newest letters first; `closed` has those too that were sent again or dropped.

        Where they are large, the oldest come without their records: `Letter.omitted`.
        """
        async with self._lock, self._reading(progress) as consumer:
            wanted = (one for one in self._places.values() if _is_open(one, code, closed=closed))
            places = heapq.nlargest(limit, wanted, key=lambda one: (one.at, one.partition, one.offset))
            found = await _bounded(self._fetch(consumer, places), limit)
        return sorted(found, key=lambda one: (one.letter.set_aside, one.letter.offset), reverse=True)

    async def of_order(self, order_id: str, limit: int) -> list[Letter]:
        """The latest letters of an order, oldest first in each partition; large ones as in `newest`."""
        text = msgspec.json.encode(order_id)
        async with self._lock, self._reading(None) as consumer:
            places = list(self._places.values())
            found = self._fetch(consumer, places, lambda record: text in (record.value or b""))
            return await _bounded((one async for one in found if one.letter.order_id == order_id), limit)

    async def get(self, letter_id: str) -> Letter:
        """One letter, whole. Raises NoSuchLetter."""
        async with self._lock, self._reading(None) as consumer:
            return await self._one(consumer, letter_id)

    async def replay(self, letter_id: str, value: bytes | None = None, key: bytes | None = None) -> Letter:
        """Send the record, or an edited one, to its topic and partition again; its order's actor folds it.

        Its timestamp is the original's, and it is marked as sent again. Card numbers stay masked, and an
        edited record is masked as well. A letter that is no longer open is sent again all the same.

        Raises:
            NoSuchLetter: there is none with that id.
            NotReplayable: what was cut or whose key was masked needs an edited record; or the record is
                larger than its topic takes, and the letter stays as it was.
        """
        async with self._lock, self._reading(None) as consumer:
            one = await self._one(consumer, letter_id)
        record = await asyncio.to_thread(
            sendable, one.letter, value, key
        )  # to mask a megabyte takes a second
        async with producing(self._settings) as producer:
            if await again(producer, [(one.letter, record)]):
                size = sum(len(part or b"") for part in record)
                raise NotReplayable(
                    f"{one.id}: its record of {size:,} bytes is larger than its topic takes; send a shorter"
                    " one, or raise the topic's max.message.bytes"
                )
        return msgspec.structs.replace(one, status=Standing.REPLAYED)

    async def replay_all(self, code: str | None = None) -> tuple[int, list[str]]:
        """Send every open letter again, oldest first; how many, and the ids of those that cannot be."""
        tried, refused = 0, []
        portion: list[tuple[DeadLetter, Record]] = []
        held = 0
        async with self._lock, self._reading(None) as consumer, producing(self._settings) as producer:
            async for one in self._fetch(consumer, self._open(code)):
                tried += 1
                try:
                    portion.append((one.letter, sendable(one.letter)))
                    held += _size(one)
                except NotReplayable:
                    refused.append(one.id)
                if len(portion) >= PORTION or held >= LONGEST_LIST:
                    refused += await again(producer, portion)
                    portion, held = [], 0
            refused += await again(producer, portion)
        return tried - len(refused), refused

    async def drop(self, letter_id: str) -> Letter:
        """Mark the letter as done with. Raises NoSuchLetter."""
        async with self._lock, self._reading(None) as consumer:
            one = await self._one(consumer, letter_id)
        async with producing(self._settings) as producer:
            await mark(producer, [(identity(one.id), one.letter.partition)], Standing.DROPPED)
        return msgspec.structs.replace(one, status=Standing.DROPPED)

    async def drop_all(self, code: str | None = None) -> int:
        """Mark every open letter as done with; how many."""
        async with self._lock, self._reading(None):
            keys = [(name, one.partition) for name, one in self._places.items() if _is_open(one, code)]
        async with producing(self._settings) as producer:
            for start in range(0, len(keys), PORTION):
                await mark(producer, keys[start : start + PORTION], Standing.DROPPED)
        return len(keys)

    def _open(self, code: str | None) -> list[Place]:
        return [one for one in self._places.values() if _is_open(one, code)]

    async def _one(self, consumer: AIOKafkaConsumer, letter_id: str) -> Letter:
        place = self._places.get(identity(letter_id))
        async for found in self._fetch(consumer, [place] if place else []):
            return found
        raise NoSuchLetter(f"there is no dead letter {letter_id[:80]}")

    # ── the topic ────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _reading(self, progress: Progress | None) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer at hand, and the index up to the end that is seen now."""
        try:
            async with reading.reading(self._settings, "snacks-letters") as consumer:
                found = await reading.spans(consumer, [DEAD_LETTERS], range(self._settings.partitions))
                starts = {span[0]: self._start(*span) for span in found}
                total, done = sum(end - starts[source] for source, _, end in found), 0
                for source, _, end in found:
                    async for record in reading.records(consumer, source, starts[source], end):
                        self._note(record)
                        done += 1
                        if progress and not done % PORTION:
                            progress(done, total)
                    self._next[source.partition] = end
                yield consumer
        except (KafkaError, TimeoutError, OSError) as error:
            raise LettersUnavailable(
                f"the dead letters cannot be read or written: {error!r}"[:300]
            ) from error

    def _start(self, source: TopicPartition, begin: int, end: int) -> int:
        """Where to read on; from the beginning if the topic was made anew since."""
        known = self._next.get(source.partition, begin)
        if begin <= known <= end:
            return known
        self._places = {k: one for k, one in self._places.items() if one.partition != source.partition}
        return begin

    def _note(self, record: ConsumerRecord) -> None:
        name, headers = record.key.decode(), dict(record.headers)
        status = headers.get(STATUS_HEADER)
        if status is None:
            code = headers.get(CODE_HEADER, b"other").decode()
            self._places[name] = Place(record.partition, record.offset, record.timestamp, code)
        elif name in self._places:
            place = self._places[name]
            self._places[name] = msgspec.structs.replace(place, status=Standing(status.decode()))

    async def _fetch(
        self,
        consumer: AIOKafkaConsumer,
        places: Iterable[Place],
        promising: Callable[[ConsumerRecord], bool] = lambda _: True,
    ) -> AsyncIterator[Letter]:
        """The letters at these places, oldest first in each partition, one at a time in memory."""
        by_partition: dict[int, dict[int, Place]] = {}
        for place in places:
            by_partition.setdefault(place.partition, {})[place.offset] = place
        for partition, wanted in sorted(by_partition.items()):
            source = TopicPartition(DEAD_LETTERS, partition)
            async for record in reading.records(consumer, source, min(wanted), max(wanted) + 1):
                found = wanted.get(record.offset)
                if found and promising(record):
                    letter = msgspec.json.decode(record.value, type=DeadLetter)
                    yield Letter(id_of(letter), found.status, letter)


def _is_open(place: Place, code: str | None, *, closed: bool = False) -> bool:
    return (closed or place.status is Standing.OPEN) and code in (None, place.code)


async def _bounded(letters: AsyncIterator[Letter], limit: int) -> list[Letter]:
    """The last `limit` of them, in their order; where that is too much, the oldest without their records."""
    found: dict[int, Letter] = {}
    whole: list[tuple[int, int, int]] = []
    number = held = 0
    async for one in letters:
        gone = found.pop(number - limit, None)
        held += _size(one) - (0 if gone is None else _size(gone))
        found[number] = one
        heapq.heappush(whole, (one.letter.set_aside, one.letter.offset, number))
        while held > LONGEST_LIST:
            _, _, oldest = heapq.heappop(whole)
            if oldest in found:
                held -= _size(found[oldest])
                bare = msgspec.structs.replace(found[oldest].letter, key=None, value=None)
                found[oldest] = msgspec.structs.replace(found[oldest], letter=bare, omitted=True)
        number += 1
    return list(found.values())


def _size(one: Letter) -> int:
    return len(one.letter.key or "") + len(one.letter.value or "")
