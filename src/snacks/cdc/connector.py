"""Our Debezium connector: its configuration from `redpanda/connector*.json`, and Kafka Connect's REST calls.

Deleting a connector keeps its offsets: made again under the same name, it goes on where it was.
"""

import asyncio
from collections.abc import Callable

import httpx
import msgspec
from msgspec import Struct

from snacks.cdc.connect import (
    NOT_FOUND,
    POLL_SECONDS,
    REQUEST_SECONDS,
    WAIT_SECONDS,
    ConnectorError,
    client_of,
    get,
    send,
)
from snacks.cdc.decode import CDC_TOPICS, DATABASE, TOPIC_PREFIX
from snacks.cdc.files import redpanda
from snacks.config import Settings

__all__ = ["ABSENT", "Applied", "ConnectorError", "ConnectorStatus", "TaskStatus"]
__all__ += ["apply", "configuration", "delete", "everyone", "pause", "restart", "resume", "snapshot_again"]
__all__ += ["status"]

FILES = {"mysql": "connector.json", "mariadb": "connector-mariadb.json"}
FAILED_SECONDS = 2.0
"""How long a task may show FAILED: after a change or a restart, its old state shows for a moment."""
ABSENT = "ABSENT"


class TaskStatus(Struct, frozen=True):
    """A task of a connector. `trace` is the stack trace of a FAILED one."""

    id: int
    state: str
    worker_id: str = ""
    trace: str = ""


class _Worker(Struct, frozen=True):
    state: str
    worker_id: str = ""
    trace: str = ""


class ConnectorStatus(Struct, frozen=True):
    """A connector: its state (RUNNING, PAUSED, FAILED, UNASSIGNED, ... or ABSENT) and its tasks."""

    name: str
    connector: _Worker
    tasks: list[TaskStatus] = []

    @property
    def state(self) -> str:
        """The connector's own state; FAILED if one of its tasks is."""
        return "FAILED" if any(task.state == "FAILED" for task in self.tasks) else self.connector.state

    @property
    def running(self) -> bool:
        """Whether it and all its tasks (one at least) run."""
        return bool(self.tasks) and {self.connector.state, *(task.state for task in self.tasks)} == {
            "RUNNING"
        }

    @property
    def problem(self) -> str:
        """Why it failed: the first line of the trace, and the last cause; empty if it did not."""
        traces = [self.connector.trace, *(task.trace for task in self.tasks)]
        trace = next((trace for trace in traces if trace), "")
        lines = trace.splitlines()
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        text = "; cause: ".join([*lines[:1], *causes[-1:]])[:600]
        if "history topic" in trace:
            text += ". Read all tables anew: ./snacks connector snapshot (see redpanda/README.md)"
        return text


class Applied(Struct, frozen=True):
    """What `apply` did. `changed`: the configuration was new to Connect."""

    status: ConnectorStatus
    changed: bool


def configuration(settings: Settings) -> dict[str, str]:
    """The connector's configuration, with the settings filled in. It contains no password.

    Raises:
        ConnectorError: the file has a placeholder that no setting fills, or the database has another name.
    """
    database = settings.mysql_database
    if database != DATABASE:
        raise ConnectorError(
            f"SNACKS_MYSQL_DATABASE is {database}, but the topics are {TOPIC_PREFIX}.{DATABASE}.*: "
            f"Debezium names them for the database, so it must be {DATABASE}"
        )
    host, port = settings.mysql
    values = {
        "$mysql_host": settings.cdc_mysql_host or host,
        "$mysql_port": str(settings.cdc_mysql_port or port),
        "$database": database,
        "$tables": ",".join(topic.removeprefix(f"{TOPIC_PREFIX}.") for topic in CDC_TOPICS),
        "$kafka": settings.cdc_kafka_bootstrap or settings.kafka,
        "$partitions": str(settings.partitions),
    }
    raw = msgspec.json.decode(redpanda(FILES[settings.db]).read_bytes(), type=dict[str, str])
    config = {name: values.get(value, value) for name, value in raw.items()}
    for name, value in config.items():
        if value.startswith("$") and not value.startswith("${"):
            raise ConnectorError(f"{FILES[settings.db]}: {name} is {value}, which no setting fills")
    return config


async def apply(settings: Settings, config: dict[str, str] | None = None) -> Applied:
    """Wait for Connect, register the connector if its configuration is not this one, wait until it runs.

    `config`: without it, our Debezium connector's.

    Idempotent: an unchanged connector that runs is left alone; failed tasks are restarted once, and a
    paused one is resumed.

    Raises:
        ConnectorError: Connect does not answer in time or refuses; a task fails.
    """
    config = configuration(settings) if config is None else config
    path = f"/connectors/{settings.connector}"
    async with client_of(settings.connect, WAIT_SECONDS) as client:
        current = await get(client, f"{path}/config", dict[str, str | None])
        changed = current is None or {k: v for k, v in current.items() if k != "name"} != config
        if changed:
            await _validate(client, config)
            await send(client, "PUT", f"{path}/config", config)
        else:
            state = (await _status(client, settings)).state
            if state == "FAILED":
                await send(client, "POST", f"{path}/restart?includeTasks=true&onlyFailed=true")
            elif state in ("PAUSED", "STOPPED"):
                await send(client, "PUT", f"{path}/resume")
        return Applied(await _wait(client, settings, lambda status: status.running), changed)


