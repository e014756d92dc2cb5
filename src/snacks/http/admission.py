"""Who may follow the stream, and whose page may change something. There are no users: this is about browsers.

A browser sends requests here for any page that asks it to, and names the page's site in `Origin`: with each
WebSocket, and with each request that may change something. Other programs name none.
"""

import ipaddress
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import Headers
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.status_codes import HTTP_415_UNSUPPORTED_MEDIA_TYPE
from msgspec import Struct

from snacks.config import Settings
from snacks.http.errors import documented

WRONG_HOST = "Host is not a name of this server (SNACKS_ALLOWED_HOSTS)"
WRONG_ORIGIN = "Origin is another site (SNACKS_ALLOWED_ORIGINS)"
NOT_JSON_TYPE = "the content type must be application/json"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
STRANGER = documented("A page of another site", WRONG_ORIGIN, WRONG_HOST)
NOT_JSON = documented("The body is not application/json", NOT_JSON_TYPE)


class Admission(Struct, frozen=True):
    """Who is let in: clients that know us by a name of ours, from no page of a stranger's."""

    host: str
    hosts: tuple[str, ...]
    origins: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Admission":
        """As these settings say."""
        return cls(settings.host, settings.allowed_hosts, settings.allowed_origins)

    def problem(self, headers: Headers) -> str | None:
        """Why this request is refused, or None.

        The name keeps out pages that had their own name lead to us (DNS rebinding), the origin all other
        pages: a browser opens a WebSocket to anybody, without asking.
        """
        host = headers.get("host", "").lower()
        if not self._knows(_name_of(host)):
            return WRONG_HOST
        origin = headers.get("origin")
        ours = {f"http://{host}", f"https://{host}", *self.origins}
        return None if origin is None or origin in ours else WRONG_ORIGIN

    def guard(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Refuse a stranger's page what changes something. For the app's `guards`, so for every handler.

        What names no origin is a program, and may call us as it likes: `app` among containers.

        Raises:
            PermissionDeniedException: 403.
        """
        if connection.scope.get("method", "GET") in READING or "origin" not in connection.headers:
            return
        refusal = self.problem(connection.headers)
        if refusal is not None:
            raise PermissionDeniedException(refusal)

    def _knows(self, name: str) -> bool:
        if name in {"localhost", self.host.lower(), *(host.lower() for host in self.hosts)}:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def demand_json(headers: Headers) -> None:
    """Refuse a body of another type: one that calls itself JSON a page cannot send to another site unasked.

    Raises:
        HTTPException: 415.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(status_code=HTTP_415_UNSUPPORTED_MEDIA_TYPE, detail=NOT_JSON_TYPE)


def _name_of(host: str) -> str:
    """Without its port: `[::1]:8800` is `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
