"""A group, a MongoDB database and topics of one's own on servers that other tests use too."""

from uuid import uuid4

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from snacks.cdc import CDC_TOPICS, topics
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS, DEAD_LETTERS
from snacks.config import Settings
from tests.waiting import until

OURS = (*CDC_TOPICS, AGGREGATES, CHECKPOINTS, DEAD_LETTERS)


async def fresh_topics(base: Settings) -> Settings:
    """Settings with empty topics, a group and a database of their own."""
    name = uuid4().hex[:8]
    settings = msgspec.structs.replace(base, group_id=f"g-{name}", mongo_database=f"d-{name}")
    await remade(settings, *OURS)
    return settings


async def remade(settings: Settings, *names: str) -> None:
    """These topics of ours, lost and made again."""
    await lost(settings, *names)
    await topics.ensure(settings)


async def lost(settings: Settings, *names: str) -> None:
    """The topics are gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.delete_topics([topic for topic in await admin.list_topics() if topic in names])

        async def gone() -> bool:
            return not set(await admin.list_topics()) & set(names)

        await until(gone)
    finally:
        await admin.close()


async def bound(settings: Settings, topic: str, size: int) -> None:
    """From now on this CDC topic takes records of up to this size, batches of records too."""
    wanted = {"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": str(size)}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])

        async def taken_over() -> bool:  # by the broker: the controller has answered before
            (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            ((*_, entries),) = answer.resources
            return wanted.items() <= {entry[0]: entry[1] for entry in entries}.items()

        await until(taken_over)
    finally:
        await admin.close()
