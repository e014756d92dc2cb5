"""`snacks reconcile` and `snacks rebuild`: progress, tables, JSON. What they do lives in `snacks.repair`."""

from typing import Annotated, Any, Self

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from snacks import config, logs, loop
from snacks.repair.comparison import Report, Step
from snacks.repair.errors import RepairError
from snacks.repair.rebuild import rebuild
from snacks.repair.reconcile import reconcile

cli = typer.Typer()
console = Console()

Json = Annotated[bool, typer.Option("--json", help="JSON for programs instead of a table.")]


@cli.command("reconcile")
def reconcile_command(
    *,
    check: Annotated[bool, typer.Option("--check", help="Report only; change nothing.")] = False,
    order: Annotated[str | None, typer.Option(metavar="ID", help="Only this order.")] = None,
    as_json: Json = False,
) -> None:
    """Compare every order with MySQL, and repair those that differ. Safe while the system runs.

    Ends with 1 if orders differ still.
    """
    settings = config.load()
    _report(
        settings,
        lambda step: reconcile(settings, repair=not check, order_id=order, step=step),
        as_json=as_json,
    )


@cli.command("rebuild")
def rebuild_command(
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget a rebuild that was stopped.")] = False,
    as_json: Json = False,
) -> None:
    """Fold all orders again from the CDC topics, and bring MongoDB and the topic to what comes out.

    Stopped by Ctrl-C, it goes on from there the next time.
    """
    settings = config.load()
    _report(settings, lambda step: rebuild(settings, fresh=fresh, step=step), as_json=as_json)


def _report(settings: config.Settings, work: Any, *, as_json: bool) -> None:
    logs.setup(settings, quiet=True)
    try:
        with _Bar(hidden=as_json) as bar:
            report = loop.run(work(bar.step))
    except RepairError as error:
        Console(stderr=True).print(f"[red]snacks:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(1) from None
    if as_json:
        console.print_json(msgspec.json.encode(report).decode())
    else:
        show(report, console)
    if report.remaining:
        raise typer.Exit(1)


def show(report: Report, console: Console) -> None:
    """The differences as a table, then the counts."""
    if report.differences:
        table = Table(Column("order", overflow="fold"), "where", "field", "must be", "is")
        for one in report.differences:
            table.add_row(*map(escape, (one.order_id, one.where, one.field, one.expected, one.found)))
        console.print(table)
    for note in report.notes:
        console.print(f"[yellow]{escape(note)}[/]")
    rate = report.orders / report.seconds if report.seconds else 0
    console.print(
        f"{report.orders:,} orders in {report.seconds:.1f} s ({rate:,.0f}/s): {report.differing:,} differ, "
        f"{report.repaired:,} repaired, {report.remaining:,} remain; {report.under_way:,} kept changing, "
        f"{report.unreadable:,} cannot be judged."
    )
    if report.strangers:
        console.print(f"[yellow]{report.strangers:,} documents have an id that is no text: remove them.[/]")


class _Bar:
    """Progress on a terminal: one bar for each kind of step."""

    def __init__(self, *, hidden: bool) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True)
        rate = TextColumn("{task.completed:,.0f}"), TextColumn("{task.fields[rate]}"), TimeElapsedColumn()
        self._progress = Progress(
            *columns, *rate, console=Console(stderr=True), disable=hidden, transient=True
        )
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def step(self) -> Step:
        """What the work calls."""
        return self._step

    def _step(self, what: str, done: int, total: int) -> None:
        bar = self._bars.get(what)
        if bar is None:
            bar = self._bars[what] = self._progress.add_task(what, total=total or None, rate="")
        speed = next((task.speed for task in self._progress.tasks if task.id == bar), None)
        self._progress.update(bar, completed=done, total=total or None, rate=f"{speed or 0:,.0f}/s")
