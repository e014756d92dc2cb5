"""Every setting of the system, read once from the environment into one frozen struct.

A field `kafka_port` is the variable `SNACKS_KAFKA_PORT`. `docs/settings.md` lists them all; a test
holds that table to this file.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=1, le=65535)]
PREFIX = "SNACKS_"
CONNECTS_OWN = frozenset({"SNACKS_CDC_USER", "SNACKS_CDC_PASSWORD", "SNACKS_CDC_MONGO_URL"})
"""Logins for Kafka Connect alone: the configurations of its connectors refer to these variables."""

LISTS = frozenset({"http_ports", "allowed_hosts", "allowed_origins"})
"""The settings that hold several values, by comma."""


class SettingError(Exception):
    """A setting has a value that cannot be used; the message names the variable."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one process. Ports are the ancestor's unless moved; all waits are seconds."""

    # Where the servers listen. `port_offset` moves every default port below at once.
    port_offset: Annotated[int, Meta(ge=0, le=65535 - 27017)] = 0  # MongoDB's port is the highest
    host: str = "127.0.0.1"
    http_ports: tuple[Port, ...] = (8800, 8801, 8802, 3000)
    kafka_port: Port = 9092
    kafka_controller_port: Port = 9093
    connect_port: Port = 8083
    mysql_port: Port = 13306
    mongo_port: Port = 27017
    flink_port: Port = 8081
    flink_sql_port: Port = 8084
    flink_rpc_port: Port = 6123

    # How the app reaches them. Empty: the local platform's address, made from the ports above.
    kafka_bootstrap: str = ""
    connect_url: str = ""
    mysql_host: str = ""
    mysql_user: str = "snacks"
    mysql_password: str = "snacks"  # noqa: S105  (the loopback playground's; set your own elsewhere)
    mysql_database: str = "order-command-db"
    mysql_pool: Annotated[int, Meta(ge=1, le=500)] = 10
    mongo_url: str = ""
    mongo_database: str = "customer_order_db"
    flink_url: str = ""
    flink_sql_url: str = ""

    # Change data capture.
    db: Literal["mysql", "mariadb"] = "mysql"
    connector: str = "order-command-connector"
    cdc_mysql_host: str = ""  # as Kafka Connect sees MySQL; empty: the app's own view
    cdc_mysql_port: int = 0  # 0: the app's own view
    cdc_kafka_bootstrap: str = ""  # as Kafka Connect sees the broker; empty: the app's own view
    partitions: Annotated[int, Meta(ge=1, le=1000)] = 6

    # What folds the changes into orders.
    engine: Literal["actors", "flink"] = "actors"

    # The actors.
    group_id: str = "snacks-order-actors"
    static_member: bool = True  # come back to the same shards at once; named for host and first HTTP port
    session_timeout: Annotated[float, Meta(ge=1)] = 10.0
    commit_timeout: Annotated[float, Meta(gt=0)] = 10.0
    drain_timeout: Annotated[float, Meta(gt=0)] = 5.0
    stall_timeout: Annotated[float, Meta(gt=0)] = 30.0  # longer than the three above

    # Comparing orders with MySQL.
    reconcile_every: Annotated[float, Meta(ge=0)] = 60.0  # 0: the app takes no samples
    reconcile_sample: Annotated[int, Meta(ge=1, le=10_000)] = 200
    reconcile_settle: Annotated[float, Meta(gt=0, le=600)] = 3.0  # a change of MySQL is captured within it

    # The live stream.
    stream_connections: Annotated[int, Meta(ge=1)] = 6000  # subscribers of one process
    stream_finished: Annotated[int, Meta(ge=1000)] = 10_000  # shipped and deleted orders it remembers
    allowed_hosts: tuple[str, ...] = ()  # names that browsers may know us by, besides loopback and `host`
    allowed_origins: tuple[str, ...] = ()  # other sites whose pages we let in

    # The process.
    role: Literal["all", "http", "actors"] = "all"  # what it does; HTTP and folding scale apart
    log_format: Literal["auto", "console", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    # The platform without Docker.
    cache: str = ""  # downloads, shared by all checkouts; empty: ~/.cache/snacks-unlimited
    state: str = ".snacks"  # data, logs and run files of this checkout
    java: str = ""  # a Java 17 or newer; empty: that of JAVA_HOME or PATH if it will do, else fetched

    @property
    def kafka(self) -> str:
        """Bootstrap servers, `host:port[,host:port]`."""
        return self.kafka_bootstrap or f"{self.host}:{self.kafka_port}"

    @property
    def connect(self) -> str:
        """Base URL of Kafka Connect's REST interface, without a trailing slash."""
        return (self.connect_url or f"http://{self.host}:{self.connect_port}").rstrip("/")

    @property
    def flink(self) -> str:
        """Base URL of Flink's REST interface, without a trailing slash."""
        return (self.flink_url or f"http://{self.host}:{self.flink_port}").rstrip("/")

    @property
    def flink_sql(self) -> str:
        """Base URL of Flink's SQL gateway, without a trailing slash."""
        return (self.flink_sql_url or f"http://{self.host}:{self.flink_sql_port}").rstrip("/")

    @property
    def mysql(self) -> tuple[str, int]:
        """Host and port of MySQL."""
        return self.mysql_host or self.host, self.mysql_port

    @property
    def mongo(self) -> str:
        """MongoDB's connection string."""
        return self.mongo_url or f"mongodb://{self.host}:{self.mongo_port}/?directConnection=true"

    @property
    def cache_dir(self) -> Path:
        """Folder of downloads, outside the checkout, shared by all of them."""
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(self.cache or f"{base}/snacks-unlimited").expanduser().absolute()

    @property
    def state_dir(self) -> Path:
        """Folder of this checkout's data, logs and run files."""
        return Path(self.state).expanduser().absolute()


PORTS = (
    "kafka_port",
    "kafka_controller_port",
    "connect_port",
    "mysql_port",
    "mongo_port",
    "flink_port",
    "flink_sql_port",
    "flink_rpc_port",
)
"""The single-port settings that `port_offset` moves, besides `http_ports`."""


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from `SNACKS_*` variables.

    A port that is set by its own variable stays where it was put; the others move by `port_offset`.

    Raises:
        SettingError: a variable is unknown or its value cannot be used.
    """
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in (os.environ if environ is None else environ).items()
        if name.startswith(PREFIX) and value != "" and name not in CONNECTS_OWN
    }
    values: dict[str, object] = dict(given)
    for name in LISTS & given.keys():
        values[name] = [one.strip() for one in given[name].split(",")]
    settings = _convert(values)
    if settings.port_offset:
        moved: dict[str, object] = {
            name: getattr(settings, name) + settings.port_offset for name in PORTS if name not in given
        }
        if "http_ports" not in given:
            moved["http_ports"] = [port + settings.port_offset for port in settings.http_ports]
        settings = _convert(values | moved)
    return settings


def given(name: str) -> str:
    """The variable of a setting as it stands in the environment; empty where the default holds."""
    return os.environ.get(PREFIX + name.upper(), "")


def _convert(values: Mapping[str, object]) -> Settings:
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        text = str(error).removeprefix("Object contains ")
        for name in values:
            text = text.replace(f"$.{name}", PREFIX + name.upper()).replace(
                f"unknown field `{name}`", f"unknown setting {PREFIX}{name.upper()}"
            )
        raise SettingError(f"{text}. See docs/settings.md.") from error


def environment(settings: Settings) -> dict[str, str]:
    """The variables that make a child process load exactly these settings."""
    variables = {}
    for name, value in msgspec.structs.asdict(settings).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        variables[PREFIX + name.upper()] = text
    return variables
