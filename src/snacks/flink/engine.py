"""Keeps the Flink job and MongoDB's sink connector going, and says how they are."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct

from snacks.cdc.connector import ConnectorError
from snacks.config import Settings
from snacks.flink import job, sink
from snacks.flink.gateway import FlinkError
from snacks.flink.job import Job

log = structlog.get_logger(__name__)

WATCH_EVERY = 2.0


class FlinkStatus(Struct, frozen=True):
    """The engine as it was seen last. `problem` empty: the job and the sink connector run."""

    job: Job
    sink: str
    problem: str


class FlinkEngine:
    """`run` submits what is missing and looks after it until it is cancelled; the job goes on without it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._job = Job(problem="not submitted yet")
        self._sink = "not registered"

    async def run(self) -> None:
        """Submit, register, watch, repeat; whatever Flink and Connect do."""
        async with asyncio.TaskGroup() as group:  # each for itself: one waits long for a server that is away
            group.create_task(_again_and_again(self._see_to_job))
            group.create_task(_again_and_again(self._see_to_sink))

    async def status(self) -> FlinkStatus:
        """How both are now. Never raises: what does not answer is the problem that it tells."""
        found, sink_state = await asyncio.gather(self._ask_job(), self._ask_sink())
        problems = [
            *([] if found.runs else [f"the Flink job: {found.problem or found.state}"]),
            *([] if sink_state == "RUNNING" else [f"the sink connector: {sink_state}"]),
        ]
        return FlinkStatus(found, sink_state, "; ".join(problems))

    async def _ask_job(self) -> Job:
        try:
            found = await job.status(self._settings)
        except FlinkError as error:
            return Job(problem=str(error))
        return self._job if found.state == "ABSENT" else found

    async def _ask_sink(self) -> str:
        try:
            state = await sink.status(self._settings)
        except ConnectorError as error:
            return str(error)
        if state.running:
            return "RUNNING"
        return self._sink if state.state == "ABSENT" else f"{state.state} {state.problem}".strip()

    async def _see_to_job(self) -> None:
        try:
            self._job = await job.ensure(self._settings)
        except FlinkError as error:
            self._job = Job(problem=str(error))
            log.warning("the Flink job cannot be looked after", reason=str(error)[:300])

    async def _see_to_sink(self) -> None:
        try:
            self._sink = (await sink.apply(self._settings)).state
        except ConnectorError as error:
            self._sink = str(error)
            log.warning("the sink connector cannot be looked after", reason=str(error)[:300])


async def _again_and_again(look: Callable[[], Awaitable[None]]) -> None:
    while True:
        await look()
        await asyncio.sleep(WATCH_EVERY)
