"""An event loop whose clock jumps, and processes in it that can be stopped between any two of their steps.

Nothing sleeps, and the same seed gives the same history. A step is what runs between two awaits. Every step
belongs to the process in whose context it was made: that of a stopped process waits, as under SIGSTOP, with
its timers; one that was killed waits for ever.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Deadlock(Exception):  # noqa: N818  (a state, named like one)
    """Every task waits for something that nobody will do."""


class Steps:
    """What the loop knows of a process: whether it is stopped, and what waits until it goes on."""

    def __init__(self) -> None:
        self.stopped = False
        self.waiting: list[_Handle] = []
        self.fuse = 0
        """The number of steps after which `strike` is called; 0: never."""

    def strike(self) -> None:
        """Called between two steps."""


RUNNING: ContextVar[Steps | None] = ContextVar("RUNNING", default=None)
"""The process whose step this is; None for servers and the history itself."""


class _Handle:
    __slots__ = ("_when", "args", "callback", "context", "off")

    def __init__(self, callback: Callable[..., Any], args: Any, context: Context, when: float) -> None:
        self.callback, self.args, self.context, self._when = callback, args, context, when
        self.off = False

    def cancel(self) -> None:
        self.off = True

    def cancelled(self) -> bool:
        return self.off

    def when(self) -> float:
        return self._when


class VirtualLoop:
    """Runs steps in the order of their virtual times. Has what asyncio's tasks ask of a loop, and no more."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._made = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.failures: list[str] = []
        """What nobody caught."""

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = _Handle(callback, args, copy_context() if context is None else context, 0.0)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = _Handle(callback, args, copy_context() if context is None else context, when)
        self._made += 1
        heappush(self._timers, (when, self._made, handle))
        return handle

    def put(self, delay: float, callback: Any, args: Any, context: Context) -> None:
        """For the many steps that nobody cancels."""
        if delay:
            self._made += 1
            when = self._now + delay
            heappush(self._timers, (when, self._made, _Handle(callback, args, context, when)))
        else:
            self._ready.append(_Handle(callback, args, context, 0.0))

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=cast("Any", self))

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=cast("Any", self), name=name, context=context)
        self._tasks.append(task)
        return task

    def run_in_executor(self, _executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """At once: a thread would make the order of steps a matter of chance."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (the caller's, as of a thread)
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def go_on(self, process: Steps) -> None:
        """Let a stopped process go on where it stood."""
        process.stopped = False
        self._ready.extend(process.waiting)
        process.waiting.clear()

    def run_until_complete(self, future: Coroutine[Any, Any, T]) -> T:
        """Run until this coroutine is done, and give its result."""
        asyncio._set_running_loop(cast("Any", self))
        try:
            task: asyncio.Task[T] = self.create_task(future)
            self._run(task)
            return task.result()
        finally:
            asyncio._set_running_loop(None)

    def bury(self) -> None:
        """Cancel all that still runs, and let it end."""
        asyncio._set_running_loop(cast("Any", self))
        try:
            left = [task for task in self._tasks if not task.done()]
            for task in left:
                task.cancel()
            for task in left:
                with suppress(Deadlock):  # it waits for a process that has ended meanwhile
                    self._run(task)
        finally:
            asyncio._set_running_loop(None)

    def _run(self, task: asyncio.Task[Any]) -> None:
        ready, timers = self._ready, self._timers
        while not task.done():
            if ready:
                handle = ready.popleft()
            elif timers:
                when, _, handle = heappop(timers)
                if not handle.off:
                    self._now = max(self._now, when)
            else:
                raise Deadlock
            if handle.off:
                continue
            process = handle.context.get(RUNNING)
            if process is not None:
                if process.fuse:
                    process.fuse -= 1
                    if not process.fuse:
                        process.strike()
                if process.stopped:
                    process.waiting.append(handle)
                    continue
            handle.context.run(handle.callback, *handle.args)
