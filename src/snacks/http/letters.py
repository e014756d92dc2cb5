"""Dead letters over HTTP: look at them, send them again, drop them."""

from typing import Annotated

from litestar import Response, Router, delete, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import (
    HTTP_200_OK,
    HTTP_404_NOT_FOUND,
    HTTP_409_CONFLICT,
    HTTP_503_SERVICE_UNAVAILABLE,
)
from msgspec import Struct

from snacks.domain.cards import mask_cards
from snacks.http.admission import NOT_JSON, STRANGER, demand_json
from snacks.http.errors import RETRY_AFTER, HttpRequest, Problem, documented, problem
from snacks.http.recent import Recent
from snacks.letters import Letter, Letters, LettersUnavailable, NoSuchLetter, NotReplayable

MOST = 1_000
BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of a request's body: the longest value that a letter keeps, with what JSON escapes in it."""
UNKNOWN = documented("No such letter", "there is no dead letter payment-0-17")
AWAY = documented("Try again after the seconds in Retry-After", "the dead letters cannot be read or written")
CONFLICT = documented(
    "The letter does not hold its whole record, or it is larger than its topic takes; the letter stays open",
    "payment-0-17: its key was masked, so its order is not known; give the key",
    "payment-0-17: its record of 1,200,000 bytes is larger than its topic takes; send a shorter one,"
    " or raise the topic's max.message.bytes",
)


class Edited(Struct, frozen=True, forbid_unknown_fields=True):
    """What to send instead of the original, as text; what is absent is sent as it was."""

    value: str | None = None
    key: str | None = None


class Counts(Struct, frozen=True):
    """Open letters by reason code, and all of them."""

    total: int
    reasons: dict[str, int]


class LetterCounts:
    """Counts that are at most some seconds old: asking often costs nothing."""

    def __init__(self, letters: Letters, keep: float = 5.0) -> None:
        self._letters = letters
        self.counts = Recent(self._count, keep)

    async def _count(self) -> Counts:
        reasons = await self._letters.counts()
        return Counts(sum(reasons.values()), reasons)


@get(
    "/",
    operation_id="listDeadLetters",
    summary="Records that were set aside, newest first",
    responses={400: documented("No such number", "limit must be from 1 to 1000"), 503: AWAY},
)
async def list_letters(
    letters: NamedDependency[Letters],
    reason: Annotated[str, QueryParameter(description="Only those with this reason code")] = "",
    limit: Annotated[int, QueryParameter(description=f"At most so many, up to {MOST}")] = 50,
    closed: Annotated[bool, QueryParameter(description="Also those replayed or dropped")] = False,  # noqa: FBT002  (a query parameter)
) -> list[Letter]:
    """The newest letters."""
    if not 1 <= limit <= MOST:
        raise ClientException(f"limit must be from 1 to {MOST}")
    return await letters.newest(limit, reason or None, closed=closed)


@get("/counts", operation_id="countDeadLetters", summary="Open letters by reason code", responses={503: AWAY})
async def count_letters(letter_counts: NamedDependency[LetterCounts]) -> Counts:
    """Counts, at most five seconds old."""
    return await letter_counts.counts()


@get(
    "/{letter_id:str}",
    operation_id="getDeadLetter",
    summary="One record that was set aside",
    responses={404: UNKNOWN, 503: AWAY},
)
async def get_letter(letters: NamedDependency[Letters], letter_id: FromPath[str]) -> Letter:
    """One letter, whole."""
    return await letters.get(letter_id)


@post(
    "/{letter_id:str}/replay",
    operation_id="replayDeadLetter",
    summary="Send the record to its topic again, edited or not",
    description="Its order's actor folds it like any other. Card numbers stay masked, also in an edited one.",
    status_code=HTTP_200_OK,
    responses={
        403: STRANGER,
        404: UNKNOWN,
        409: CONFLICT,
        413: documented(f"The body is over {BODY_LIMIT // 1024} KiB", "Request Entity Too Large"),
        415: NOT_JSON,
        503: AWAY,
    },
)
async def replay_letter(
    request: HttpRequest,
    letters: NamedDependency[Letters],
    letter_id: FromPath[str],
    data: JSONBody[Edited | None] = None,
) -> Letter:
    """Send again."""
    if await request.body():
        demand_json(request.headers)
    edited = data or Edited()
    value, key = (None if part is None else part.encode() for part in (edited.value, edited.key))
    return await letters.replay(letter_id, value, key)


@delete(
    "/{letter_id:str}",
    operation_id="dropDeadLetter",
    summary="Mark the letter as done with",
    description="It stays in the topic, marked, and is listed with `closed=true`.",
    status_code=HTTP_200_OK,
    responses={403: STRANGER, 404: UNKNOWN, 503: AWAY},
)
async def drop_letter(letters: NamedDependency[Letters], letter_id: FromPath[str]) -> Letter:
    """Drop."""
    return await letters.drop(letter_id)


def _away(_request: HttpRequest, error: Exception) -> Response[Problem]:
    return problem(HTTP_503_SERVICE_UNAVAILABLE, mask_cards(str(error)), RETRY_AFTER)


def _missing(_request: HttpRequest, error: Exception) -> Response[Problem]:
    return problem(HTTP_404_NOT_FOUND, mask_cards(str(error)))


def _conflict(_request: HttpRequest, error: Exception) -> Response[Problem]:
    return problem(HTTP_409_CONFLICT, mask_cards(str(error)))


router = Router(
    "/api/dead-letters",
    route_handlers=[list_letters, count_letters, get_letter, replay_letter, drop_letter],
    request_max_body_size=BODY_LIMIT,
    exception_handlers={LettersUnavailable: _away, NoSuchLetter: _missing, NotReplayable: _conflict},
    response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
    tags=["Operations"],
)
"""Needs the dependencies `letters: Letters` and `letter_counts: LetterCounts`."""
