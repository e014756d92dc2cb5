"""What must hold at the end of each history."""

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from snacks.cdc.topics import AGGREGATES, DEAD_LETTERS
from snacks.domain.order import CustomerOrder, encode

if TYPE_CHECKING:
    from tests.chaos.model.world import World

RANK = {"PENDING": 0, "PAID": 1, "FULFILLED": 2, "SHIPPED": 3}
Seen = list[tuple[int | None, dict[str, Any] | None]]


def wrong(world: "World") -> list[str]:
    """The invariants that do not hold, each with what it found."""
    published = _committed(world, AGGREGATES)
    return [
        *_mongodb_is_mysql(world),
        *_topic_is_mongodb(world, published),
        *_nothing_steps_back(world, "MongoDB", world.seen),
        *_nothing_steps_back(world, "the topic", _seen_in(published)),
        *_each_letter_once(world),
        *world.late,
        *world.unexpected,
    ]


def _committed(world: "World", topic: str) -> list[ConsumerRecord]:
    return [
        record
        for partition in range(world.partitions)
        for record in world.broker.partition(TopicPartition(topic, partition)).committed()
    ]


def _documents(world: "World") -> dict[str, dict[str, Any]]:
    return {
        place[1]: document["customerOrder"]
        for place, document in world.mongo.documents.items()
        if place[0] == "customerOrder"
    }


def _mongodb_is_mysql(world: "World") -> list[str]:
    expected = world.expected()
    for order_id, order in expected.items():
        when = datetime.fromtimestamp(world.modified[order_id] / 1000, UTC)
        order["modifiedDate"] = when.strftime("%Y-%m-%dT%H:%M:%S")
    held = _documents(world)
    return [
        f"{order_id}: MySQL says {expected.get(order_id)}, MongoDB says {held.get(order_id)}"
        for order_id in sorted(expected.keys() | held.keys())
        if expected.get(order_id) != held.get(order_id)
    ]


def _topic_is_mongodb(world: "World", published: list[ConsumerRecord]) -> list[str]:
    last = {record.key.decode(): record.value for record in published}
    topic = {order_id: value for order_id, value in last.items() if value is not None}
    held = {
        order_id: encode(msgspec.convert(order, CustomerOrder))
        for order_id, order in _documents(world).items()
    }
    return [
        f"{order_id}: the topic's last value is {topic.get(order_id)!r}, MongoDB says {held.get(order_id)!r}"
        for order_id in sorted(topic.keys() | held.keys())
        if topic.get(order_id) != held.get(order_id)
    ]


def _seen_in(published: list[ConsumerRecord]) -> dict[str, Seen]:
    seen: dict[str, Seen] = {}
    for record in published:
        revision = int(dict(record.headers)["revision"])
        order = None if record.value is None else msgspec.json.decode(record.value)
        seen.setdefault(record.key.decode(), []).append((revision, order))
    return seen


def _nothing_steps_back(world: "World", where: str, seen: dict[str, Seen]) -> list[str]:
    """Neither a revision nor, unless MySQL's did, a status or a row."""
    found = []
    for order_id, states in seen.items():
        revisions = [revision for revision, _ in states if revision is not None]
        if any(later <= sooner for sooner, later in pairwise(revisions)):
            found.append(f"{order_id}: revisions in {where} went {revisions}")
        ranks = [-1 if order is None else RANK[order["orderStatus"]] for _, order in states]
        if order_id not in world.lowered and ranks != sorted(ranks):
            found.append(f"{order_id}: stepped back in {where}: {states}")
        versions = [_versions(order) for _, order in states if order is not None]
        for sooner, later in pairwise(versions):
            for row, version in sooner.items():
                gone = row not in later and max(world.deleted.get((order_id, row), [0])) < version
                if gone or later.get(row, version) < version:
                    found.append(f"{order_id}: row {row} stepped back in {where}: {sooner}, then {later}")
    return found


def _versions(order: dict[str, Any]) -> dict[str, int]:
    """Which change of each row is seen: the world writes its position into the row."""
    versions = {item["itemId"]: item["quantity"] for item in order["items"]}
    versions["shipping_location"] = int(order["shippingLocation"]["zipCode"])
    if order["payment"] is not None:
        versions["payment"] = int(order["payment"]["creditCardType"])
    return versions


def _each_letter_once(world: "World") -> list[str]:
    letters = Counter(record.key.decode() for record in _committed(world, DEAD_LETTERS))
    return [
        f"{identity}: {letters[identity]} dead letters, not {int(identity in world.poison)}"
        for identity in sorted(letters.keys() | world.poison)
        if letters[identity] != (identity in world.poison)
    ]
