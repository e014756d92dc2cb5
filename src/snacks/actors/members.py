"""Who folds what in the whole group: the broker is asked, so that every process can tell it of all."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code

from snacks.actors.status import GroupStatus, MemberStatus
from snacks.cdc.topics import CDC_TOPICS
from snacks.config import Settings

REQUEST_MS = 2_000
CLOSE_SECONDS = 1.0


async def describe(settings: Settings) -> GroupStatus:
    """The group's members, the shards that each was given, and what each shard has still to fold.

    The lag is told from the group's offsets, which are committed once a second.

    Raises:
        KafkaError, OSError: the broker does not answer.
    """
    sources = [TopicPartition(topic, n) for topic in CDC_TOPICS for n in range(settings.partitions)]
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.kafka, client_id="snacks-members", request_timeout_ms=REQUEST_MS
    )
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        client_id="snacks-members",
        group_id=None,
        enable_auto_commit=False,
        request_timeout_ms=REQUEST_MS,
        retry_backoff_ms=10,  # it learns of each topic by one failure
    )
    try:
        await asyncio.gather(admin.start(), consumer.start())
        coordinator = await admin.find_coordinator(settings.group_id)
        described, committed, begins, ends = await asyncio.gather(
            admin.describe_consumer_groups([settings.group_id], coordinator),
            admin.list_consumer_group_offsets(settings.group_id, coordinator, sources),
            consumer.beginning_offsets(sources),
            consumer.end_offsets(sources),
        )
    finally:
        # Tasks of their own: they go on to their end if this is cancelled, and nothing stays open.
        closing = [asyncio.create_task(one) for one in (admin.close(), consumer.stop())]
        done, _ = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        for task in done:
            task.exception()  # a broker that is away: what was asked has failed already
    ((error, _, state, _, _, members, *_),) = described[0].groups
    if error:
        raise for_code(error)(f"the group {settings.group_id} cannot be described")
    lags = dict.fromkeys(range(settings.partitions), 0)
    for source in sources:
        folded = committed[source].offset if source in committed else -1
        lags[source.partition] += max(0, ends[source] - max(folded, begins[source]))
    return GroupStatus(
        settings.group_id,
        state,
        sorted(
            (
                MemberStatus(client, host.removeprefix("/"), {n: lags[n] for n in _shards(assignment)})
                for _, client, host, _, assignment in members
            ),
            key=lambda member: member.client_id,
        ),
        lags,
    )


def _shards(assignment: bytes) -> list[int]:
    """The partitions in a member's assignment; none before its group has settled."""
    if not assignment:
        return []
    given = ConsumerProtocolMemberAssignment.decode(assignment).partitions()
    return sorted({source.partition for source in given})
