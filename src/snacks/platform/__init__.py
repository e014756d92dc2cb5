"""The real servers without Docker: Kafka, Kafka Connect with Debezium, MySQL or MariaDB, MongoDB.

`running` gives a platform for as long as a context lasts; `up` and `down` one in the background. Both
fetch what is missing first, into a cache that all checkouts share.
"""

from snacks.platform.detached import down, reset, up
from snacks.platform.errors import PlatformError
from snacks.platform.fetch import fetch
from snacks.platform.local import Platform, running
from snacks.platform.process import log_tail
from snacks.platform.state import Run, ServerStatus, live, log_path, status

__all__ = [
    "Platform",
    "PlatformError",
    "Run",
    "ServerStatus",
    "down",
    "fetch",
    "live",
    "log_path",
    "log_tail",
    "reset",
    "running",
    "status",
    "up",
]
