"""`./snacks flink`: SQL for people, and the job's state."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from snacks import config
from snacks.config import Settings
from snacks.flink import FlinkEngine, FlinkError, job, sink
from snacks.flink.console import Result, ask, opened
from snacks.flink.gateway import Session

flink_cli = typer.Typer(no_args_is_help=True, help="The Flink engine: its job, and SQL (docs/flink.md).")
console = Console()

HELP = """Tables: customer_order; order_part, order_change; item_detail, shipping_location, payment.
All orders:   SELECT order_id, order_status, modified_date FROM customer_order ORDER BY modified_date;
PAID orders:  SELECT order_id, items, payment FROM customer_order WHERE order_status = 'PAID';
A semicolon at the end of a line ends a statement.
SHOW TABLES; and DESCRIBE customer_order; tell more. Ctrl-D ends it."""

EACH = " (several: each ends with a semicolon at the end of a line)"
Json = Annotated[bool, typer.Option("--json", help="JSON for programs: one object a row, a line each.")]


@flink_cli.command("sql")
def sql(
    *,
    execute: Annotated[str, typer.Option("--execute", "-e", help=f"Run a statement{EACH}, then end.")] = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help=f"Run a file's statements{EACH}.")] = None,
    as_json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows shown of each answer.")] = 100,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a statement may take.")] = 60.0,
) -> None:
    """Ask Flink in SQL, with the tables ready. Reads what is there now: `SELECT * FROM customer_order;`."""
    if file is not None and not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    text = file.read_text("utf-8") if file else execute
    if not text and not sys.stdin.isatty():
        text = sys.stdin.read()
    with suppress(asyncio.CancelledError):
        asyncio.run(_sql(config.load(), text, as_json=as_json, limit=limit, seconds=timeout))


@flink_cli.command("status")
def status(*, as_json: Json = False) -> None:
    """Show the job and the sink connector."""
    found = asyncio.run(FlinkEngine(config.load()).status())
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return
    table = Table("job", "state", "tasks", "sink connector")
    table.add_row(
        found.job.id, found.job.state, f"{found.job.running} of {found.job.tasks}", escape(found.sink)
    )
    console.print(table)
    if found.problem:
        console.print(escape(found.problem), style="red")


@flink_cli.command("stop")
def stop() -> None:
    """Cancel the job, remove the sink connector. End the app first: it starts both again.

    `serve --engine flink` goes on from the last checkpoint.
    """
    settings = config.load()

    async def both() -> tuple[bool | BaseException, bool | BaseException]:
        return await asyncio.gather(job.stop(settings), sink.delete(settings), return_exceptions=True)

    results = asyncio.run(both())
    stopped = [
        name for name, done in zip(("the job", "the sink connector"), results, strict=True) if done is True
    ]
    errors = [error for error in results if isinstance(error, BaseException)]
    if stopped:
        console.print(f"Stopped {' and '.join(stopped)}.")
        console.print("If an app with --engine flink still runs, it starts both again: end it first.")
    elif not errors:
        console.print("Neither the job nor the sink connector was there.")
    if errors:
        raise errors[0]


async def _sql(settings: Settings, text: str, *, as_json: bool, limit: int, seconds: float) -> None:
    async with opened(settings) as ready:
        for statement in job.statements(text):
            show(await ask(ready, statement, limit=limit, seconds=seconds), as_json=as_json)
        if not text:
            console.print(HELP, markup=False, highlight=False)
            await _prompt(ready, limit=limit, seconds=seconds)


async def _prompt(ready: Session, *, limit: int, seconds: float) -> None:
    import readline  # noqa: F401, PLC0415  (gives `input` a history; some systems have none)

    typed = ""
    while True:
        try:
            typed += await asyncio.to_thread(input, "   ...> " if typed else "flink> ") + "\n"
        except EOFError:
            return
        if not typed.rstrip().endswith(";"):
            continue
        for statement in job.statements(typed):
            if statement.lower() in ("quit", "exit"):
                return
            try:
                with console.status("Asking Flink"):
                    result = await ask(ready, statement, limit=limit, seconds=seconds)
            except FlinkError as error:
                console.print(escape(str(error)), style="red")
            else:
                show(result, as_json=False)
        typed = ""


def show(result: Result, *, as_json: bool) -> None:
    """A table for people, or a line of JSON a row."""
    if as_json:
        for row in result.rows:
            named = dict(zip(result.columns, row, strict=True))
            sys.stdout.write(msgspec.json.encode(named).decode() + "\n")
        return
    table = Table(*map(escape, result.columns))
    for row in result.rows:
        table.add_row(*("" if value is None else escape(_text(value)) for value in row))
    console.print(table)
    more = ", and there are more: --limit" if result.more else ""
    console.print(f"{len(result.rows)} row{'s' * (len(result.rows) != 1)}{more}", highlight=False)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
