"""Every error of the app in one shape: `{"timestamp", "message"}`, never a value that was sent in."""

from datetime import UTC, datetime
from typing import Any

import structlog
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.status_codes import (
    HTTP_400_BAD_REQUEST,
    HTTP_500_INTERNAL_SERVER_ERROR,
    HTTP_503_SERVICE_UNAVAILABLE,
)
from litestar.types import ExceptionHandlersMap
from msgspec import Struct

from snacks.domain.cards import mask_cards
from snacks.domain.requests import Refused
from snacks.tables import Unavailable

log = structlog.get_logger(__name__)

HttpRequest = Request[Any, Any, State]
RETRY_AFTER = {"Retry-After": "2"}
AWAY = "MySQL does not answer; it is not known whether anything was written, please try again"
UNEXPECTED = "something went wrong on our side; the log says what"


class Problem(Struct, frozen=True):
    """What an error answers. `timestamp` is UTC, ISO 8601."""

    timestamp: str
    message: str


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response[Problem]:
    """An error's answer, stamped with the time."""
    content = Problem(datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), message)
    return Response(content, status_code=status, headers=headers)


def documented(description: str, *messages: str) -> ResponseSpec:
    """An error as the OpenAPI document shows it, with its messages as examples."""
    examples = [
        Example(summary=message, value={"timestamp": "2026-01-01T00:00:00.000Z", "message": message})
        for message in messages
    ]
    return ResponseSpec(Problem, generate_examples=False, description=description, examples=examples)


def refused(_request: HttpRequest, error: Refused) -> Response[Problem]:
    """A command that is not accepted: 400 with the rule it breaks."""
    return problem(HTTP_400_BAD_REQUEST, str(error))


def unavailable(_request: HttpRequest, _error: Unavailable) -> Response[Problem]:
    """MySQL is away: 503, and when to come again. `tables` has logged why."""
    return problem(HTTP_503_SERVICE_UNAVAILABLE, AWAY, RETRY_AFTER)


def http_error(request: HttpRequest, error: HTTPException) -> Response[Problem]:
    """Litestar's own errors: no such path, wrong method, body too large, not JSON."""
    if error.status_code >= HTTP_500_INTERNAL_SERVER_ERROR:
        return unexpected(request, error)
    return problem(error.status_code, mask_cards(error.detail), error.headers)


def unexpected(request: HttpRequest, error: Exception) -> Response[Problem]:
    """A defect: 500 and a plain message; the log has the exception."""
    log.error("unexpected error", method=request.method, path=request.url.path, exc_info=error)
    return problem(HTTP_500_INTERNAL_SERVER_ERROR, UNEXPECTED)


HANDLERS: ExceptionHandlersMap = {
    Refused: refused,
    Unavailable: unavailable,
    HTTPException: http_error,
    Exception: unexpected,
}
"""For Litestar's `exception_handlers`, on the app."""
