"""The backlog: the three CDC topics of many orders, always the same ones for a seed.

An order has two or three items REQUESTED, a place, a payment (one in five pays first), then all items
FULFILLED, then SHIPPED: 8 or 11 records. A simulated clock starts 500 orders a second and draws the time of
each further step, so about 10,000 orders are under way at once and their records interleave as in a binlog.

`flat` is what our connector writes; `schemas` is what the ancestor's writes: each key and value with its
schema, ordinals for names, money as a double. Both are routed by order id, as our connector does.
"""

import asyncio
import heapq
import json
import random
import zlib
from collections.abc import Awaitable, Iterator
from typing import Any, Literal
from uuid import UUID

import msgspec
from aiokafka import AIOKafkaProducer
from msgspec import Struct

from snacks.cdc.topics import CDC_TOPICS
from snacks.config import Settings

Form = Literal["flat", "schemas"]
Row = tuple[str, dict[str, Any], int]
"""Table, columns, and when the row changed: milliseconds since 1970 UTC."""

ARRIVALS = 500.0
START = 1_767_225_600_000
BATCH_BYTES = 512 * 1024
AT_ONCE = 64
"""Batches that wait for the broker at the same time."""

SNACKS = ("Swedish Fish", "Pretzels", "Cheez-It", "Veggie Sticks", "Gold Fish", "Fruit Snacks", "Snickers")
STREETS = ("Rising Sun Rd", "Mimi & Pop Street", "Cinderella Ln", "Summit Ave.", "Oak Grove Blvd")
NAMES = ("Brady", "Oakley", "Rylan", "Sam", "Torey", "Avery", "Quinn", "Harper", "Rowan", "Emery")
STATUSES = ("REQUESTED", "FULFILLED", "SHIPPED")
KEYS = {"item_detail": ("order_id", "item_id"), "shipping_location": ("order_id",), "payment": ("order_id",)}
TOPICS = {topic.rpartition(".")[2]: topic for topic in CDC_TOPICS}


class Backlog(Struct, frozen=True):
    """What was written: how many items each order has in the end, records, and bytes of keys and values."""

    orders: dict[str, int]
    records: int
    bytes: int


def steps(random_: random.Random) -> list[list[tuple[str, dict[str, Any]]]]:
    """The rows of one order, step by step."""
    order_id = str(UUID(int=random_.getrandbits(128), version=4))
    items: list[dict[str, Any]] = [
        {
            "order_id": order_id,
            "item_id": str(number),
            "item_name": name,
            "item_status": 0,
            "price": random_.randrange(1, 1000) / 100,
            "currency": 0,
            "quantity": random_.randrange(1, 6),
        }
        for number, name in enumerate(random_.sample(SNACKS, random_.choice((2, 3))), 1)
    ]
    place = {
        "order_id": order_id,
        "customer_name": f"{random_.choice(NAMES)} {random_.choice('ABCDEFGHKLMNPRSTW')}",
        "customer_address": f"{random_.randrange(1, 9999)} {random_.choice(STREETS)}",
        "zip_code": f"{random_.randrange(1000, 99999):05d}",
        "latitude": round(random_.uniform(-89, 89), 7),
        "longitude": round(random_.uniform(-179, 179), 7),
    }
    payment = {
        "order_id": order_id,
        "payment_type": "CREDIT_CARD",
        "credit_card_type": random_.choice(("Visa", "MasterCard", "Amex")),
        "credit_card_number": f"****-****-****-{random_.randrange(10000):04d}",
        "amount": round(sum(item["price"] * item["quantity"] for item in items), 2),
        "currency": 0,
    }
    return [
        [("item_detail", item) for item in items],
        [("shipping_location", place)],
        [("payment", payment)],
        [("item_detail", {**item, "item_status": 1}) for item in items],
        [("item_detail", {**item, "item_status": 2}) for item in items],
    ]


def rows(orders: int, seed: int = 1) -> Iterator[Row]:
    """All rows of all orders, as the simulated clock has them happen."""
    random_ = random.Random(seed)
    due: list[tuple[float, int, list[tuple[str, dict[str, Any]]]]] = []
    started = number = 0
    while due or started < orders:
        now = started / ARRIVALS
        if started < orders and (not due or now <= due[0][0]):
            started += 1
            order = steps(random_)
            first = order[0]
            shipped_to = now + random_.expovariate(1 / 2)
            paid = shipped_to + random_.expovariate(1 / 3)
            if random_.random() < 0.2:
                shipped_to, paid = paid, shipped_to
            fulfilled = max(shipped_to, paid) + random_.expovariate(1 / 5)
            done = fulfilled + random_.expovariate(1 / 10)
            for at, step in zip((shipped_to, paid, fulfilled, done), order[1:], strict=True):
                number += 1
                heapq.heappush(due, (at, number, step))
        else:
            now, _, first = heapq.heappop(due)
        for table, row in first:
            yield table, row, START + int(now * 1000)


