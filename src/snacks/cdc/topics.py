"""The topics: `redpanda/topics.toml` as data, created where missing, mended where they would lose data."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from msgspec import Struct

from snacks.cdc.decode import CDC_TOPICS
from snacks.cdc.files import redpanda
from snacks.config import Settings

__all__ = [
    "AGGREGATES",
    "CDC_TOPICS",
    "CHECKPOINTS",
    "DEAD_LETTERS",
    "PartitionsDiffer",
    "Topic",
    "TopicError",
    "TopicStatus",
]
__all__ += ["describe", "ensure", "load"]

AGGREGATES = "customer-order-aggregate"
CHECKPOINTS = "snacks-order-checkpoints"
DEAD_LETTERS = "snacks-dead-letters"

REQUEST_SECONDS = 10.0
"""How long one request to the broker may take."""
WAIT_SECONDS = 30.0
"""How long the whole work may take."""
POLL_SECONDS = 0.05
REPLICAS = 3
_SET_ON_TOPIC = 1  # config_source in DescribeConfigs

log = structlog.get_logger(__name__)


class TopicError(Exception):
    """The topics cannot be used as they are, or the broker does not answer; says what to do."""


class PartitionsDiffer(TopicError):  # noqa: N818  (a fact about the topics, named like one)
    """Numbers of partitions that do not fit each other or the setting: no waiting mends it."""


class Topic(Struct, frozen=True, forbid_unknown_fields=True):
    """A topic as it must be. `partitions` "settings" stands for `Settings.partitions`."""

    name: str
    partitions: int | Literal["settings"]
    holds: str
    key: str
    value: str
    written_by: str
    read_by: str
    config: dict[str, str] = {}

    def count(self, settings: Settings) -> int:
        """How many partitions it must have."""
        return settings.partitions if self.partitions == "settings" else self.partitions


class TopicStatus(Struct, frozen=True):
    """A topic as it is. `partitions` 0: it does not exist.

    `records` is end minus begin offsets: compaction and transaction markers make it more than what can
    be read. `done` says what `ensure` did about it: "created", "retention.ms 60000 -> -1", or nothing.
    """

    name: str
    partitions: int
    records: int
    cleanup_policy: str
    holds: str
    done: str = ""


class _File(Struct, forbid_unknown_fields=True):
    topic: list[Topic]


def load() -> list[Topic]:
    """The topics of `redpanda/topics.toml`, in its order."""
    return msgspec.toml.decode(redpanda("topics.toml").read_bytes(), type=_File).topic


async def ensure(settings: Settings) -> list[TopicStatus]:
    """Create missing topics; set back configuration that would lose data; then describe them all.

    Safe to repeat, and while others do the same.

    Raises:
        PartitionsDiffer: numbers of partitions that do not fit; says which setting to set.
        TopicError: the broker is away or refuses.
    """
    async with _admin(settings) as admin:
        topics = load()
        counts = await _counts(admin)
        _check_partitions(settings, topics, counts)
        missing = [topic for topic in topics if topic.name not in counts]
        if missing:
            await _create(admin, settings, missing)
            # Somebody else may have made one meanwhile, in another way.
            _check_partitions(settings, topics, await _counts(admin))
        done = {topic.name: "created" for topic in missing}
        configs = await _configs(admin, topics)
        for topic in topics:
            changes = await _mend(admin, topic, configs[topic.name])
            if changes and topic.name not in done:
                log.warning(
                    "a topic's configuration would lose data: set back", topic=topic.name, changes=changes
                )
                done[topic.name] = changes
        return await _describe(admin, settings, topics, done)


async def describe(settings: Settings) -> list[TopicStatus]:
    """The topics as they are; nothing is changed.

    Raises:
        TopicError: the broker does not answer.
    """
    async with _admin(settings) as admin:
        return await _describe(admin, settings, load(), {})


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    milliseconds = int(REQUEST_SECONDS * 1000)
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.kafka, client_id="snacks-topics", request_timeout_ms=milliseconds
    )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await admin.start()
            yield admin
    except TimeoutError:
        raise TopicError(f"the broker {settings.kafka} did not answer in {WAIT_SECONDS:.0f} s") from None
    except (KafkaError, OSError) as error:
        raise TopicError(f"the broker {settings.kafka} does not answer: {error}") from error
    finally:
        with suppress(KafkaError, TimeoutError, OSError):
            await admin.close()


async def _counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """How many partitions each topic of the cluster has."""
    return {found["topic"]: len(found["partitions"]) for found in await admin.describe_topics()}


def _check_partitions(settings: Settings, topics: Sequence[Topic], counts: dict[str, int]) -> None:
    found = {topic.name: counts[topic.name] for topic in topics if topic.name in counts}
    wrong = {
        topic.name: topic for topic in topics if found.get(topic.name) not in (None, topic.count(settings))
    }
    if not wrong:
        return
    shown = ", ".join(f"{name} has {count}" for name, count in found.items())
    sharded = {
        found[topic.name] for topic in topics if topic.name in found and topic.partitions == "settings"
    }
    if len(sharded) == 1:
        advice = (
            f"set SNACKS_PARTITIONS={sharded.pop()}, or delete them to begin again with {settings.partitions}"
        )
    else:
        advice = (
            f"they must be equal, for partition p of all of them is one shard. Delete {', '.join(wrong)} "
            f"to have it made again with SNACKS_PARTITIONS={settings.partitions}; then `snacks rebuild`"
        )
    raise PartitionsDiffer(f"SNACKS_PARTITIONS is {settings.partitions}, but {shown} partitions: {advice}")


async def _create(admin: AIOKafkaAdminClient, settings: Settings, missing: Sequence[Topic]) -> None:
    brokers = len((await admin.describe_cluster())["brokers"])
    answer = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.count(settings),
                REPLICAS if brokers >= REPLICAS else 1,
                topic_configs=topic.config,
            )
            for topic in missing
        ]
    )
    for name, code, *message in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise TopicError(
                f"{name} cannot be created: {for_code(code).__name__} {message[0] if message else ''}"
            )
    names = {topic.name for topic in missing}
    while not names <= {name for name, count in (await _counts(admin)).items() if count}:
        await asyncio.sleep(POLL_SECONDS)


async def _configs(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic]
) -> dict[str, dict[str, tuple[str, bool]]]:
    """Each topic's configuration by name: value, and whether it was set on the topic itself."""
    if not topics:
        return {}
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    found = {}
    for answer in await admin.describe_configs(wanted):
        for code, message, _, name, entries in answer.resources:
            if code:
                raise TopicError(
                    f"the configuration of {name} cannot be read: {message or for_code(code).__name__}"
                )
            found[name] = {entry[0]: (entry[1], entry[3] == _SET_ON_TOPIC) for entry in entries}
    return found


