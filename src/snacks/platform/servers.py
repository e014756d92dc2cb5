"""The servers of the platform: how each is called, when it may start, and how it is asked for its health."""

import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from snacks.config import Settings
from snacks.platform import databases, health
from snacks.platform.errors import PlatformError
from snacks.platform.fetch import Installed
from snacks.platform.install import JVM, conf
from snacks.platform.progress import megabytes

Ready = Callable[[Settings], Awaitable[None]]
OPENED = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        *("java.io", "java.lang", "java.lang.reflect", "java.net", "java.nio", "java.text", "java.time"),
        *("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"),
        "sun.nio.ch",
    )
]
"""What Flink's serializers look into."""


class Server(Struct, frozen=True, kw_only=True):
    """One server of the platform."""

    name: str
    title: str
    argv: list[str | Path]
    port: int
    """Where it listens; 0: where the system lets it, and it tells who needs to know."""
    ready: Ready
    before_stop: Callable[[Settings], Awaitable[None]] | None = None
    """Makes stopping quick; may fail."""
    prepare: Callable[[], None] = lambda: None
    after: tuple[str, ...] = ()
    env: dict[str, str] = {}
    grace: float = 20.0
    """Seconds from SIGTERM to SIGKILL."""
    archive: tuple[Path, Path] | None = None
    """A class-data archive to be written when the server ends: where it writes it, where it is kept."""


def servers(settings: Settings, installed: Installed) -> list[Server]:
    """All servers, in the order in which they start."""
    data, run = settings.state_dir / "data", settings.state_dir / "run"
    return [
        _mongod(settings, installed, data / "mongod"),
        _kafka(settings, installed, data / "kafka", run),
        _database(settings, installed, data / settings.db),
        _connect(settings, installed, run),
        *(_flink(settings, installed.flink, installed, data / "flink", run) if installed.flink else []),
    ]


def _mongod(settings: Settings, installed: Installed, data: Path) -> Server:
    return Server(
        name="mongod",
        title="MongoDB",
        argv=[
            installed.mongod / "mongod",
            *("--dbpath", data, "--port", str(settings.mongo_port), "--bind_ip", settings.host),
            *("--replSet", health.REPLICA_SET, "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false", "--nounixsocket"),
        ],
        port=settings.mongo_port,
        ready=health.mongo,
        prepare=lambda: data.mkdir(parents=True, exist_ok=True),
        env=databases.environment(installed.mongod),
    )


def _kafka(settings: Settings, installed: Installed, data: Path, run: Path) -> Server:
    properties = run / "kafka.properties"

    def prepare() -> None:
        _copy(installed.kafka_template, data)
        text = conf(
            "kafka.properties",
            host=settings.host,
            reach=health.reach(settings),
            port=settings.kafka_port,
            controller_port=settings.kafka_controller_port,
            partitions=settings.partitions,
            data=data,
        )
        properties.write_text(text, "utf-8")

    flags, archive = _class_data("kafka", installed, installed.kafka, run)
    return Server(
        name="kafka",
        title="Kafka",
        argv=[*_java(installed, run, "-Xmx192m", *flags), f"{installed.kafka}/*", "kafka.Kafka", properties],
        port=settings.kafka_port,
        ready=health.kafka,
        prepare=prepare,
        archive=archive,
    )


def _database(settings: Settings, installed: Installed, data: Path) -> Server:
    return Server(
        name="database",
        title="MySQL" if settings.db == "mysql" else "MariaDB",
        argv=databases.serve(settings, installed.database, data),
        port=settings.mysql_port,
        ready=health.database,
        before_stop=health.end_binlog_readers,
        prepare=lambda: _copy(installed.database_template, data),
        env=databases.environment(installed.database),
    )


