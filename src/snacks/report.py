"""Tables for a terminal, and the same as JSON for programs."""

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from snacks import platform
from snacks.cdc.connector import ConnectorStatus
from snacks.cdc.topics import TopicStatus
from snacks.config import Settings
from snacks.platform import ServerStatus

MEGABYTE = 1_000_000
COLOURS = {"running": "green", "ready": "green", "stopped": "dim", "not running": "dim"}
TARGET_MEMORY = 900
"""Megabytes that all servers and the app may take together."""
TARGET_START = 15
"""Seconds that a cold start of the servers may take, downloads aside."""


def servers_table(
    settings: Settings, servers: list[ServerStatus], console: Console, *, as_json: bool
) -> None:
    """Each server and the app: state, port, pid, memory (RSS), start seconds."""
    rows = [*map(msgspec.structs.asdict, servers), _app(settings)]
    if as_json:
        console.print_json(msgspec.json.encode(rows).decode())
        return
    columns = [Column(name, no_wrap=True) for name in ("server", "state", "port", "pid", "memory", "start")]
    table = Table(*columns, "detail")
    for row in rows:
        colour = COLOURS.get(row["state"], "yellow")
        table.add_row(
            row["title"],
            f"[{colour}]{row['state']}[/]",
            str(row["port"] or ""),
            str(row["pid"] or ""),
            f"{row['rss'] / MEGABYTE:.0f} MB" if row["rss"] else "",
            f"{row['start_seconds']:.1f} s" if row["start_seconds"] else "",
            escape(f"{row['restarts']} restarts. " * bool(row["restarts"]) + row["detail"]),
        )
    console.print(table)
    run = platform.live(settings)
    if run and run.seconds:
        console.print(f"The servers came up in {run.seconds:.1f} s (target: within {TARGET_START} s).")
    memory = sum(row["rss"] for row in rows) / MEGABYTE
    if memory:
        console.print(f"Memory of all together: {memory:.0f} MB (target: below {TARGET_MEMORY} MB).")
    letters = letters_line(settings)
    if letters:
        console.print(letters, markup=False)


def letters_line(settings: Settings) -> str:
    """The open dead letters by reason, as the app counts them; empty if it does not answer."""
    url = f"http://{settings.host}:{settings.http_ports[0]}/api/dead-letters/counts"
    try:
        counts = httpx.get(url, timeout=5, trust_env=False).json()
        reasons = ", ".join(f"{count:,} {code}" for code, count in counts["reasons"].items())
    except (httpx.HTTPError, ValueError, KeyError):
        return ""
    return f"Dead letters: {counts['total']:,}{f' ({reasons}): ./snacks dead-letters list' * bool(reasons)}."


def _app(settings: Settings) -> dict[str, Any]:
    """The app as it says itself, over its first port."""
    port = settings.http_ports[0]
    base = f"http://{settings.host}:{port}/health"
    row = {"name": "app", "title": "the app", "state": "not running", "port": port, "pid": 0, "rss": 0}
    row |= {"start_seconds": 0.0, "restarts": 0, "detail": ""}
    try:
        with httpx.Client(timeout=5, trust_env=False) as client:
            pid = client.get(f"{base}/live").json()["pid"]
            ready = client.get(f"{base}/ready").json()
        row |= {"pid": pid, "rss": psutil.Process(pid).memory_info().rss}
    except (httpx.HTTPError, ValueError, KeyError, psutil.Error):
        return row
    troubles = [f"{check['name']}: {check['detail']}" for check in ready["checks"] if not check["ok"]]
    return row | {"state": "ready" if ready["ready"] else "not ready", "detail": "; ".join(troubles)}


def topics_table(topics: Sequence[TopicStatus], console: Console, *, as_json: bool) -> None:
    """Each topic: partitions, records between the first and the next offset, clean-up."""
    if as_json:
        console.print_json(msgspec.json.encode(topics).decode())
        return
    columns = [Column(name, no_wrap=True) for name in ("partitions", "records", "clean-up")]
    table = Table(Column("topic", overflow="fold"), *columns, "done")
    for topic in topics:
        table.add_row(
            topic.name,
            str(topic.partitions),
            f"{topic.records:,}",
            topic.cleanup_policy,
            topic.done,
        )
    console.print(table)


def connectors_table(connectors: Sequence[ConnectorStatus], console: Console) -> None:
    """Each connector and its tasks, and why it failed if it did."""
    if not connectors:
        console.print("Kafka Connect has no connector. Make ours: ./snacks connector apply")
        return
    table = Table("part", "state", "detail")
    for status in connectors:
        table.add_row(status.name, status.state, escape(status.problem))
        for task in status.tasks:
            table.add_row(f"  task {task.id}", task.state, task.worker_id)
    console.print(table)
