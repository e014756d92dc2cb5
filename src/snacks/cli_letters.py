"""`snacks dead-letters` and `snacks explain`: tables, progress, JSON. What they do lives elsewhere."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from snacks import config, logs, loop
from snacks.documents import Documents
from snacks.explain import Explanation, explain
from snacks.explain.report import explanation
from snacks.letters import Letter, Letters, LettersUnavailable, NoSuchLetter, NotReplayable, Standing
from snacks.letters.report import letters_table, one_letter

cli = typer.Typer()
letters_cli = typer.Typer(
    no_args_is_help=True, help="Records that were set aside: look at them, send them again, drop them."
)
console = Console()
PATIENCE = 600.0
"""Seconds that `snacks explain` may read."""

Json = Annotated[bool, typer.Option("--json", help="JSON for programs instead of a table.")]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason code, such as not-json.")]
Id = Annotated[str | None, typer.Argument(metavar="ID", help="Such as payment-0-17; see `list`.")]
All = Annotated[bool, typer.Option("--all", help="All open ones (with --reason: all of that reason).")]


@letters_cli.command("list")
def list_letters(
    *,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    closed: Annotated[bool, typer.Option("--closed", help="Also those replayed or dropped.")] = False,
    as_json: Json = False,
) -> None:
    """Show the newest dead letters, and how many there are of each reason."""

    async def both(letters: Letters, progress: Any) -> tuple[list[Letter], dict[str, int]]:
        counts = await letters.counts(lambda done, total: progress("dead letters", done, total))
        return await letters.newest(limit, reason, closed=closed), counts

    found, counts = _with_letters(both)
    if as_json:
        console.print_json(msgspec.json.encode(found).decode())
    else:
        letters_table(found, counts, console)


@letters_cli.command("show")
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: Json = False) -> None:
    """Show one dead letter whole: its record, and why it was set aside."""
    found = _with_letters(lambda letters, _: letters.get(letter_id))
    if as_json:
        console.print_json(msgspec.json.encode(found).decode())
    else:
        one_letter(found, console)


@letters_cli.command("replay")
def replay(
    letter_id: Id = None,
    *,
    every: All = False,
    reason: Reason = None,
    value: Annotated[Path | None, typer.Option(exists=True, help="The edited value to send.")] = None,
    key: Annotated[str | None, typer.Option(help="The edited key to send.")] = None,
) -> None:
    """Send a record, as it was or edited, to its topic again. Card numbers stay masked."""
    _one_or_all(letter_id, every=every)
    if letter_id is None:
        if value or key:
            raise typer.BadParameter("--value and --key are for one ID")
        sent, refused = _with_letters(lambda letters, _: letters.replay_all(reason))
        console.print(f"{sent:,} sent again.")
        for one in refused:
            console.print(f"[yellow]{escape(one)} cannot be sent as it is: `replay` it alone to see why[/]")
        return
    body = value.read_bytes() if value else None
    name = letter_id
    _with_letters(lambda letters, _: letters.replay(name, body, key.encode() if key else None))
    console.print("Sent again.")


@letters_cli.command("drop")
def drop(letter_id: Id = None, *, every: All = False, reason: Reason = None) -> None:
    """Mark dead letters as done with. They stay in the topic, and `list --closed` shows them."""
    _one_or_all(letter_id, every=every)
    if letter_id is None:
        console.print(f"{_with_letters(lambda letters, _: letters.drop_all(reason)):,} dropped.")
        return
    name = letter_id
    _with_letters(lambda letters, _: letters.drop(name))
    console.print(f"{Standing.DROPPED.capitalize()}.")


@cli.command("explain")
def explain_order(
    order_id: Annotated[str, typer.Argument(metavar="ORDER_ID")], *, as_json: Json = False
) -> None:
    """Show everything known of one order: rows, records, state, aggregate, document, and if they agree.

    Ends with 1 if they do not agree, or not all could be read.
    """

    async def work(letters: Letters, progress: Any) -> Explanation:
        settings = config.load()
        documents = Documents(settings.mongo, settings.mongo_database)
        try:  # `explain` opens them: if MongoDB is away, the other parts are told all the same
            return await explain(settings, order_id, documents, letters, progress=progress, patience=PATIENCE)
        finally:
            await documents.close()

    found = _with_letters(work)
    if as_json:
        console.print_json(msgspec.json.encode(found).decode())
    else:
        explanation(found, console)
    if not found.agree:
        raise typer.Exit(1)


def _one_or_all(letter_id: str | None, *, every: bool) -> None:
    if (letter_id is None) is not every:
        raise typer.BadParameter("give one ID, or --all")


def _with_letters(work: Callable[[Letters, Any], Coroutine[Any, Any, Any]]) -> Any:
    """Run with the letters and a progress bar; errors that a person can mend are told in a line."""
    settings = config.load()
    logs.setup(settings, quiet=True)
    errors = Console(stderr=True)
    try:
        with Progress(console=errors, transient=True) as bar:
            tasks: dict[str, Any] = {}

            def progress(what: str, done: int, total: int) -> None:
                task = tasks.get(what)
                if task is None:
                    task = tasks[what] = bar.add_task(what, total=total)
                bar.update(task, completed=done)

            return loop.run(work(Letters(settings), progress))
    except (LettersUnavailable, NoSuchLetter, NotReplayable) as error:
        errors.print(f"[red]snacks:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(1) from None
