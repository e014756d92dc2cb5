"""Whether a port is free, and who has it when it is not."""

import errno
import socket

import psutil

from snacks.config import PREFIX, Settings
from snacks.platform.errors import PlatformError

NEEDED = {
    "mongo_port": "MongoDB",
    "kafka_port": "Kafka",
    "kafka_controller_port": "Kafka's controller",
    "mysql_port": "MySQL or MariaDB",
    "connect_port": "Kafka Connect",
}
"""The settings of the ports that the platform listens on, and for which server."""
FLINK = {
    "flink_port": "Flink's job manager",
    "flink_rpc_port": "Flink's job manager",
    "flink_sql_port": "Flink's SQL gateway",
}
"""Those of the Flink engine."""


def check(settings: Settings) -> None:
    """Make sure that the servers can listen on all of their ports.

    Raises:
        PlatformError: one is taken, or may not be used; says which, by whom, and the setting that moves it.
    """
    needed = NEEDED | FLINK if settings.engine == "flink" else NEEDED
    for name, title in needed.items():
        port = getattr(settings, name)
        problem = _problem(settings.host, port)
        if problem:
            raise PlatformError(
                f"Port {port}, which {title} needs, {problem}.\nFree it, or move this one with "
                f"{PREFIX}{name.upper()}=<port>, or all with --port-offset <number> ({PREFIX}PORT_OFFSET)."
            )


def _problem(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"is taken{_holder(port)}"
            return f"cannot be used on {host} ({error.strerror})"
    return ""


def _holder(port: int) -> str:
    """` by NAME (process PID)` where the system tells. It may be an outgoing connection's own port."""
    try:
        users = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
        users.sort(key=lambda connection: connection.status != psutil.CONN_LISTEN)
        if users:
            what = "" if users[0].status == psutil.CONN_LISTEN else "an outgoing connection of "
            return f" by {what}{psutil.Process(users[0].pid).name()} (process {users[0].pid})"
    except (psutil.Error, OSError):
        pass
    return ""
