"""Dead letters: what they hold, reason codes, cutting, sending again."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hypothesis
import msgspec
import pytest
from aiokafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError
from hypothesis import strategies as st
from tests.given import EPOCH, PREFIX, Log

from snacks.actors.dead_letters import LONGEST_VALUE, DeadLetter, code_of, dead_letter, dead_letters
from snacks.cdc import Undecodable, decode
from snacks.cdc.topics import DEAD_LETTERS
from snacks.config import Settings
from snacks.letters import Letter, Letters, Standing, store
from snacks.letters.sending import NoSuchLetter, NotReplayable, again, id_of, identity, sendable

CARD = "4929381332664295"
MASKED = "****-****-****-4295"
WIDE = "".join(chr(0xFF10 + int(digit)) for digit in CARD)
TOPIC = f"{PREFIX}payment"


def letter_of(key: bytes | None, value: bytes | None, reason: str = "value: not JSON") -> DeadLetter:
    _, body, _ = dead_letter(Log().record(TOPIC, key, value), reason)
    return msgspec.json.decode(body, type=DeadLetter)


def test_a_letter_says_what_is_not_the_originals_and_whose_record_it_is() -> None:
    plain = letter_of(b'{"order_id":"kit-1"}', b"x")
    assert (plain.masked, plain.order_id, plain.value_bytes, plain.timestamp) == ((), "kit-1", 1, EPOCH)
    assert letter_of(None, CARD.encode()).masked == ("value",)
    assert letter_of(CARD.encode(), None).masked == ("key",)
    assert letter_of(CARD.encode(), None).value is None
    assert letter_of(b"kit-2", b"{}").order_id == "kit-2"
    assert letter_of(None, b'{"order_id": "k\\u0069t-3"}').order_id == "kit-3"
    assert letter_of(None, b"{}").order_id is None


def test_bytes_that_are_not_utf8_are_kept_as_base64_with_cards_hidden() -> None:
    one = letter_of(b"\xff", b"\xfe" + CARD.encode() + WIDE.encode())
    assert one.base64
    assert base64.b64decode(one.key or "") == b"\xff"
    value = base64.b64decode(one.value or "")
    assert value.startswith(b"\xfe****")
    assert CARD.encode() not in value


PARTS = st.sampled_from(
    [
        b'{"order_id":"',
        b'"order_id"',
        b":",
        b'"',
        b"\\u",
        b"d800",
        b"\xff",
        b"caf\xe9",
        b"\\",
        b"12",
        b"}",
        b"\x00",
    ]
)
BYTES = st.none() | st.lists(PARTS | st.binary(max_size=3), max_size=12).map(b"".join)


@hypothesis.given(key=BYTES, value=BYTES)
@hypothesis.example(key=None, value=b'{"order_id":"abc\xff","item_id":"1"}')
@hypothesis.example(key=b'{"order_id":"k\xff"}', value=None)
@hypothesis.example(key=b'{"order_id":"caf\xe9"}', value=b'{"order_id":"caf\xe9"}')
def test_any_bytes_become_a_letter(key: bytes | None, value: bytes | None) -> None:
    """One that could not be written would stop its partition for ever."""
    one = letter_of(key, value)
    assert (one.key is None, one.value is None) == (key is None, value is None)


async def test_each_letter_is_a_step() -> None:
    steps: list[int] = []
    refused = [(Log().record(TOPIC, None, b"x"), "value: not JSON")] * 3
    await dead_letters(refused, lambda: steps.append(1))
    assert len(steps) == 3


def test_a_value_that_is_too_long_is_cut_with_its_size_said_and_never_within_a_card() -> None:
    filler = b"x" * (LONGEST_VALUE - 8)
    one = letter_of(None, filler + CARD.encode() + b"tail")
    assert one.truncated
    assert one.value_bytes == len(filler) + 20
    assert (one.value or "").strip("x") == ""
    with pytest.raises(NotReplayable, match="beginning"):
        sendable(one)
    assert sendable(one, b"{}") == (None, b"{}")


def test_the_worst_record_still_fits_the_topic() -> None:
    _, body, _ = dead_letter(Log().record(TOPIC, b"\x00" * 70_000, b"\x00" * 2_000_000), "value: not JSON")
    assert len(body) < 8_388_608


@asynccontextmanager
async def turning() -> AsyncIterator[Callable[[], int]]:
    """How often the loop has turned meanwhile."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    yield lambda: turns
    task.cancel()