async def status(settings: Settings) -> ConnectorStatus:
    """The connector as it is now; its state is ABSENT if Connect does not know it.

    Raises:
        ConnectorError: Connect does not answer.
    """
    async with client_of(settings.connect, REQUEST_SECONDS, patient=False) as client:
        return await _status(client, settings)


class _Expanded(Struct):
    status: ConnectorStatus


async def everyone(settings: Settings) -> list[ConnectorStatus]:
    """All connectors that Connect knows, ours or not, by name.

    Raises:
        ConnectorError: Connect does not answer.
    """
    async with client_of(settings.connect, REQUEST_SECONDS, patient=False) as client:
        found = await get(client, "/connectors?expand=status", dict[str, _Expanded])
    return [found[name].status for name in sorted(found)]


async def pause(settings: Settings) -> ConnectorStatus:
    """Pause it, and wait until it is paused. Nothing is lost: it goes on where it was.

    Raises:
        ConnectorError: Connect does not answer, or there is no such connector.
    """
    return await _order(settings, "PUT", "pause", lambda status: status.state == "PAUSED")


async def resume(settings: Settings) -> ConnectorStatus:
    """Resume it, and wait until it runs.

    Raises:
        ConnectorError: Connect does not answer, there is no such connector, or a task fails.
    """
    return await _order(settings, "PUT", "resume", lambda status: status.running)


async def restart(settings: Settings) -> ConnectorStatus:
    """Restart it and all its tasks, failed ones too, and wait until it runs.

    Raises:
        ConnectorError: Connect does not answer, there is no such connector, or a task fails.
    """
    return await _order(settings, "POST", "restart?includeTasks=true", lambda status: status.running)


async def snapshot_again(settings: Settings) -> ConnectorStatus:
    """Forget its place in the binlog and read all tables anew, then go on from there.

    For a binlog that is gone or a schema history that is missing. Every row comes again (op `r`), which
    changes nothing that is known; rows deleted meanwhile are not told: compare with MySQL afterwards.

    Raises:
        ConnectorError: Connect does not answer, there is no such connector, or a task fails.
    """
    path = f"/connectors/{settings.connector}"
    async with client_of(settings.connect, WAIT_SECONDS) as client:
        await send(client, "PUT", f"{path}/stop")
        await _wait(client, settings, lambda status: status.connector.state == "STOPPED" and not status.tasks)
        await send(client, "DELETE", f"{path}/offsets")
        await send(client, "PUT", f"{path}/resume")
        return await _wait(client, settings, lambda status: status.running)


async def delete(settings: Settings) -> bool:
    """Remove it; False if it was not there. Its offsets and topics stay.

    Raises:
        ConnectorError: Connect does not answer.
    """
    async with client_of(settings.connect, WAIT_SECONDS) as client:
        answer = await send(client, "DELETE", f"/connectors/{settings.connector}", absent_ok=True)
        await _wait(client, settings, lambda status: status.state == ABSENT)
        return answer.status_code != NOT_FOUND


async def _order(
    settings: Settings, method: str, action: str, reached: Callable[[ConnectorStatus], bool]
) -> ConnectorStatus:
    async with client_of(settings.connect, WAIT_SECONDS) as client:
        await send(client, method, f"/connectors/{settings.connector}/{action}")
        return await _wait(client, settings, reached)


async def _wait(
    client: httpx.AsyncClient, settings: Settings, reached: Callable[[ConnectorStatus], bool]
) -> ConnectorStatus:
    clock = asyncio.get_running_loop().time
    failed_since: float | None = None
    while True:
        now = await _status(client, settings)
        if reached(now):
            return now
        if now.state != "FAILED":
            failed_since = None
        elif failed_since is None:
            failed_since = clock()
        elif clock() - failed_since > FAILED_SECONDS:
            raise ConnectorError(f"connector {settings.connector} failed: {now.problem}")
        await asyncio.sleep(POLL_SECONDS)


async def _status(client: httpx.AsyncClient, settings: Settings) -> ConnectorStatus:
    path = f"/connectors/{settings.connector}/status"
    found = await get(client, path, ConnectorStatus)
    return found or ConnectorStatus(settings.connector, _Worker(ABSENT))


class _Value(Struct):
    name: str
    errors: list[str] = []


class _Field(Struct):
    value: _Value | None = None


class _Validation(Struct):
    configs: list[_Field]


async def _validate(client: httpx.AsyncClient, config: dict[str, str]) -> None:
    """Ask first, which tries the database too: Connect 4.3 answers a bad PUT with a defect of its own."""
    path = f"/connector-plugins/{config['connector.class']}/config/validate"
    answer = await send(client, "PUT", path, config | {"name": "validated"})
    fields = msgspec.json.decode(answer.content, type=_Validation).configs
    errors = [
        f"{field.value.name}: {' '.join(field.value.errors)}"
        for field in fields
        if field.value and field.value.errors
    ]
    if errors:
        raise ConnectorError(f"Kafka Connect refuses the configuration: {'; '.join(errors)}")
