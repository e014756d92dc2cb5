"""Send a dead letter's record again, and mark letters: what is written, and in which order."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from snacks.actors.closing import close_producer
from snacks.actors.dead_letters import DeadLetter, original
from snacks.cdc import CDC_TOPICS, table_of
from snacks.cdc.topics import DEAD_LETTERS
from snacks.config import Settings
from snacks.domain.cards import mask_cards

WAIT_SECONDS, STOP_SECONDS = 15.0, 5.0
"""How long the broker may take to start a producer, and to take a portion."""
PORTION = 500
"""Letters that are sent again, or marked, at once."""
LARGEST_REQUEST = 8 * 1024 * 1024
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
STATUS_HEADER = "status"
Record = tuple[bytes | None, bytes | None]
"""Key and value to send."""


class LettersUnavailable(Exception):  # noqa: N818  (a state, named like one)
    """The broker does not answer, or the dead-letter topic is not there."""


class NoSuchLetter(Exception):  # noqa: N818  (a fact, named like one)
    """No record was set aside under that id."""


class NotReplayable(Exception):  # noqa: N818  (a fact, named like one)
    """The record cannot be sent again as it is: the letter does not hold all of it, or it is too large."""


class Standing(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DROPPED = "dropped"


def id_of(letter: DeadLetter) -> str:
    """The id that people and URLs use."""
    return f"{table_of(letter.topic) or letter.topic}-{letter.partition}-{letter.offset}"


def identity(letter_id: str) -> str:
    """`topic/partition/offset` of an id. Raises NoSuchLetter for text that is no id."""
    name, *place = letter_id.rsplit("-", 2)
    if len(place) != 2 or not all(one.isascii() and one.isdecimal() for one in place):
        raise NoSuchLetter(f"{letter_id[:80]} is no id of a dead letter, such as payment-0-17")
    topic = next((topic for topic in CDC_TOPICS if table_of(topic) == name), name)
    return "/".join([topic, *place])


def sendable(letter: DeadLetter, value: bytes | None = None, key: bytes | None = None) -> Record:
    """Key and value to send again, edited or not. Raises NotReplayable, see `Letters.replay`."""
    if letter.truncated and value is None:
        raise NotReplayable(f"{id_of(letter)}: only the beginning of its record is kept; send an edited one")
    if "key" in letter.masked and key is None:
        raise NotReplayable(f"{id_of(letter)}: its key was masked, so its order is not known; give the key")
    edited = [
        None
        if part is None
        else mask_cards(part.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        for part in (key, value)
    ]
    kept = [original(part, encoded=letter.base64) for part in (letter.key, letter.value)]
    chosen = [new if new is not None else old for new, old in zip(edited, kept, strict=True)]
    return chosen[0], chosen[1]


async def again(producer: AIOKafkaProducer, letters: Sequence[tuple[DeadLetter, Record]]) -> list[str]:
    """Send, then mark what the broker took; the ids of what it refused as too large, which stays open.

    A crash in between leaves letters open that were sent, and a record twice changes nothing.

    Raises:
        KafkaError, TimeoutError: one was not taken for another reason; no such one is marked.
    """
    sent = [await _send(producer, letter, record) for letter, record in letters]
    async with asyncio.timeout(WAIT_SECONDS):
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
    by_letter = [(letter, outcome) for (letter, _), outcome in zip(letters, outcomes, strict=True)]
    taken = [letter for letter, outcome in by_letter if not isinstance(outcome, BaseException)]
    await mark(producer, [(identity(id_of(one)), one.partition) for one in taken], Standing.REPLAYED)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, TOO_LARGE):
            raise outcome
    return [id_of(letter) for letter, outcome in by_letter if isinstance(outcome, TOO_LARGE)]


async def _send(producer: AIOKafkaProducer, letter: DeadLetter, record: Record) -> asyncio.Future[object]:
    """Hand it to the producer; what comes of it. What is too large even for the producer fails there too."""
    key, value = record
    try:
        future: asyncio.Future[object] = await producer.send(
            letter.topic,
            value,
            key,
            partition=letter.partition,
            timestamp_ms=max(letter.timestamp, 0),
            headers=[("replayed", id_of(letter).encode())],
        )
    except TOO_LARGE as error:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(error)
    return future


async def mark(producer: AIOKafkaProducer, keys: Sequence[tuple[str, int]], status: Standing) -> None:
    """Say what became of letters, by identity and partition."""
    body = msgspec.json.encode({"status": status.value, "at": time.time_ns() // 1_000_000})
    headers = [(STATUS_HEADER, status.value.encode())]
    sent = [
        await producer.send(DEAD_LETTERS, body, name.encode(), partition=partition, headers=headers)
        for name, partition in keys
    ]
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*sent)


@asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer. Raises LettersUnavailable where the broker does not answer."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        client_id="snacks-letters",
        # Not idempotent: a refused record leaves a gap in the sequence, and the broker then refuses all that
        # follow in its partition. Order is kept all the same, and a record twice changes nothing.
        acks="all",
        max_request_size=LARGEST_REQUEST,
        request_timeout_ms=int(WAIT_SECONDS * 1000),
    )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await producer.start()
        yield producer
    except (KafkaError, TimeoutError, OSError) as error:
        raise LettersUnavailable(f"the broker does not take the records: {error!r}"[:300]) from error
    finally:
        await close_producer(producer, STOP_SECONDS)
