"""A record that means nothing to us, set aside so that a person can read it and the partition goes on."""

import asyncio
import base64
import re
import time
from collections.abc import Callable, Iterable

import msgspec
from aiokafka import ConsumerRecord
from msgspec import Struct

from snacks.cdc.columns import COLUMNS, KEYS
from snacks.domain.cards import mask_cards

LONGEST_VALUE = 1_048_576
LONGEST_KEY = 65_536
"""Bytes of a record that a letter keeps. Six times as many, as JSON may need, still fit the topic."""
LONGEST_REASON = 1_000
UNSURE = 256
"""Characters before a cut that are not shown."""
CODE_HEADER = "code"

DeadEntry = tuple[bytes, bytes, tuple[tuple[str, bytes], ...]]
"""A letter as it is written: key, value, headers."""

_COLUMN = "|".join(sorted({column.name for columns in COLUMNS.values() for column in columns}))
_ID = "|".join(sorted({name for names in KEYS.values() for name in names}))
CODES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern))
    for code, pattern in (
        ("empty", r"value: zero bytes"),
        ("key-mismatch", r"(key and value|before and after) name different rows"),
        ("wrong-partition", r"order .* lives in partition"),
        ("partial-row", r"\w+ lacks .* no earlier row is known"),
        ("bad-key", r"key\b"),
        ("no-id", rf"value: no (?:{_ID})|(?:{_ID}): absent"),
        ("repeated-id", rf"(?:{_ID}): given more than once"),
        ("bad-id", rf"(?:{_ID}): "),
        (r"bad-\g<column>", rf"(?P<column>{_COLUMN}): "),
        ("bad-source", r"source\b|(?:__source_\w+|ts_ms|pos|file|record timestamp): "),
        ("bad-envelope", r"(?:op|__op|__deleted|__repair|before|after): "),
        ("not-an-object", r"value: got .*, not an object"),
        ("not-json", r"value: "),
    )
)
"""Reason codes, and the reasons that each stands for; the first that fits counts, else `other`."""


class DeadLetter(Struct, frozen=True, kw_only=True, rename="camel"):
    """The value in `snacks-dead-letters`; its Kafka key is `topic/partition/offset`, the record's identity.

    `key` and `value` are the record's, as text with card numbers hidden; base64 of that where they are
    not UTF-8. `timestamp` (the record's) and `set_aside` are milliseconds since 1970 UTC. `masked`: not
    the original's bytes, since a card number was hidden in `key` or `value`. `truncated`: only the
    beginning of the value is kept, `value_bytes` says how long it was.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    reason: str
    code: str = "other"
    set_aside: int = 0
    order_id: str | None = None
    key: str | None = None
    value: str | None = None
    base64: bool = False
    masked: tuple[str, ...] = ()
    truncated: bool = False
    value_bytes: int = 0


def code_of(reason: str) -> str:
    """The short, stable code of a reason, for counting: `not-json`, `bad-item_status`, ..., or `other`."""
    for code, pattern in CODES:
        match = pattern.match(reason)
        if match:
            return match.expand(code)
    return "other"


def identity_of(topic: str, partition: int, offset: int) -> str:
    """What makes a record set aside once: where it lay."""
    return f"{topic}/{partition}/{offset}"


def dead_letter(record: ConsumerRecord, reason: str) -> DeadEntry:
    """The record's entry for the dead-letter topic: key, value, headers."""
    plain = {"key": _text(record.key, LONGEST_KEY), "value": _text(record.value, LONGEST_VALUE)}
    shown = {name: None if text is None else mask_cards(text) for name, text in plain.items()}
    cut = [len(record.key or b"") > LONGEST_KEY, len(record.value or b"") > LONGEST_VALUE]
    for name, over in zip(shown, cut, strict=True):
        if over:  # the cut may have gone through a card number, whose rest is then not known as one
            shown[name] = (shown[name] or "")[:-UNSURE]
            plain[name] = (plain[name] or "")[:-UNSURE]
    is_text = all(text is None or _is_utf8(text) for text in shown.values())
    kept = shown if is_text else {name: _base64(text) for name, text in shown.items()}
    code = code_of(reason)
    letter = DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        code=code,
        reason=mask_cards(reason)[:LONGEST_REASON],
        set_aside=time.time_ns() // 1_000_000,
        order_id=_order_id(shown["key"], shown["value"]),
        key=kept["key"],
        value=kept["value"],
        base64=not is_text,
        masked=tuple(name for name in plain if shown[name] != plain[name]),
        truncated=any(cut),
        value_bytes=len(record.value or b""),
    )
    identity = identity_of(record.topic, record.partition, record.offset)
    return identity.encode(), msgspec.json.encode(letter), ((CODE_HEADER, code.encode()),)


async def dead_letters(
    refused: Iterable[tuple[ConsumerRecord, str]], step: Callable[[], None] = lambda: None
) -> list[DeadEntry]:
    """The entries of these records, each with its reason. `step` is called after each: many take long.

    Made in a thread: to look through a megabyte takes about a second, and the loop has heartbeats to send.
    """
    letters = []
    for record, reason in refused:
        letters.append(await asyncio.to_thread(dead_letter, record, reason))
        step()
    return letters


def original(text: str | None, *, encoded: bool) -> bytes | None:
    """The bytes that a letter's key or value stands for. Raises ValueError for text that is no base64."""
    if text is None:
        return None
    return base64.b64decode(text, validate=True) if encoded else text.encode()


def _text(part: bytes | None, longest: int) -> str | None:
    """The beginning as text. Escapes keep what is not UTF-8: digits are hidden before base64 hides them."""
    return None if part is None else part[:longest].decode("utf-8", "surrogateescape")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(text: str | None) -> str | None:
    return None if text is None else base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


_ORDER = re.compile(r'"order_id"\s*:\s*("(?:[^"\\]|\\.){0,300}"|\d{1,20})')


def _order_id(key: str | None, value: str | None) -> str | None:
    """Whose record it seems to be; None if it does not say."""
    for text in (key, value):
        found = _ORDER.search(text or "")
        if found:
            try:
                return str(msgspec.json.decode(found[1]))
            except (msgspec.MsgspecError, UnicodeEncodeError):  # the latter: it is not UTF-8
                continue
    bare = (key or "").strip()
    return bare if bare and bare[0] not in '{["' and len(bare) <= 64 and _is_utf8(bare) else None