def _connect(settings: Settings, installed: Installed, run: Path) -> Server:
    properties = run / "connect.properties"

    def prepare() -> None:
        text = conf(
            "connect.properties",
            bootstrap=f"{health.reach(settings)}:{settings.kafka_port}",
            host=settings.host,
            reach=health.reach(settings),
            port=settings.connect_port,
            plugins=",".join(str(folder) for folder in (installed.plugins, installed.mongo_sink) if folder),
        )
        properties.write_text(text, "utf-8")

    flags, archive = _class_data("connect", installed, installed.connect, run)
    main = "org.apache.kafka.connect.cli.ConnectDistributed"
    return Server(
        name="connect",
        title="Kafka Connect",
        argv=[*_java(installed, run, "-Xmx256m", *flags), f"{installed.connect}/*", main, properties],
        port=settings.connect_port,
        ready=health.connect,
        prepare=prepare,
        after=("kafka",),
        # A rebalance just then makes Connect miss its SIGTERM. It keeps nothing itself: do not wait for long,
        # except for the class-data archive that it writes at its first end.
        grace=20.0 if archive else 5.0,
        env={
            "SNACKS_CDC_USER": "debezium",  # made by conf/*-init.sql
            "SNACKS_CDC_PASSWORD": "dbz",
            "SNACKS_CDC_MONGO_URL": f"mongodb://{health.reach(settings)}:{settings.mongo_port}/?directConnection=true",
        },
        archive=archive,
    )


def _flink(settings: Settings, jars: Path, installed: Installed, data: Path, run: Path) -> list[Server]:
    """A standalone cluster of a job manager and a task manager, and the gateway that takes SQL for it."""
    folder = run / "flink"

    def prepare() -> None:
        (data / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        text = conf(
            "flink.yaml",
            host=settings.host,
            reach=health.reach(settings),
            port=settings.flink_port,
            rpc_port=settings.flink_rpc_port,
            sql_port=settings.flink_sql_port,
            temporary=folder / "tmp",
            checkpoints=data / "checkpoints",
        )
        (folder / "config.yaml").write_text(text, "utf-8")

    def server(name: str, title: str, port: int, main: str, ready: Ready, *flags: str) -> Server:
        flags_archive, archive = _class_data(name, installed, jars, run)
        temporary = f"-Djava.io.tmpdir={folder / 'tmp'}"
        arguments: list[str | Path] = [] if name == "flink-sql" else ["--configDir", folder]
        return Server(
            name=name,
            title=title,
            argv=[
                *_java(installed, run, *flags, *OPENED, temporary, *flags_archive),
                f"{jars}/*",
                f"org.apache.flink.{main}",
                *arguments,
            ],
            port=port,
            ready=ready,
            prepare=prepare,
            after=() if name == "flink" else ("flink",),
            grace=20.0 if archive else 5.0,
            env={"FLINK_CONF_DIR": str(folder)},
            archive=archive,
        )

    return [
        server(
            "flink",
            "Flink's job manager",
            settings.flink_port,
            "runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            health.flink,
            "-Xmx128m",
        ),
        server(
            "flink-tasks",
            "Flink's task manager",
            0,
            "runtime.taskexecutor.TaskManagerRunner",
            health.flink_tasks,
            "-Xmx256m",
            "-XX:MaxDirectMemorySize=96m",
        ),
        server(
            "flink-sql",
            "Flink's SQL gateway",
            settings.flink_sql_port,
            "table.gateway.SqlGateway",
            health.flink_sql,
            "-Xmx192m",
        ),
    ]


def _java(installed: Installed, run: Path, *flags: str) -> list[str | Path]:
    log = run / "log4j2.properties"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(conf("log4j2.properties"), "utf-8")
    return [installed.java.path, *JVM, *flags, f"-Dlog4j2.configurationFile={log}", "-cp"]


def _class_data(
    name: str, installed: Installed, jars: Path, run: Path
) -> tuple[list[str], tuple[Path, Path] | None]:
    """Use the archive of loaded classes, a second saved at each start; have it written at the first end."""
    kept = installed.cache / "cds" / f"{jars.name}-{installed.java.key}.jsa"
    if kept.exists():
        return [f"-XX:SharedArchiveFile={kept}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"], None
    written = run / f"{name}.jsa"
    return [f"-XX:ArchiveClassesAtExit={written}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"], (written, kept)


def _copy(template: Path, data: Path) -> None:
    """Begin a data folder from its template; one that is there is kept. Half a copy is never used."""
    if data.exists():
        return
    half = data.with_name(data.name + ".new")
    shutil.rmtree(half, ignore_errors=True)
    half.parent.mkdir(parents=True, exist_ok=True)
    copy: list[str | Path] = ["cp", "--archive", "--no-preserve=ownership", "--reflink=auto", template, half]
    done = subprocess.run(copy, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        free = shutil.disk_usage(half.parent).free
        raise PlatformError(
            f"Could not begin the data folder {data} ({megabytes(free)} free there): {done.stderr.strip()}\n"
            "Free some room, or move the data with SNACKS_STATE."
        )
    half.rename(data)
