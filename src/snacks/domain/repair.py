"""How a repair of one row is decided on: on the row that the actor held then, and on nothing later."""

from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

HIGHEST_RAISE = 2**53
"""The most that one repair may raise a revision by: whole numbers up to it are exact in every JSON reader."""


class Repair(Struct, frozen=True, forbid_unknown_fields=True):
    """The field `__repair` of a CDC record that `snacks reconcile` or `snacks rebuild` wrote.

    `held` is the digest of the row that the actor held when the repair was decided on; if it holds
    another one by now, the repair comes too late and says nothing. `raise_by` is added to the order's
    revision, so that a document with a revision that was set by hand is older than the repaired one.
    `publish` false: the topic is right already, only the document is written again. `seen`: see
    `domain.order.Kept`.
    """

    held: Annotated[str, Meta(max_length=16)]
    raise_by: Annotated[int, Meta(ge=0, le=HIGHEST_RAISE)] = 0
    publish: bool = True
    seen: Annotated[int, Meta(ge=0)] = 0


def digest(kept: Any) -> str:
    """A short digest of a row with its time and position; empty for one that is not there, or was deleted.

    Whether a deleted row is still remembered depends on when the order was forgotten: it must not count.
    """
    return (
        ""
        if kept is None or kept.row is None
        else blake2b(msgspec.json.encode(kept), digest_size=8).hexdigest()
    )
