"""How mysqld and mariadbd are called, for making their data folders and for running on them.

What is safe here is `kill -9` of the server, not loss of power: nothing is forced to disk (`nosync`,
`sync-binlog=0`), but every commit is handed to the kernel (`flush-log-at-trx-commit=2`), and the
doublewrite buffer stays on, as a kill can tear a page that is being written.
"""

import os
from pathlib import Path

from snacks.config import Settings

SAFE = ["--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M"]
UTF8 = ["--character-set-server=utf8mb4"]
SQL_FOLDER = "usr/share/mysql"


def environment(folder: Path) -> dict[str, str]:
    """Where the server in `folder` finds the libraries that came with it."""
    return {"LD_LIBRARY_PATH": str(folder / "extra")}


def program(db: str, folder: Path) -> Path:
    """The server's binary in its unpacked folder."""
    return folder / ("bin/mysqld" if db == "mysql" else "usr/sbin/mariadbd")


def base(db: str, folder: Path, data: Path) -> list[str | Path]:
    """The part of the command line that making a data folder and running on it share."""
    root = ["--user=root"] if os.geteuid() == 0 else []
    argv: list[str | Path] = [program(db, folder), "--no-defaults", *root, f"--datadir={data}", *SAFE, *UTF8]
    if db == "mysql":
        share = folder / "share"
        argv += [f"--basedir={folder}", f"--plugin-dir={folder}/lib/plugin", "--innodb-redo-log-capacity=64M"]
        argv += ["--performance-schema=OFF", "--secure-file-priv=NULL", "--mysqlx=OFF"]
    else:
        share = folder / SQL_FOLDER
        argv += [f"--basedir={folder}/usr", f"--plugin-dir={folder}/usr/lib/mysql/plugin"]
        argv += ["--innodb-log-file-size=16M"]
    return [*argv, f"--lc-messages-dir={share}", f"--character-sets-dir={share}/charsets"]


def serve(settings: Settings, folder: Path, data: Path) -> list[str | Path]:
    """The command line of the running server. Its socket is named within the data folder: never too long."""
    log = ["--server-id=1", "--log-bin=binlog", "--binlog-row-image=FULL", "--sync-binlog=0"]
    if settings.db == "mysql":
        log += ["--gtid-mode=ON", "--enforce-gtid-consistency=ON"]
    else:
        log += ["--binlog-format=ROW", "--gtid-strict-mode=ON"]
    return [
        *base(settings.db, folder, data),
        f"--bind-address={settings.host}",
        f"--port={settings.mysql_port}",
        f"--socket={settings.db}.sock",
        f"--pid-file={settings.db}.pid",
        "--skip-name-resolve",
        "--max-connections=100",
        *log,
    ]


def bootstrap_sql(folder: Path, users: str) -> str:
    """What makes MariaDB's system tables, then our users, on an empty data folder."""
    names = ["system_tables", "performance_tables", "system_tables_data"]
    scripts = [f"mysql_{name}.sql" for name in names] + [
        "maria_add_gis_sp_bootstrap.sql",
        "mysql_sys_schema.sql",
    ]
    head = "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
    head += "SET @current_hostname=NULL;\nSET @skip_auth_anonymous=1;\n"
    share = folder / SQL_FOLDER
    text = [head]
    for script in scripts:
        path = next(
            p for p in (share / script, share / script.replace("mysql_", "mariadb_", 1)) if p.exists()
        )
        text.append(path.read_text("utf-8"))
    return "\n".join([*text, users])
