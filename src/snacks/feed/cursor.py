"""A reader's place in the aggregate topic, as text that any process can resume from."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from msgspec import Struct

LONGEST = 16_384
"""Characters of a cursor that are looked at: enough for a thousand partitions."""


class Cursor(Struct, frozen=True, array_like=True):
    """Everything before `offsets` (the next one of each partition) was seen.

    `newest` is the highest record timestamp among what was seen, in milliseconds since 1970 UTC: a record
    that counts as seen but is newer lies in a topic that was made anew.
    """

    newest: int
    offsets: tuple[int, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Cursor)


def encode_cursor(newest: int, offsets: list[int]) -> str:
    """The cursor as text that is safe in a URL, a header and JSON."""
    return urlsafe_b64encode(_encoder.encode((newest, offsets))).rstrip(b"=").decode()


def decode_cursor(text: str) -> Cursor | None:
    """The cursor, or None if this is not one of ours."""
    if len(text) > LONGEST:
        return None
    try:
        cursor = _decoder.decode(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, msgspec.DecodeError):
        return None
    return None if min(cursor.offsets, default=0) < 0 else cursor
