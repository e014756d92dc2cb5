"""A record that means nothing to us, set aside so that a person can read it and the partition goes on."""

import base64

import msgspec
from aiokafka import ConsumerRecord
from msgspec import Struct

from snacks.domain.values import mask_cards


class DeadLetter(Struct, frozen=True, rename="camel"):
    """The value in `snacks-dead-letters`; its key is `topic/partition/offset`, the record's identity.

    `key` and `value` are the record's, as text with card numbers masked; base64 where they are not
    UTF-8. `timestamp` is the record's, in milliseconds since 1970 UTC.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    reason: str
    key: str | None
    value: str | None
    base64: bool = False


def dead_letter(record: ConsumerRecord, reason: str) -> tuple[bytes, bytes]:
    """The record's entry for the dead-letter topic."""
    text, encoded = True, [record.key, record.value]
    try:
        shown = [None if part is None else mask_cards(part.decode()) for part in encoded]
    except UnicodeDecodeError:
        text = False
        # Latin-1 keeps every byte, so that digits are seen and masked before the encoding hides them.
        shown = [
            None
            if part is None
            else base64.b64encode(mask_cards(part.decode("latin-1")).encode("latin-1")).decode()
            for part in encoded
        ]
    letter = DeadLetter(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        mask_cards(reason),
        shown[0],
        shown[1],
        base64=not text,
    )
    identity = f"{record.topic}/{record.partition}/{record.offset}"
    return identity.encode(), msgspec.json.encode(letter)
