"""The way between a process and a server: where requests and answers are late, lost or refused.

It is also where a process is killed or frozen: when its request is on the way, or when the server has done
what it asked and the answer is on the way.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import KafkaConnectionError
from pymongo.errors import AutoReconnect, NetworkTimeout
from tests.chaos.model.broker import AGAIN
from tests.chaos.model.virtual import RUNNING, Steps, VirtualLoop

if TYPE_CHECKING:
    from tests.chaos.model.world import World

SERVERS = Context()
"""Steps of servers belong to no process: they go on when a process is stopped."""

KAFKA, MONGO = "kafka", "mongo"
CALLS = {
    KAFKA: ("connect", "join", "offsets", "fetch", "group commit", "init", "restore", "produce", "commit"),
    MONGO: ("former", "kill session", "claim", "check", "find", "write", "store"),
}
"""What a process asks the servers for. `store` commits a transaction of MongoDB."""

STOPS = ("kill", "freeze")
LOSSES = ("refused", "request lost", "answer lost", "too late")
"""What happens to a call. `too late`: it takes effect after the caller was told that it failed."""

LATENCIES = (0.0, 0.0, 0.003, 0.03)
PATIENCE = 0.3
"""Seconds of virtual time after which the client of a lost call gives up."""


class Process(Steps):
    """One process of the application."""

    def __init__(self, net: "Net", name: str) -> None:
        super().__init__()
        self.net, self.name = net, name
        self.dead = False
        self.owned: frozenset[int] = frozenset()
        """The shards that the group gave it, until it has given them back."""

    def strike(self) -> None:
        """Stopped between two steps, wherever they are."""
        self.net.stop(self, self.net.rng.choice(STOPS), "a step")


class Net:
    """All calls of one history, the faults that wait for some of them, and the count of those that struck."""

    def __init__(self, loop: VirtualLoop, rng: Random) -> None:
        self.loop, self.rng = loop, rng
        self.world: World
        self.armed: list[tuple[str, str, str]] = []
        """(kind, call, phase) of the faults that wait. Phase `sent` or `served`, for kills and freezes."""
        self.away = {KAFKA: 0.0, MONGO: 0.0}
        """Until when a server answers nobody, in seconds of virtual time."""
        self.wakers: list[tuple[str, Process]] = []
        """A frozen process goes on at the next call of this name by another."""
        self.struck: Counter[tuple[str, str]] = Counter()
        self.tell: Callable[[str], None] | None = None
        """Told of each call and each fault, if somebody wants to know."""
        self.stopped: Callable[[Process, str], None] = lambda *_: None
        self.woken: Callable[[Process], None] = lambda *_: None

    def stop(self, process: Process, kind: str, where: str) -> None:
        """Kill or freeze a process, unless it is stopped already."""
        if process.stopped:
            return
        process.stopped, process.dead = True, kind == "kill"
        self.strike(kind, where, process.name)
        self.stopped(process, kind)

    def strike(self, kind: str, where: str, whom: str) -> None:
        """Count a fault."""
        self.struck[kind, where] += 1
        if self.tell is not None:
            self.tell(f"### {kind}: {where} {whom}")

    def wake(self, process: Process) -> None:
        """SIGCONT."""
        if process.stopped and not process.dead:
            if self.tell is not None:
                self.tell(f"### {process.name} goes on")
            self.loop.go_on(process)
            self.woken(process)

    def _fault(self, process: Process, call: str) -> str:
        """The fault that strikes this call on its way; taken off those that wait."""
        for number, (kind, name, phase) in enumerate(self.armed):
            if name == call:
                del self.armed[number]
                if kind in STOPS and phase == "sent":
                    self.stop(process, kind, f"{call} sent")
                    return ""
                if kind not in STOPS:
                    self.strike(kind, call, process.name)
                return kind
        return ""

    def call(self, server: str, name: str, effect: Callable[[], Any]) -> asyncio.Future[Any]:
        """Ask a server for something. Raises, where it is awaited, what the server's client would raise.

        `effect` happens in the server. What it returns is the answer: a future is waited for, and AGAIN
        asks again.
        """
        answer = self.loop.create_future()
        process = RUNNING.get()
        assert isinstance(process, Process)
        for waker in self.wakers:
            if waker[0] == name and waker[1] is not process:
                self.wakers.remove(waker)
                self.wake(waker[1])
                break
        if self.tell is not None:
            self.tell(f"{process.name}: {name}")
        fault = ""
        if self.loop.time() < self.away[server]:
            fault = "away"
        elif self.armed:
            fault = self._fault(process, name)
        if fault in ("away", "refused"):
            self.later(0.0, _fail, answer, self._error(server))
            return answer
        if fault == "request lost":
            self.later(PATIENCE, _fail, answer, self._error(server))
            return answer
        delay = self._latency()
        if fault == "too late":
            self.later(PATIENCE, _fail, answer, self._error(server))
            delay = PATIENCE + self.rng.choice((0.0, 0.05, 1.0, 2.0))
        request = Request(process, server, name, effect, answer)
        if delay:
            self.later(delay, self._serve, request, fault)
        else:
            self._serve(request, fault)
        return answer

    def _serve(self, request: "Request", fault: str) -> None:
        process, server, name, effect, answer = request
        error = None
        try:
            result = effect()
        except Exception as raised:  # noqa: BLE001  (the server's answer)
            error, result = raised, None
        if result is AGAIN:
            if not answer.done() or fault == "too late":
                self.later(0.02, self._serve, request, fault)
            return
        if fault in STOPS:
            self.stop(process, fault, f"{name} served")
        if fault == "answer lost":
            self.later(PATIENCE, _fail, answer, self._error(server))
        elif isinstance(result, asyncio.Future):
            result.add_done_callback(lambda done: self._answer(answer, done.result(), None), context=SERVERS)
        else:
            self._answer(answer, result, error)

    def _answer(self, answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        if error is not None:
            self.later(self._latency(), _fail, answer, error)
        else:
            self.later(self._latency(), _succeed, answer, result)

    def _latency(self) -> float:
        return LATENCIES[int(self.rng.random() * len(LATENCIES))]

    def later(self, delay: float, callback: Callable[..., None], *args: Any) -> None:
        """Something that belongs to no process, after seconds of virtual time."""
        self.loop.put(delay, callback, args, SERVERS)

    def _error(self, server: str) -> Exception:
        if server == KAFKA:
            unconnected: Exception = KafkaConnectionError()
            return unconnected
        if self.rng.random() < 0.5:
            return AutoReconnect("no answer")
        return NetworkTimeout("no answer")


class Request(NamedTuple):
    """What is on its way to a server."""

    process: Process
    server: str
    name: str
    effect: Callable[[], Any]
    answer: asyncio.Future[Any]


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _succeed(answer: asyncio.Future[Any], result: Any) -> None:
    if not answer.done():
        answer.set_result(result)
