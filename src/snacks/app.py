"""The one composition root: a process of Snacks Unlimited, its HTTP side and what it owns (`system.py`).

HTTP answers at once, also while the servers behind it are away; `/health/ready` says what is missing.
"""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from snacks.config import PREFIX, Settings
from snacks.http import (
    commands,
    drift,
    errors,
    explain,
    health,
    letters,
    metrics,
    openapi,
    pages,
    queries,
    stream,
    topology,
)
from snacks.http.admission import Admission
from snacks.system import System

log = structlog.get_logger(__name__)

GRACE = 5
"""Seconds that requests under way get at a shutdown."""

OF_ALL_ROLES = (health.router, topology.router, metrics.router, pages.static)
OF_HTTP = (
    commands.router,
    queries.router,
    stream.router,
    drift.router,
    letters.router,
    explain.router,
    pages.router,
)
"""A process that only folds has none of these: it answers 404."""


class AppError(Exception):
    """The app cannot start or go on; the message says what to do."""


def create_app(system: System, on_end: Callable[[str], None] = lambda _: None) -> Litestar:
    """The HTTP side of a system. `on_end` gets the reason if the system's task ends by itself."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        running = asyncio.create_task(system.run(), name="system")

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                log.critical("the system stopped by itself", exc_info=task.exception())
                on_end(_reason(task.exception()))

        running.add_done_callback(ended)
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await running
            await system.close()

    admission = Admission.of(system.settings)
    return Litestar(
        route_handlers=[*OF_ALL_ROLES, *(OF_HTTP if system.answers else ())],
        dependencies={
            "tables": Provide(lambda: system.tables, sync_to_thread=False),
            "documents": Provide(lambda: system.documents, sync_to_thread=False),
            "readiness": Provide(lambda: system.readiness, sync_to_thread=False),
            "observer": Provide(lambda: system.observer, sync_to_thread=False),
            "letters": Provide(lambda: system.letters, sync_to_thread=False),
            "letter_counts": Provide(lambda: system.letter_counts, sync_to_thread=False),
            "explainer": Provide(lambda: system.explainer, sync_to_thread=False),
            "drift": Provide(lambda: system.drift if system.answers else None, sync_to_thread=False),
            "actors": Provide(lambda: system.actors, sync_to_thread=False),
            "feed": Provide(lambda: system.feed, sync_to_thread=False),
            "admission": Provide(lambda: admission, sync_to_thread=False),
        },
        guards=[admission.guard],
        exception_handlers=errors.HANDLERS,
        lifespan=[lifespan],
        openapi_config=openapi.config(),
        plugins=[openapi.MoneySchema()],
        logging_config=None,  # logs.setup() did it
        state=State({"system": system}),
    )


def collect_rarely() -> None:
    """Look for reference cycles less often, and no more at what was there from the start.

    Few of our values can be part of a cycle, but each look visits all of them: with Python's own thresholds
    that is a third of a drain's work (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def serve(settings: Settings) -> None:
    """Serve all routes on all ports until cancelled.

    Raises:
        AppError: a port is taken, or the system stopped because of what no waiting can mend.
    """
    collect_rarely()
    sockets = [_listen(settings.host, port) for port in settings.http_ports]
    stream.make_room(sockets)
    system = System(settings)
    failed = ""

    def on_end(reason: str) -> None:
        nonlocal failed
        failed, server.should_exit = reason, True

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(system, on_end),
            log_config=None,
            log_level="warning",  # it says each WebSocket that comes, with its address
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
            **stream.UVICORN,
        )
    )
    log.info(
        "serving",
        role=settings.role,
        addresses=[f"http://{settings.host}:{port}" for port in settings.http_ports],
    )
    # serve() would also raise the signals again at the end, and so exit with an error.
    serving = asyncio.create_task(server._serve(sockets))  # noqa: SLF001  (serve() would take the signals)
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        system.feed.close()
        server.should_exit = True
        await serving
    finally:
        for one in sockets:
            one.close()
    if failed:
        raise AppError(f"the app stopped: {failed}")


def _reason(error: BaseException | None) -> str:
    """The first thing that went wrong in a tree of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=2048, reuse_port=False)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]  # what follows is the address once more
        raise AppError(
            f"cannot listen on {host}:{port}: {reason}. Free it, or move the app: "
            f"{PREFIX}HTTP_PORTS=..., or --port-offset N"
        ) from error
