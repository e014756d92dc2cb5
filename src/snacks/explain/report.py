"""One order explained, on a terminal."""

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from snacks.explain.found import Explanation
from snacks.letters.report import moment


def explanation(found: Explanation, console: Console) -> None:
    """Everything on one screen: places, records, agreement."""
    where = ", ".join(map(str, found.partitions)) or "unknown"
    console.rule(escape(f"order {found.order_id} (partition {where})"))
    _json("MySQL", found.rows or None, console)
    records = Table("record", "written (UTC)", "did", "what", title=f"{len(found.records):,} change records")
    for one in found.records:
        place = f"{one.topic.rpartition('.')[2]}/{one.partition}/{one.offset}"
        records.add_row(place, moment(one.timestamp), one.did, escape(one.detail))
    console.print(records)
    if found.left_out:
        console.print(f"{found.left_out:,} older records are not shown, and were not folded again.")
    _json("the actor's state", _raw(found.state), console)
    if found.published is not None:
        last = found.published
        headers = ", ".join(f"{name} {value}" for name, value in last.headers.items())
        title = f"the last aggregate (partition {last.partition}, offset {last.offset}; {headers})"
        _json(title, _raw(last.order) or "a tombstone", console)
    if found.stored is not None:
        _json(f"MongoDB, revision {found.stored.revision}", _raw(found.stored.order), console)
    for letter in found.letters:
        console.print(f"[bold]dead letter[/] {letter.id} ({letter.status}): {escape(letter.letter.reason)}")
    for check in found.agreements:
        verdict = "[green]agree[/]" if check.ok else "[red]DIFFER[/]"
        console.print(f"{verdict} {escape(check.what)} {escape(check.detail)}")
    for problem in found.problems:
        console.print(f"[red]{escape(problem)}[/]")


def _raw(value: Any) -> Any:
    return None if value is None else json.loads(bytes(value))


def _json(title: str, value: Any, console: Console) -> None:
    console.print(f"[bold]{escape(title)}[/]")
    if value is None:
        console.print("nothing")
    else:
        console.print(json.dumps(value, ensure_ascii=False), markup=False)