_FIELDS = {
    "order_id": ("string", False),
    "item_id": ("string", False),
    "item_name": ("string", True),
    "item_status": ("int16", True),
    "price": ("double", True),
    "currency": ("int16", True),
    "quantity": ("int32", True),
    "customer_name": ("string", True),
    "customer_address": ("string", True),
    "zip_code": ("string", True),
    "latitude": ("double", True),
    "longitude": ("double", True),
    "payment_type": ("string", True),
    "credit_card_type": ("string", True),
    "credit_card_number": ("string", True),
    "amount": ("double", True),
}


class Encoder:
    """Makes key and value of a row's record."""

    def __init__(self, form: Form) -> None:
        self._flat = form == "flat"
        self._heads: dict[tuple[str, str, tuple[str, ...]], bytes] = {}
        self._json = msgspec.json.Encoder().encode
        self._position = 4

    def __call__(self, table: str, row: dict[str, Any], at: int) -> tuple[bytes, bytes]:
        key = {name: row[name] for name in KEYS[table]}
        if not self._flat:
            return self._wrapped(table, "Key", key), self._wrapped(table, "Value", row)
        self._position += 120 + 40 * len(row)
        value = row | {
            "__deleted": "false",
            "__op": "u" if row.get("item_status") else "c",
            "__source_ts_ms": at,
            "__source_file": f"binlog.{1 + self._position // 10**9:06d}",
            "__source_pos": self._position % 10**9,
            "__source_row": 0,
        }
        if "item_status" in value:
            value["item_status"] = STATUSES[value["item_status"]]
        value["currency"] = "USD"
        for money in ("price", "amount"):
            if money in value:
                value[money] = f"{value[money]:.2f}"
        if table == "shipping_location":
            del value["currency"]
        return self._json(key), self._json(value)

    def _wrapped(self, table: str, kind: str, body: dict[str, Any]) -> bytes:
        names = (table, kind, tuple(body))
        head = self._heads.get(names)
        if head is None:
            fields = [
                {"type": _FIELDS[name][0], "optional": _FIELDS[name][1], "field": name} for name in body
            ]
            schema = {
                "type": "struct",
                "fields": fields,
                "optional": False,
                "name": f"{TOPICS[table]}.{kind}",
            }
            head = b'{"schema":' + json.dumps(schema, separators=(",", ":")).encode() + b',"payload":'
            self._heads[names] = head
        return head + self._json(body) + b"}"


def partition_of(order_id: str, partitions: int) -> int:
    """Where an order's records go: any hash will do, as long as it is the same for all three topics."""
    return zlib.crc32(order_id.encode()) % partitions


async def write(settings: Settings, orders: int, form: Form, seed: int = 1) -> Backlog:
    """Put the backlog of so many orders into the CDC topics, which must be empty.

    Raises:
        KafkaError: the broker does not take it.
    """
    encode = Encoder(form)
    items: dict[str, int] = {}
    count = size = 0
    waiting: list[Awaitable[object]] = []
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        acks=1,
        max_batch_size=BATCH_BYTES,
        max_request_size=4 * BATCH_BYTES,
    )
    async with producer:
        batches: dict[tuple[str, int], Any] = {}
        for table, row, at in rows(orders, seed):
            key, value = encode(table, row, at)
            place = TOPICS[table], partition_of(row["order_id"], settings.partitions)
            batch = batches.get(place)
            if batch is None or batch.append(key=key, value=value, timestamp=at) is None:
                if batch is not None:
                    waiting.append(await producer.send_batch(batch, place[0], partition=place[1]))
                batch = batches[place] = producer.create_batch()
                batch.append(key=key, value=value, timestamp=at)
            if table == "item_detail" and row["item_status"] == 0:
                items[row["order_id"]] = items.get(row["order_id"], 0) + 1
            count += 1
            size += len(key) + len(value)
            if len(waiting) > AT_ONCE:
                await asyncio.gather(*waiting)
                waiting.clear()
        for (topic, partition), batch in batches.items():
            waiting.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*waiting)
    return Backlog(items, count, size)
