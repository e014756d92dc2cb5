"""Topics that lose records, or are made anew, against a real broker. Case C7."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition
from pymongo import AsyncMongoClient
from tests.folding import actors, everything, fold_until, produce, status_of, total
from tests.fresh import remade
from tests.given import item, payment, place, value
from tests.waiting import until

from snacks.actors.inbox import Inbox
from snacks.cdc import CDC_TOPICS, topics
from snacks.cdc.topics import CHECKPOINTS
from snacks.config import Settings
from snacks.documents import Documents


@pytest.fixture
async def given(given: Settings) -> AsyncIterator[Settings]:
    """Here a test may end without one of the topics, which others then miss."""
    yield given
    await topics.ensure(given)


async def test_c7_records_deleted_below_the_checkpoint_are_said_and_nothing_else_is_skipped(
    given: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await produce(given, *map(value, (item(), place())))
    await fold_until(given, folded=2)
    await produce(given, *[value(item(f"kit-{number}")) for number in range(2, 102)])
    await _delete_before(given, 51)
    await fold_until(given, folded=50)
    assert "records are missing between the checkpoint and the topic" in capsys.readouterr().out


async def test_c7_records_deleted_before_a_running_shard_read_them_are_said(
    given: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with actors(given) as host:
        await produce(given, *map(value, (item(), place())))
        await until(lambda: total(host, "folded") == 2)
        with monkeypatch.context() as patched:
            patched.setattr(Inbox, "wants", lambda *_: False)  # as if it did not keep up
            turns = host._turns
            await until(lambda: host._turns > turns + 2)
            await produce(given, *[value(item(f"kit-{number}")) for number in range(2, 102)])
            await _delete_before(given, 51)
        await until(lambda: total(host, "folded") == 52)
    assert "records were deleted before they were read" in capsys.readouterr().out


async def test_c7_a_shard_does_not_wait_for_records_that_will_never_come(
    given: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """MongoDB says that a dead owner had read further than the topic goes, and that ends with a marker."""
    producer = AIOKafkaProducer(bootstrap_servers=given.kafka, transactional_id="a-connector")
    async with producer, producer.transaction():
        topic, key, body = value(item())
        await producer.send_and_wait(topic, body, key, partition=0)
    async with AsyncMongoClient[dict[str, Any]](given.mongo) as client:
        claims = client[given.mongo_database]["snacksClaims"]
        await claims.insert_one({"_id": 0, "epoch": 1, "ahead": [[CDC_TOPICS[0], 9]]})
    await produce(given, value(place()))
    await fold_until(given, folded=2)
    assert "MongoDB holds records that the topic has lost" in capsys.readouterr().out


async def _delete_before(settings: Settings, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(CDC_TOPICS[0], 0): RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def test_c7_a_topic_made_anew_is_read_from_its_beginning(given: Settings) -> None:
    await produce(given, *[value(item(f"kit-{number}")) for number in range(50)], value(place("kit-1")))
    await fold_until(given, folded=51)
    await remade(given, *CDC_TOPICS)
    await produce(given, value(payment("kit-1")), value(item("kit-1", quantity=7)))
    await fold_until(given, folded=2)
    assert await status_of(given, "kit-1") == "PAID"


async def test_c7_a_topic_made_anew_is_read_from_its_beginning_though_it_is_longer_already(
    given: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await produce(given, *[value(item(f"kit-{number}")) for number in range(5)], value(place("kit-1")))
    await fold_until(given, folded=6)
    await remade(given, CDC_TOPICS[0])
    await produce(given, *[value(item(f"new-{number}")) for number in range(20)])
    await fold_until(given, folded=20)
    assert "a topic was made anew" in capsys.readouterr().out
    checkpoints = {key for key, _ in await everything(given, CHECKPOINTS)}
    assert {f"new-{number}" for number in range(20)} <= checkpoints
    await produce(given, value(place("new-0")))  # and where it is read now is known again
    await fold_until(given, folded=1)


async def test_c7_a_topic_made_anew_under_running_actors_is_read_from_its_beginning(given: Settings) -> None:
    await produce(given, *[value(item(f"kit-{number}")) for number in range(30)], value(place("kit-1")))
    async with actors(given) as host:
        await until(lambda: total(host, "folded") == 31)
        await remade(given, CDC_TOPICS[0])
        await produce(given, value(item("kit-1", quantity=7)), value(item("new")), value(place("new")))
        await until(lambda: _shows(given, "new", 2), within=60)
        await until(lambda: _shows(given, "kit-1", 7), within=60)


async def _shows(settings: Settings, order_id: str, quantity: int) -> bool:
    async with Documents(settings.mongo, settings.mongo_database) as documents:
        order = await documents.get(order_id)
    return order is not None and order["items"][0]["quantity"] == quantity