async def test_the_loop_turns_while_letters_of_a_megabyte_are_made() -> None:
    record = Log().record(TOPIC, None, b"9 " * (LONGEST_VALUE // 2))
    async with turning() as turns:
        letters = await dead_letters([(record, "value: not JSON")] * 2)
        assert turns() > 2
    assert len(letters) == 2


async def test_the_loop_turns_while_an_edited_record_of_a_megabyte_is_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = []

    @asynccontextmanager
    async def nothing(_: Any) -> AsyncIterator[None]:
        yield None

    async def one(*_: Any) -> Letter:
        return Letter("payment-0-0", Standing.OPEN, letter_of(None, b"x"))

    async def again(_: None, letters: list[tuple[DeadLetter, tuple[bytes, bytes]]]) -> list[str]:
        sent.extend(letters)
        return []

    monkeypatch.setattr(Letters, "_reading", lambda _, progress: nothing(progress))
    monkeypatch.setattr(Letters, "_one", one)
    monkeypatch.setattr(store, "producing", nothing)
    monkeypatch.setattr(store, "again", again)
    async with turning() as turns:
        await Letters(Settings()).replay("payment-0-0", f"{CARD} ".encode() + b"9 " * (LONGEST_VALUE // 2))
        assert turns() > 2
    assert sent[0][1][1].startswith(b"****")


def test_a_letter_is_sent_again_as_it_was_or_edited_and_always_masked() -> None:
    one = letter_of(b"kit-1", b"\xff\x00")
    assert sendable(one) == (b"kit-1", b"\xff\x00")
    assert sendable(one, CARD.encode()) == (b"kit-1", MASKED.encode())
    masked = letter_of(CARD.encode(), b"{}")
    with pytest.raises(NotReplayable, match="key"):
        sendable(masked)
    assert sendable(masked, None, b"kit-9") == (b"kit-9", b"{}")


class Broker:
    """A producer whose broker refuses some values, each with its error; what it took, by topic."""

    def __init__(self, **refusing: KafkaError) -> None:
        self.refusing = refusing
        self.took: list[tuple[str, bytes]] = []

    async def send(self, topic: str, value: bytes, key: bytes, **_: Any) -> asyncio.Future[None]:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        error = self.refusing.get(value.decode())
        if error:
            told.set_exception(error)
        else:
            self.took.append((topic, key if topic == DEAD_LETTERS else value))
            told.set_result(None)
        return told

    async def flush(self) -> None:
        """As aiokafka's: it ends well whatever became of the records."""


async def test_only_what_the_broker_took_is_marked_as_sent_again() -> None:
    records = [letter_of(None, value) for value in (b"a", b"big", b"c")]
    letters = [
        (msgspec.structs.replace(one, offset=offset), sendable(one)) for offset, one in enumerate(records)
    ]
    broker: Any = Broker(big=MessageSizeTooLargeError())
    assert await again(broker, letters) == ["payment-0-1"]
    marks = [(DEAD_LETTERS, f"{TOPIC}/0/{offset}".encode()) for offset in (0, 2)]
    assert broker.took == [(TOPIC, b"a"), (TOPIC, b"c"), *marks]
    broker = Broker(big=InvalidTimestampError())
    with pytest.raises(InvalidTimestampError):
        await again(broker, letters)
    assert broker.took == [(TOPIC, b"a"), (TOPIC, b"c"), *marks]


def test_an_id_names_one_record() -> None:
    one = letter_of(None, b"x")
    assert id_of(one) == "payment-0-0"
    assert identity("payment-0-0") == f"{TOPIC}/0/0"
    for wrong in ("", "payment", "payment-0", "payment-0-x", "payment-0--1", "0"):
        with pytest.raises(NoSuchLetter):
            identity(wrong)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (None, b"", "empty"),
        (None, b"not json", "not-json"),
        (None, b"\xff", "not-json"),
        (None, b"[" * 100_000, "not-json"),
        (None, b"[]", "not-an-object"),
        (None, b"{}", "no-id"),
        (b"[]", {}, "bad-key"),
        (b"other", {}, "key-mismatch"),
        (None, {"order_id": True}, "bad-id"),
        (None, b'{"order_id":"a","order_id":"b"}', "repeated-id"),
        (None, {"amount": "x"}, "bad-amount"),
        (None, {"currency": "EUR"}, "bad-currency"),
        (None, {"__source_ts_ms": "x"}, "bad-source"),
        (None, {"__deleted": "x"}, "bad-envelope"),
        (None, b'{"op":"x","after":{}}', "bad-envelope"),
    ],
)
def test_a_reason_has_a_short_stable_code(key: bytes | None, value: Any, code: str) -> None:
    row = {"order_id": "kit-1", "payment_type": "a", "credit_card_type": "b", "credit_card_number": "1"}
    row |= {"amount": "1.00", "currency": "USD"}
    body = value if isinstance(value, bytes) else json.dumps(row | value).encode()
    with pytest.raises(Undecodable) as refused:
        decode("payment", key, body, EPOCH)
    assert code_of(str(refused.value)) == code


def test_reasons_of_the_fold_have_codes_too() -> None:
    assert code_of("payment lacks amount and no earlier row is known") == "partial-row"
    assert (
        code_of("order kit-1 lives in partition 2, but this record came in partition 1") == "wrong-partition"
    )
    assert code_of("something new") == "other"
