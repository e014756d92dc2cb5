"""Who may follow the stream. There are no users: this is about browsers, which come for any page."""

import ipaddress

from litestar.datastructures import Headers
from msgspec import Struct

from snacks.config import Settings
from snacks.http.errors import documented

WRONG_HOST = "Host is not a name of this server (SNACKS_ALLOWED_HOSTS)"
WRONG_ORIGIN = "Origin is another site (SNACKS_ALLOWED_ORIGINS)"
STRANGER = documented("A page of another site", WRONG_ORIGIN, WRONG_HOST)


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

    def _knows(self, name: str) -> bool:
        if name in {"localhost", self.host.lower(), *(host.lower() for host in self.hosts)}:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _name_of(host: str) -> str:
    """Without its port: `[::1]:8800` is `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
