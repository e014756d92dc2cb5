"""The Flink job: its SQL, submitting it once, going on from its newest checkpoint, and how it is."""

import asyncio
import hashlib
import re
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Literal

import httpx
import msgspec
import structlog
from msgspec import Struct

from snacks.config import Settings
from snacks.flink.gateway import START, FlinkError, Session, reason, session

log = structlog.get_logger(__name__)

NAME = "snacks-customer-orders"
GROUP = "snacks-flink"
MINI_BATCH = {
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "100 ms",
    "table.exec.mini-batch.size": "100000",
}
"""All changes of an order within 100 ms become one: a row that changes is never seen to be gone first."""
REQUEST_SECONDS = 10.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
Until = Literal["unbounded", "latest-offset"]
ALIVE = ("CREATED", "INITIALIZING", "RUNNING", "RESTARTING", "FAILING", "RECONCILING")
_STATEMENT_END = re.compile(r";\s*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)


class Job(Struct, frozen=True, kw_only=True):
    """The job as it is. `id` empty: there is none. `tasks` that run, of how many.

    `state`: Flink's, or ABSENT. `problem`: why it does not run, or empty.
    """

    id: str = ""
    name: str = ""
    state: str = "ABSENT"
    running: int = 0
    tasks: int = 0
    problem: str = ""

    @property
    def runs(self) -> bool:
        """Whether all of it does its work."""
        return self.state == "RUNNING" and 0 < self.tasks == self.running


class _Tasks(Struct):
    total: int
    running: int


class _Overview(Struct, rename="kebab"):
    jid: str
    name: str
    state: str
    start_time: int
    tasks: _Tasks


class _Jobs(Struct):
    jobs: list[_Overview]


def statements(text: str) -> list[str]:
    """The SQL statements of a file, each ending with a semicolon at the end of a line."""
    return [one.strip() for one in _STATEMENT_END.split(_COMMENT.sub("", text)) if one.strip()]


def sql(name: str, settings: Settings, *, until: Until) -> list[str]:
    """The statements of `sql/<name>.sql`. `until`: read for ever, or to what is there now."""
    text = (files("snacks.flink") / "sql" / f"{name}.sql").read_text("utf-8")
    kafka = settings.cdc_kafka_bootstrap or settings.kafka
    values = {"kafka": kafka, "until": until, "group": GROUP}
    return [Template(statement).substitute(values) for statement in statements(text)]


def fingerprint(settings: Settings) -> str:
    """Names what the job does: a checkpoint fits no other."""
    all_of_it = [sql(name, settings, until="unbounded") for name in ("tables", "orders", "job")]
    return hashlib.sha256(repr((all_of_it, MINI_BATCH)).encode()).hexdigest()[:8]


async def prepare(opened: Session, settings: Settings, *, until: Until) -> None:
    """Make the tables and views in a session. Raises FlinkError."""
    for name in ("tables", "orders"):
        for statement in sql(name, settings, until=until):
            await opened.run(statement)


async def ensure(settings: Settings) -> Job:
    """See to it that exactly one job with this SQL is there; submit it if there is none.

    It goes on from its newest checkpoint, or begins with the oldest record. A job with other SQL is
    cancelled first.

    Raises:
        FlinkError: Flink is away or refuses.
    """
    name = f"{NAME}-{fingerprint(settings)}"
    alive = [job for job in await _ours(settings) if job.state in ALIVE]
    same = [job for job in alive if job.name == name]
    for extra in [job for job in alive if job not in same[:1]]:  # of two submitted at once, the younger
        log.warning("another job writes the customer orders: cancelling it", job=extra.jid, name=extra.name)
        await _cancel(settings, extra.jid)
    if not same:
        await _submit(settings, name)
    return await status(settings)


async def status(settings: Settings) -> Job:
    """The job as it is now. Raises FlinkError if Flink does not answer."""
    found = await _ours(settings)
    if not found:
        return Job(problem="the job was not submitted yet")
    one = next((job for job in found if job.state in ALIVE), found[-1])
    problem = ""
    if one.state != "RUNNING":
        problem = one.state
    elif one.tasks.running < one.tasks.total:
        problem = f"{one.tasks.running} of {one.tasks.total} tasks run"
    if problem:
        problem = ": ".join(filter(None, (problem, await _cause(settings, one.jid))))
    return Job(
        id=one.jid,
        name=one.name,
        state=one.state,
        running=one.tasks.running,
        tasks=one.tasks.total,
        problem=problem,
    )


async def stop(settings: Settings) -> bool:
    """Cancel the job and wait until it is gone; its newest checkpoint stays. False when none ran.

    Raises:
        FlinkError: Flink does not answer, or the job does not end.
    """
    alive = [job for job in await _ours(settings) if job.state in ALIVE]
    for job in alive:
        await _cancel(settings, job.jid)
    return bool(alive)


async def _submit(settings: Settings, name: str) -> None:
    folder = _checkpoints(settings, name)
    properties = MINI_BATCH | {
        "pipeline.name": name,
        "execution.runtime-mode": "streaming",
        "execution.checkpointing.dir": location(folder),
        "table.local-time-zone": "UTC",
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
    }
    checkpoint = newest_checkpoint(folder)
    if checkpoint:
        properties["execution.state-recovery.path"] = location(checkpoint)
    async with session(settings.flink_sql, properties) as opened:
        await prepare(opened, settings, until="unbounded")
        for statement in sql("job", settings, until="unbounded"):
            await opened.run(statement)
    log.info("submitted the Flink job", name=name, goes_on_from=str(checkpoint or "the beginning"))


def _checkpoints(settings: Settings, name: str) -> Path:
    return settings.state_dir / "data" / "flink" / "checkpoints" / name


def location(folder: Path) -> str:
    """The folder as Flink names it: unescaped, unlike `as_uri`. Flink would make a folder named `%20`."""
    return f"file://{folder}"


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below `folder` (`<job>/chk-<n>`): complete ones have metadata.

    Raises:
        FlinkError: the folder cannot be read.
    """
    complete: list[tuple[float, Path]] = []
    try:
        for path in folder.glob("*/chk-*/_metadata"):
            with suppress(FileNotFoundError):  # Flink may delete an older one at any moment
                complete.append((path.stat().st_mtime, path.parent))
    except OSError as error:
        raise FlinkError(f"the checkpoints in {folder} cannot be read: {error}") from error
    return max(complete)[1] if complete else None


async def _ours(settings: Settings) -> list[_Overview]:
    """All jobs of ours that the job manager remembers, the oldest first."""
    try:
        found = msgspec.convert(await _get(settings, "/jobs/overview"), _Jobs)
    except msgspec.ValidationError as error:
        raise FlinkError(
            f"{settings.flink} is no Flink job manager: /jobs/overview answers {error}"
        ) from None
    return sorted((job for job in found.jobs if job.name.startswith(NAME)), key=lambda job: job.start_time)


async def _cause(settings: Settings, job: str) -> str:
    history = (await _get(settings, f"/jobs/{job}/exceptions")).get("exceptionHistory", {})
    entries = history.get("entries", [])
    return reason(entries[0]["stacktrace"]) if entries else ""


async def _cancel(settings: Settings, job: str) -> None:
    await _get(settings, f"/jobs/{job}?mode=cancel", "PATCH")
    try:
        async with asyncio.timeout(STOP_SECONDS):
            while any(
                one.jid == job and one.state not in ("CANCELED", "FAILED", "FINISHED")
                for one in await _ours(settings)
            ):
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise FlinkError(f"the job {job} did not end in {STOP_SECONDS:.0f} s") from None


async def _get(settings: Settings, path: str, method: str = "GET") -> Any:
    url = settings.flink
    try:
        async with httpx.AsyncClient(
            base_url=url, timeout=REQUEST_SECONDS, trust_env=False, verify=url.startswith("https")
        ) as client:
            answer = await client.request(method, path)
            answer.raise_for_status()
            return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise FlinkError(f"Flink's job manager {url} does not answer: {error!r}. {START}") from error
