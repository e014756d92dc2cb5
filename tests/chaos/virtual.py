"""An event loop whose clock jumps: nothing sleeps, and the same seed gives the same history."""

import asyncio
import selectors
from typing import Any


class Deadlock(Exception):  # noqa: N818  (a state, named like one)
    """Every task waits for something that nobody will do."""


class _NoIO(selectors.BaseSelector):
    """Watches nothing; asked to wait, it moves the clock of its loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self._map: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._map[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._map.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        self.now += timeout
        return []

    def get_map(self) -> dict[Any, selectors.SelectorKey]:
        return self._map


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs tasks in the order of their virtual times."""

    def __init__(self) -> None:
        self._virtual = _NoIO()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now
