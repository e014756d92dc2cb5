"""Which faults come when: from a seed, always the same."""

import random
from collections.abc import Iterator, Mapping

from tests.chaos.real.faults import Fault, Kind

Round = tuple[Fault, ...]
"""Faults that come at once: one or two, of different parts."""


def rounds(seed: int, kinds: Mapping[str, Kind]) -> Iterator[Round]:
    """Without end: decks with all kinds in them, each as often as its weight, shuffled; targets in turn."""
    rng = random.Random(f"plan-{seed}")
    targets: dict[str, list[str]] = {}
    while True:
        deck = [name for name, kind in kinds.items() for _ in range(kind.weight)]
        rng.shuffle(deck)
        faults = []
        for name in deck:
            left = targets.setdefault(name, [])
            if not left:
                left += rng.sample(kinds[name].targets, len(kinds[name].targets))
            low, high = kinds[name].seconds
            faults.append(Fault(name, left.pop(), round(rng.uniform(low, high), 1)))
        yield from _paired(faults)


def _paired(faults: list[Fault]) -> Iterator[Round]:
    while faults:
        first = faults.pop(0)
        second = next((other for other in faults if not other.parts & first.parts), None)
        if second is None:
            yield (first,)
        else:
            faults.remove(second)
            yield first, second


def at_least(count: int, seed: int, kinds: Mapping[str, Kind]) -> list[Round]:
    """The first rounds with that many faults together."""
    chosen: list[Round] = []
    for one in rounds(seed, kinds):
        chosen.append(one)
        if sum(map(len, chosen)) >= count:
            return chosen
    raise AssertionError("rounds() has no end")
