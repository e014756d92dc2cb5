"""What one process of Snacks Unlimited owns, and the order in which it comes up.

MySQL, MongoDB, the broker and Kafka Connect are waited for in the background, as long as it takes;
`/health/ready` says what is missing. A role leaves parts out: `http` folds nothing, `actors` only folds.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import structlog

from snacks.actors import HostStatus, OrderHost, members
from snacks.cdc import connector, topics
from snacks.config import Settings
from snacks.documents import Documents
from snacks.feed import Feed
from snacks.flink import FlinkEngine, FlinkStatus, sink
from snacks.http.explain import Explainer
from snacks.http.health import Check, NotReady, Readiness, actors_check
from snacks.http.letters import LetterCounts
from snacks.http.recent import Recent
from snacks.http.topology import Observer
from snacks.letters import Letters
from snacks.repair.sample import Drift
from snacks.tables import Tables

log = structlog.get_logger(__name__)

RETRY_FIRST, RETRY_LONGEST = 0.2, 5.0
WATCH_CONNECTOR_EVERY = 5.0
TOPICS_KEPT = GROUP_KEPT = 2.0
DUTIES = {
    "all": "answers HTTP and folds orders",
    "http": "answers HTTP; folds nothing, processes of the role actors or all do",
    "actors": "folds orders; commands, queries and the stream are with processes of the role http or all",
}
"""What a process does, by its role, as health says it."""


class System:
    """What one process owns. `run` brings it up and keeps it going until it is cancelled."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.answers = settings.role != "actors"
        self.folds = settings.role != "http" and settings.engine == "actors"
        self.flink = FlinkEngine(settings) if settings.engine == "flink" else None
        self.tables = Tables(settings)
        self.documents = Documents(settings.mongo, settings.mongo_database)
        place = f"snacks-{socket.gethostname()}-{settings.http_ports[0]}"  # one process only can listen there
        instance = place if settings.static_member else None
        # The broker goes on calling a static member as it was called first: no process id in its name.
        self.host = OrderHost(settings, self.documents, instance or f"{place}-{os.getpid()}", instance)
        self.feed = Feed(settings, topics.AGGREGATES)
        self.drift = Drift(settings)
        self.letters = Letters(settings)
        self.letter_counts = LetterCounts(self.letters)
        self.explainer = Explainer(settings, self.documents, self.letters)
        self.readiness = Readiness(self._checks())
        self.observer = Observer(
            role=settings.role,
            rows=self.tables.counts,
            connector=self._connector_state,
            records=self._records,
            orders=self.documents.counts,
            actors=self.actors,
            group=Recent(lambda: members.describe(settings), GROUP_KEPT),
            feed=lambda: self.feed.status() if self.answers else None,
            flink=self._flink_status,
        )
        self._topics = Recent(lambda: topics.describe(settings), TOPICS_KEPT)
        self._waiting: dict[str, str] = {}
        self._applied = False

    def _checks(self) -> list[Check]:
        """A role is asked for what it needs: HTTP can answer while nothing is captured or folded."""
        checks = [Check("role", self._ask_role), Check("start", self._ask_start)]
        if self.answers:
            checks.append(Check("mysql", self._ask_mysql))
        checks += [Check("mongodb", self._ask_mongodb), Check("broker", self._ask_broker)]
        if self.settings.role != "http":
            checks.append(Check("connector", self._ask_connector))
        if self.folds:
            checks.append(actors_check(self.host.status))
        if self.flink and self.settings.role != "http":
            checks.append(Check("flink", self._ask_flink))
        if self.answers:
            checks.append(Check("stream", self._ask_stream))
        return checks

    async def run(self) -> None:
        """Bring up each part as soon as what it needs is there; all are retried until they work.

        Raises:
            ExceptionGroup: of `topics.PartitionsDiffer`, or of a defect.
        """
        async with asyncio.TaskGroup() as group:

            def step(name: str, work: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
                return group.create_task(self._until_done(name, work))

            async def after(work: Callable[[], Awaitable[object]], *steps: asyncio.Task[None]) -> None:
                await asyncio.gather(*steps)
                await work()

            documents = step("documents", self.documents.open)
            tables = step("tables", self.tables.open)
            ready = step("topics", lambda: topics.ensure(self.settings))
            if self.folds:
                group.create_task(after(self.host.run, documents, ready))
            if self.flink and self.settings.role != "http":
                group.create_task(after(self.flink.run, documents, ready))
            if self.settings.role != "http":
                group.create_task(after(self._connect, tables, ready))
            if self.answers:
                group.create_task(after(self.feed.run, ready))
                group.create_task(after(self.drift.run, documents, tables))

    def actors(self) -> HostStatus | None:
        """What this process folds now; None if its role is not to fold."""
        return self.host.status() if self.folds else None

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

    async def _ask_role(self) -> str:
        by = "; Flink folds" if self.settings.engine == "flink" else ""
        return f"{self.settings.role}: {DUTIES[self.settings.role]}{by}"

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
        if self.folds and (await sink.status(self.settings)).state != connector.ABSENT:
            raise NotReady("Flink's sink connector writes the same documents: ./snacks flink stop")
        return state.state

    async def _flink_status(self) -> FlinkStatus | None:
        return await self.flink.status() if self.flink else None

    async def _ask_flink(self) -> str:
        status = await self._flink_status()
        if status and status.problem:
            raise NotReady(status.problem)
        return f"job {status.job.id} and sink connector run" if status else ""

    async def _ask_stream(self) -> str:
        if self.feed.problem:
            raise NotReady(self.feed.problem)
        return f"{len(self.feed.present)} subscribers"

    async def _connector_state(self) -> str:
        state = await connector.status(self.settings)
        return state.state if state.running else f"{state.state} {state.problem}"

    async def _records(self) -> dict[str, int]:
        return {topic.name: topic.records for topic in await self._topics()}
