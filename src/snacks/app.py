"""The one composition root: what a process of Snacks Unlimited is made of, in the order it comes up.

HTTP answers at once; MySQL, MongoDB, the broker and Kafka Connect are waited for in the background, as
long as it takes, and `/health/ready` says what is missing.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog
import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from snacks.actors import OrderHost, members
from snacks.cdc import connector, topics
from snacks.config import PREFIX, Settings
from snacks.documents import Documents
from snacks.feed import Feed
from snacks.http import (
    commands,
    drift,
    errors,
    explain,
    health,
    metrics,
    openapi,
    pages,
    queries,
    stream,
    topology,
)
from snacks.http import letters as letters_http
from snacks.http.health import Check, NotReady, Readiness, actors_check
from snacks.http.recent import Recent
from snacks.http.topology import Observer
from snacks.letters import Letters
from snacks.repair.sample import Drift
from snacks.tables import Tables

log = structlog.get_logger(__name__)

RETRY_FIRST, RETRY_LONGEST = 0.2, 5.0
WATCH_CONNECTOR_EVERY = 5.0
TOPICS_KEPT = GROUP_KEPT = 2.0
GRACE = 5
"""Seconds that requests under way get at a shutdown."""


class AppError(Exception):
    """The app cannot start or go on; the message says what to do."""


class System:
    """What one process owns. `run` brings it up and keeps it going until it is cancelled."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tables = Tables(settings)
        self.documents = Documents(settings.mongo, settings.mongo_database)
        place = f"snacks-{socket.gethostname()}-{settings.http_ports[0]}"  # one process only can listen there
        instance = place if settings.static_member else None
        # The broker goes on calling a static member as it was called first: no process id in its name.
        self.host = OrderHost(settings, self.documents, instance or f"{place}-{os.getpid()}", instance)
        self.feed = Feed(settings, topics.AGGREGATES)
        self.drift = Drift(settings)
        self.letters = Letters(settings)
        self.letter_counts = letters_http.LetterCounts(self.letters)
        self.explainer = explain.Explainer(settings, self.documents, self.letters)
        self.readiness = Readiness(
            [
                Check("start", self._ask_start),
                Check("mysql", self._ask_mysql),
                Check("mongodb", self._ask_mongodb),
                Check("broker", self._ask_broker),
                Check("connector", self._ask_connector),
                Check("stream", self._ask_stream),
                actors_check(self.host.status),
            ]
        )
        self.observer = Observer(
            rows=self.tables.counts,
            connector=self._connector_state,
            records=self._records,
            orders=self.documents.counts,
            actors=self.host.status,
            group=Recent(lambda: members.describe(settings), GROUP_KEPT),
            feed=self.feed.status,
        )
        self._topics = Recent(lambda: topics.describe(settings), TOPICS_KEPT)
        self._waiting: dict[str, str] = {}
        self._applied = False

    async def run(self) -> None:
        """Schema, topics and connector in their order, then the actors; each is retried until it works."""
        await asyncio.gather(
            self._until_done("documents", self.documents.open),
            self._until_done("tables", self.tables.open),
            self._until_done("topics", lambda: topics.ensure(self.settings)),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._connect())
            group.create_task(self.host.run())
            group.create_task(self.drift.run())
            group.create_task(self.feed.run())

    async def close(self) -> None:
        """Close what `run` opened."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.documents.close)
            stack.push_async_callback(self.tables.close)

    async def _connect(self) -> None:
        """Register the connector; then see to it that a failed task is said, and tried again."""
        await self._until_done("connector", lambda: connector.apply(self.settings))
        self._applied = True
        while True:
            await asyncio.sleep(WATCH_CONNECTOR_EVERY)
            try:
                state = await connector.status(self.settings)
                if state.state == "FAILED":
                    log.error("the connector has failed, restarting it", reason=state.problem)
                    await connector.restart(self.settings)
            except connector.ConnectorError as error:
                log.warning("the connector cannot be watched", reason=str(error))

    async def _until_done(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        """Try a step of the start again and again, with back-off, until it works.

        What no waiting can mend ends the process: topics whose numbers of partitions do not fit.
        """
        pause = RETRY_FIRST
        self._waiting[name] = "not tried yet"
        while True:
            try:
                await step()
            except topics.PartitionsDiffer:
                raise
            except Exception as error:  # noqa: BLE001  (whatever is missing at the start may come)
                self._waiting[name] = str(error)[:300]
                log.warning("waiting", step=name, reason=self._waiting[name])
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_LONGEST)
            else:
                del self._waiting[name]
                log.info("ready", step=name)
                return

    # ── what readiness and topology ask ──────────────────────────────────────────────────────────

    async def _ask_start(self) -> str:
        if self._waiting:
            raise NotReady("; ".join(f"{name}: {reason}" for name, reason in self._waiting.items()))
        return "done"

    async def _ask_mysql(self) -> None:
        await self.tables.ping()

    async def _ask_mongodb(self) -> None:
        await self.documents.ping()

    async def _ask_broker(self) -> str:
        return f"{len(await self._topics())} topics"

    async def _ask_connector(self) -> str:
        if not self._applied:
            raise NotReady("not applied yet")
        state = await connector.status(self.settings)
        if not state.running:
            raise NotReady(f"{state.state} {state.problem}")
        return state.state

    async def _ask_stream(self) -> str:
        if self.feed.problem:
            raise NotReady(self.feed.problem)
        return f"{len(self.feed.present)} subscribers"

    async def _connector_state(self) -> str:
        state = await connector.status(self.settings)
        return state.state if state.running else f"{state.state} {state.problem}"

    async def _records(self) -> dict[str, int]:
        return {topic.name: topic.records for topic in await self._topics()}


def create_app(system: System, on_end: Callable[[], None] = lambda: None) -> Litestar:
    """The HTTP side of a system. `on_end` is called if the system's task ends by itself: a defect."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        running = asyncio.create_task(system.run(), name="system")

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                log.critical("the system stopped by itself", exc_info=task.exception())
                on_end()

        running.add_done_callback(ended)
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await running
            await system.close()

    admission = stream.Admission.of(system.settings)
    return Litestar(
        route_handlers=[
            commands.router,
            queries.router,
            stream.router,
            health.router,
            topology.router,
            drift.router,
            metrics.router,
            letters_http.router,
            explain.router,
            pages.router,
        ],
        dependencies={
            "tables": Provide(lambda: system.tables, sync_to_thread=False),
            "documents": Provide(lambda: system.documents, sync_to_thread=False),
            "readiness": Provide(lambda: system.readiness, sync_to_thread=False),
            "observer": Provide(lambda: system.observer, sync_to_thread=False),
            "letters": Provide(lambda: system.letters, sync_to_thread=False),
            "letter_counts": Provide(lambda: system.letter_counts, sync_to_thread=False),
            "explainer": Provide(lambda: system.explainer, sync_to_thread=False),
            "drift": Provide(lambda: system.drift, sync_to_thread=False),
            "actors": Provide(lambda: system.host.status, sync_to_thread=False),
            "feed": Provide(lambda: system.feed, sync_to_thread=False),
            "admission": Provide(lambda: admission, sync_to_thread=False),
        },
        exception_handlers=errors.HANDLERS,
        lifespan=[lifespan],
        openapi_config=openapi.config(),
        plugins=[openapi.MoneySchema()],
        logging_config=None,  # logs.setup() did it
        state=State({"system": system}),
    )


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again at the end and so exit with an error."""

    def install_signal_handlers(self) -> None:
        """Nothing: the command line cancels `serve`."""


async def serve(settings: Settings) -> None:
    """Serve all routes on all ports until cancelled.

    Raises:
        AppError: a port is taken, or the system stopped because of a defect.
    """
    sockets = [_listen(settings.host, port) for port in settings.http_ports]
    stream.make_room(sockets)
    system = System(settings)
    failed = False

    def on_end() -> None:
        nonlocal failed
        failed = server.should_exit = True

    server = _Server(
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
    log.info("serving", addresses=[f"http://{settings.host}:{port}" for port in settings.http_ports])
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
        raise AppError("the app stopped because of a defect; the log's last lines say which")


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=2048, reuse_port=False)
    except OSError as error:
        raise AppError(
            f"cannot listen on {host}:{port}: {error.strerror}. Free it, or move the app: "
            f"{PREFIX}HTTP_PORTS=..., or --port-offset N"
        ) from error
