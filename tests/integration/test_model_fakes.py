"""The simulated broker and MongoDB of tests/chaos/model, and the real ones: the same body runs over both."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ProducerFenced
from pymongo import AsyncMongoClient, DeleteOne, InsertOne
from pymongo.errors import OperationFailure, PyMongoError
from tests.chaos.model import kafka, mongo
from tests.chaos.model.net import Net, Process
from tests.chaos.model.virtual import RUNNING, VirtualLoop
from tests.chaos.model.world import World

from snacks.platform import Platform

Body = Callable[[Any], Awaitable[None]]


# ── the broker ───────────────────────────────────────────────────────────────────────────────────


class Kafka:
    """Producers and consumers of one partition, simulated or real."""

    def __init__(self, producer: Any, consumer: Any, server: str, topic: str) -> None:
        self._producer, self._consumer, self._server = producer, consumer, server
        self.source = TopicPartition(topic, 0)
        self._open: list[Any] = []

    async def producer(self, transactional_id: str) -> Any:
        made = self._producer(
            bootstrap_servers=self._server,
            transactional_id=f"{self.source.topic}-{transactional_id}-0",
            transaction_timeout_ms=30_000,
        )
        await made.start()
        self._open.append(made)
        return made

    async def send(self, producer: Any, *keys: str) -> None:
        batch = producer.create_batch()
        for key in keys:
            batch.append(key=key.encode(), value=b"{}", timestamp=None, headers=[])
        await (await producer.send_batch(batch, self.source.topic, partition=0))

    async def read(self, isolation: str) -> tuple[list[tuple[int, str]], int]:
        """Offsets and keys to the end that such a reader sees, and that end, which its position reaches."""
        consumer = self._consumer(
            bootstrap_servers=self._server,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
        )
        await consumer.start()
        try:
            consumer.assign([self.source])
            begin = (await consumer.beginning_offsets([self.source]))[self.source]
            end = (await consumer.end_offsets([self.source]))[self.source]
            consumer.seek(self.source, begin)
            found: list[tuple[int, str]] = []
            async with asyncio.timeout(30):
                while await consumer.position(self.source) < end:
                    records = await consumer.getmany(self.source, timeout_ms=200)
                    found += [(one.offset, one.key.decode()) for one in records.get(self.source, ())]
            return found, end
        finally:
            await consumer.stop()

    async def read_to(self, end: int, isolation: str = "read_committed") -> tuple[list[tuple[int, str]], int]:
        """As `read`, again until that is the end: a commit is acknowledged before it shows."""
        for _ in range(200):
            seen = await self.read(isolation)
            if seen[1] == end:
                break
            await asyncio.sleep(0.05)
        return seen

    async def close(self) -> None:
        for one in self._open:
            await one.stop()


async def committed_records_and_their_marker_take_offsets(broker: Kafka) -> None:
    producer = await broker.producer("a")
    for _ in range(2):
        await producer.begin_transaction()
        await broker.send(producer, "kit-1", "kit-2")
        await producer.commit_transaction()
    assert await broker.read_to(6) == ([(0, "kit-1"), (1, "kit-2"), (3, "kit-1"), (4, "kit-2")], 6)


async def an_open_transaction_hides_itself_and_what_follows(broker: Kafka) -> None:
    first, second = await broker.producer("a"), await broker.producer("b")
    await first.begin_transaction()
    await broker.send(first, "open")
    await second.begin_transaction()
    await broker.send(second, "committed")
    await second.commit_transaction()
    assert await broker.read_to(3, "read_uncommitted") == ([(0, "open"), (1, "committed")], 3)
    assert await broker.read("read_committed") == ([], 0)


async def a_fence_aborts_what_is_open_and_shuts_the_former_producer_out(broker: Kafka) -> None:
    former = await broker.producer("a")
    await former.begin_transaction()
    await broker.send(former, "undone")
    successor = await broker.producer("a")
    with pytest.raises(ProducerFenced):
        await former.commit_transaction()
    await successor.begin_transaction()
    await broker.send(successor, "done")
    await successor.commit_transaction()
    assert await broker.read_to(4) == ([(2, "done")], 4)
    assert (await broker.read("read_uncommitted"))[0] == [(0, "undone"), (2, "done")]


BROKER = (
    committed_records_and_their_marker_take_offsets,
    an_open_transaction_hides_itself_and_what_follows,
    a_fence_aborts_what_is_open_and_shuts_the_former_producer_out,
)


# ── MongoDB ──────────────────────────────────────────────────────────────────────────────────────


async def put(collection: Any, session: Any, *operations: Any) -> None:
    await collection.bulk_write(list(operations), ordered=False, session=session)


async def found(collection: Any, session: Any, *ids: str) -> list[str]:
    documents = collection.find({"_id": {"$in": list(ids)}}, {"revision": 1}, session=session, batch_size=9)
    return sorted([one["_id"] async for one in documents])


async def taken(collection: Any, number: int) -> Any:
    return await collection.find_one_and_update(
        {"_id": 1}, {"$inc": {"epoch": number}}, upsert=True, return_document=pymongo.ReturnDocument.AFTER
    )


async def a_transaction_is_written_whole_or_not_at_all(client: Any) -> None:
    collection, session = client["d"]["a"], client.start_session()
    async with await session.start_transaction():
        await put(collection, session, InsertOne({"_id": "x"}), InsertOne({"_id": "y"}))
        assert await collection.find_one({"_id": "x"}) is None
        assert await found(collection, session, "x", "y") == ["x", "y"]
    assert await collection.find_one({"_id": "x"}) == {"_id": "x"}
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  (the block is what is undone)
        async with await session.start_transaction():
            await put(collection, session, DeleteOne({"_id": "x"}), DeleteOne({"_id": "y"}))
            raise ZeroDivisionError
    assert await collection.find_one({"_id": "y"}) == {"_id": "y"}
    await session.end_session()


async def a_transaction_conflicts_with_one_that_wrote_before_it(client: Any) -> None:
    collection, one, two = client["d"]["b"], client.start_session(), client.start_session()
    await collection.find_one_and_update({"_id": 1}, {"$inc": {"epoch": 1}}, upsert=True)
    async with await one.start_transaction():
        assert (
            await collection.update_one({"_id": 1, "epoch": 1}, {"$inc": {"n": 1}}, session=one)
        ).matched_count == 1
        with pytest.raises(OperationFailure) as conflict:
            async with await two.start_transaction():
                await collection.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=two)
        assert conflict.value.has_error_label("TransientTransactionError")
    await one.end_session()
    await two.end_session()


async def a_transaction_sees_what_was_there_when_it_began(client: Any) -> None:
    collection, session = client["d"]["c"], client.start_session()
    await taken(collection, 1)
    with pytest.raises(OperationFailure) as conflict:  # noqa: PT012  (where it is raised does not matter)
        async with await session.start_transaction():
            assert await found(collection, session, "x") == []
            assert (await taken(collection, 1))["epoch"] == 2
            await collection.update_one({"_id": 1, "epoch": 1}, {"$inc": {"n": 1}}, session=session)
    assert conflict.value.has_error_label("TransientTransactionError")
    async with await session.start_transaction():
        missed = await collection.update_one({"_id": 1, "epoch": 1}, {"$inc": {"n": 1}}, session=session)
        assert missed.matched_count == 0
    await session.end_session()


async def who_claims_waits_for_a_transaction_until_its_session_is_killed(client: Any) -> None:
    collection, session = client["d"]["e"], client.start_session()
    await taken(collection, 1)
    await session.start_transaction()
    await collection.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
    with pytest.raises(PyMongoError) as late, pymongo.timeout(0.5):
        await taken(collection, 1)
    assert late.value.timeout
    await client.admin.command({"killSessions": [{"id": session.session_id["id"]}]})
    assert (await taken(collection, 1))["epoch"] == 2
    with pytest.raises(OperationFailure) as killed:
        await session.commit_transaction()
    assert killed.value.has_error_label("TransientTransactionError")
    async with await session.start_transaction():  # the session itself can go on
        again = await collection.update_one({"_id": 1, "epoch": 2}, {"$inc": {"n": 1}}, session=session)
        assert again.matched_count == 1
    await session.end_session()


MONGODB = (
    a_transaction_is_written_whole_or_not_at_all,
    a_transaction_conflicts_with_one_that_wrote_before_it,
    a_transaction_sees_what_was_there_when_it_began,
    who_claims_waits_for_a_transaction_until_its_session_is_killed,
)


# ── over both ────────────────────────────────────────────────────────────────────────────────────


def simulate(made: Callable[[], Any], body: Body) -> None:
    """Run a body in a process of a simulated world."""
    loop = VirtualLoop()
    net = Net(loop, Random(1))
    net.world = World(net, net.rng)
    context = contextvars.copy_context()
    context.run(RUNNING.set, Process(net, "process"))

    async def run() -> None:
        await loop.create_task(in_process(), context=context)

    async def in_process() -> None:
        await body(made())

    loop.run_until_complete(run())


@pytest.mark.parametrize("body", BROKER)
def test_the_simulated_broker(body: Body) -> None:
    simulate(lambda: Kafka(kafka.Producer, kafka.Consumer, "", "contract"), body)


@pytest.mark.parametrize("body", MONGODB)
def test_the_simulated_mongodb(body: Body) -> None:
    simulate(mongo.Client, body)


@pytest.mark.parametrize("body", BROKER)
async def test_the_real_broker(body: Body, lab: Platform) -> None:
    topic, admin = f"contract-{uuid4().hex[:8]}", AIOKafkaAdminClient(bootstrap_servers=lab.settings.kafka)
    await admin.start()
    broker = Kafka(AIOKafkaProducer, AIOKafkaConsumer, lab.settings.kafka, topic)
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
        await body(broker)
    finally:
        await broker.close()
        await admin.delete_topics([topic])
        await admin.close()


@pytest.mark.parametrize("body", MONGODB)
async def test_the_real_mongodb(body: Body, lab: Platform) -> None:
    async with AsyncMongoClient[dict[str, Any]](lab.settings.mongo, w="majority") as client:
        await client.drop_database("d")
        for name in "abce":
            await client["d"].create_collection(name)
        try:
            await body(client)
        finally:
            await client.drop_database("d")
