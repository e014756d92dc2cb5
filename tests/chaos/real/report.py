"""The verdict: for people a table, for programs JSON."""

from collections import Counter

from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Done(Struct):
    """A fault that was done: `evidence` is empty if it hit nobody."""

    at: float
    kind: str
    what: str
    evidence: str
    seconds: float


class Invariant(Struct):
    """`checked`: how often it was compared. `violations`: what contradicts it; empty if it holds."""

    name: str
    checked: int = 0
    violations: list[str] = []

    def add(self, checked: int, wrong: list[str]) -> None:
        self.checked += checked
        self.violations = [*self.violations, *(one for one in wrong if one not in self.violations)][:50]

    @property
    def holds(self) -> bool:
        return not self.violations and self.checked > 0


class Report(Struct):
    """Seconds throughout. `recovery`: after each round, from healing until new orders were in MongoDB."""

    seed: int
    seconds: float = 0.0
    rounds: int = 0
    commands: int = 0
    orders: int = 0
    seen: dict[str, int] = {}
    """By reader, how often it saw an order."""
    answers: dict[str, int] = {}
    faults: list[Done] = []
    invariants: list[Invariant] = []
    recovery: dict[str, float] = {}
    resources: dict[str, dict[str, dict[str, int]]] = {}
    load: float = 0.0
    """Of the machine: processes that wanted a core, for each core. Above 1, recovery waits for others."""
    notes: list[str] = []
    failed: str = ""
    """What ended the harness itself, if something did."""

    @property
    def holds(self) -> bool:
        return not self.failed and bool(self.invariants) and all(one.holds for one in self.invariants)

    def show(self, console: Console) -> None:
        hit = Counter(one.kind for one in self.faults if one.evidence)
        faults = Table(
            "fault", "times", title=f"{sum(hit.values())} faults of {len(hit)} kinds", title_justify="left"
        )
        for kind, times in sorted(hit.items()):
            faults.add_row(kind, str(times))
        console.print(faults)
        told = Table("invariant", "checked", "", title="What must hold", title_justify="left")
        for one in self.invariants:
            verdict = "[green]holds[/]" if one.holds else f"[red]BROKEN[/] {len(one.violations)}"
            told.add_row(one.name, f"{one.checked:,}", verdict if one.checked else "[red]never checked[/]")
        console.print(told)
        console.print(
            f"seed {self.seed}: {self.seconds:.0f} s, {self.rounds} rounds, {self.commands:,} commands, "
            f"{self.orders:,} orders, answers {self.answers}"
        )
        console.print(f"orders seen by reader: {self.seen}")
        console.print(f"converged after healing, seconds: {self.recovery}; load for each core: {self.load}")
        for moment, held in self.resources.items():
            console.print(f"{moment}: {held}")
        for one in self.invariants:
            for wrong in one.violations[:5]:
                console.print(f"[red]{one.name}[/]: {escape(wrong[:400])}", highlight=False)
        if self.failed:
            console.print(f"[red]the harness failed[/]: {escape(self.failed)}")
        for note in self.notes:
            console.print(note, markup=False)
        verdict = (
            "[green]Everything held.[/]"
            if self.holds
            else "[red]BROKEN.[/] Play it again with the same seed."
        )
        console.print(verdict)
