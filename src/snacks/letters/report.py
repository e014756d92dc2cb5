"""Dead letters on a terminal."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from snacks.letters.store import Letter

LONGEST_REASON = 90


def moment(milliseconds: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def letters_table(letters: Sequence[Letter], counts: Mapping[str, int], console: Console) -> None:
    """The letters, then the open ones by reason."""
    table = Table(Column("id", no_wrap=True), "set aside (UTC)", "order", "code", "reason", "status")
    for one in letters:
        letter = one.letter
        cells = (one.id, moment(letter.set_aside), letter.order_id or "", letter.code)
        table.add_row(*map(escape, (*cells, letter.reason[:LONGEST_REASON], one.status)))
    console.print(table)
    reasons = ", ".join(f"{count:,} {code}" for code, count in counts.items())
    console.print(f"{sum(counts.values()):,} open{': ' * bool(reasons)}{reasons}")


def one_letter(one: Letter, console: Console) -> None:
    """One letter whole."""
    letter = one.letter
    facts = {
        "id": f"{one.id} ({one.status})",
        "record": f"{letter.topic}, partition {letter.partition}, offset {letter.offset}",
        "written": f"{moment(letter.timestamp)} UTC",
        "set aside": f"{moment(letter.set_aside)} UTC",
        "order": letter.order_id or "unknown",
        "reason": f"{letter.code}: {letter.reason}",
        "key": "none" if letter.key is None else letter.key,
    }
    if letter.masked:
        facts["masked"] = f"card numbers in its {' and '.join(letter.masked)}: not the original's bytes"
    if letter.truncated:
        facts["cut"] = f"the value had {letter.value_bytes:,} bytes; only the beginning is kept"
    if letter.base64:
        facts["base64"] = "not UTF-8, so key and value are shown as base64"
    for name, fact in facts.items():
        console.print(f"[bold]{name}[/]: {escape(fact)}", highlight=False)
    console.print("[bold]value[/]:")
    console.print(
        "none (a tombstone)" if letter.value is None else letter.value, markup=False, highlight=False
    )