async def _mend(admin: AIOKafkaAdminClient, topic: Topic, configured: dict[str, tuple[str, bool]]) -> str:
    """Set back what differs; what was changed, as text."""
    # A broker may not know a setting at all (Redpanda): nothing to compare, nothing to lose.
    different = {
        name: value for name, value in topic.config.items() if configured.get(name, (value,))[0] != value
    }
    if not different:
        return ""
    # AlterConfigs replaces all that was set on the topic: say the rest again.
    kept = {name: value for name, (value, on_topic) in configured.items() if on_topic}
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, kept | different)
    for answer in await admin.alter_configs([resource]):
        for code, message, *_ in answer.resources:
            if code:
                needed = ", ".join(f"{name} must be {value}" for name, value in different.items())
                raise TopicError(
                    f"{topic.name} would lose data: {needed}; "
                    f"the broker refuses to change it: {message or for_code(code).__name__}"
                )
    while different.items() - {(n, v) for n, (v, _) in (await _configs(admin, [topic]))[topic.name].items()}:
        await asyncio.sleep(POLL_SECONDS)
    return ", ".join(f"{name} {configured[name][0]} -> {value}" for name, value in different.items())


async def _describe(
    admin: AIOKafkaAdminClient, settings: Settings, topics: Sequence[Topic], done: dict[str, str]
) -> list[TopicStatus]:
    counts = await _counts(admin)
    there = [topic for topic in topics if counts.get(topic.name)]
    configs = await _configs(admin, there)
    records = await _records(settings, {topic.name: counts[topic.name] for topic in there})
    return [
        TopicStatus(
            topic.name,
            counts.get(topic.name, 0),
            records.get(topic.name, 0),
            configs.get(topic.name, {}).get("cleanup.policy", ("", False))[0],
            topic.holds,
            done.get(topic.name, ""),
        )
        for topic in topics
    ]


async def _records(settings: Settings, counts: dict[str, int]) -> dict[str, int]:
    if not counts:
        return {}  # and aiokafka fails to stop a consumer that did nothing
    partitions = [TopicPartition(name, n) for name, count in counts.items() for n in range(count)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        client_id="snacks-topics",
        group_id=None,
        enable_auto_commit=False,
        request_timeout_ms=int(REQUEST_SECONDS * 1000),
        retry_backoff_ms=10,  # it learns of each topic by one failure
    )
    try:
        await consumer.start()
        begin: dict[Any, int] = await consumer.beginning_offsets(partitions)
        end: dict[Any, int] = await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()
    records = dict.fromkeys(counts, 0)
    for partition in partitions:
        records[partition.topic] += end[partition] - begin[partition]
    return records
