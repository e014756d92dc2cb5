"""A simulated log, broker and MongoDB around the real shard: crashes, freezes, repeats, lost answers.

One seed is one history. Each call of the shard to the outside passes a gate before and after its effect:
there a process may be dead (it never comes back), frozen (it comes back when others have taken over), or
told that its call failed, although it may have had its effect.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaConnectionError, ProducerFenced
from pymongo.errors import AutoReconnect
from tests.given import EPOCH, item, payment, place, value

from snacks.actors.checkpoint import Restored
from snacks.actors.orders import Entry
from snacks.actors.shard import Shard
from snacks.documents import Emission, Superseded
from snacks.domain.order import CustomerOrder, decode_order

PARTITION = 0
STATUSES = ("REQUESTED", "FULFILLED", "SHIPPED")
ORDERS = ("kit-1", "kit-2", "kit-3")


class World:
    """What outlives processes: the log, the broker's committed records, MongoDB."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.log: dict[str, list[ConsumerRecord]] = {}
        self.rows: dict[tuple[str, str, str], dict[str, Any] | None] = {}
        self.epoch = 0
        self.checkpoints: dict[str, bytes] = {}
        self.offsets: dict[str, int] = {}
        self.topic: list[tuple[str, bytes | None]] = []
        self.dead_letters: list[Entry] = []
        self.claim = 0
        self.ahead: dict[str, int] = {}
        self.documents: dict[str, tuple[int, CustomerOrder]] = {}
        self.seen: dict[str, list[str | None]] = {}
        self._write_log()

    def _write_log(self) -> None:
        """Random lives of a few orders, as MySQL would have them, with Debezium's repeats."""
        rng = self.rng
        for position in range(1, rng.randint(6, 24) + 1):
            order_id = rng.choice(ORDERS)
            make: Callable[..., Any] = rng.choice((item, item, item, place, payment))
            row_id = rng.choice("12") if make is item else ""
            table, key, row = make(order_id, row_id) if make is item else make(order_id)
            held = self.rows.get((table, order_id, row_id))
            deleted = held is not None and rng.random() < 0.15
            if make is item:
                rank = 0 if held is None else STATUSES.index(held["item_status"])
                row["item_status"] = STATUSES[min(2, rank + rng.randint(0, 1))]
                row["quantity"] = position
            elif make is place:
                row["zip_code"] = str(position)
            else:
                row["credit_card_type"] = f"Visa {position}"
            self.rows[table, order_id, row_id] = None if deleted else row
            topic, key_bytes, body = value(
                (table, key, row), at=EPOCH + position, position=position, deleted=deleted
            )
            records = self.log.setdefault(topic, [])
            for _ in range(2 if rng.random() < 0.1 else 1):
                records.append(_record(topic, len(records), key_bytes, body))
            if rng.random() < 0.1:  # Connect was killed: what it had not yet noted is sent again
                for old in records[-rng.randint(1, len(records)) :]:
                    records.append(_record(topic, len(records), old.key, old.value))

    def expected(self) -> dict[str, dict[str, Any]]:
        """What MongoDB must hold, told from the rows alone."""
        orders: dict[str, dict[str, Any]] = {}
        for (table, order_id, row_id), row in self.rows.items():
            if row is not None:
                orders.setdefault(order_id, {}).setdefault(table, {})[row_id] = row
        return {
            order_id: {
                "items": {
                    row_id: (row["item_status"], row["quantity"])
                    for row_id, row in sorted(tables["item_detail"].items())
                },
                "zip": tables["shipping_location"][""]["zip_code"],
                "card": tables["payment"][""]["credit_card_type"] if "payment" in tables else None,
            }
            for order_id, tables in orders.items()
            if "item_detail" in tables and "shipping_location" in tables
        }

    def note(self, order_id: str, status: str | None) -> None:
        """What a reader of MongoDB could see."""
        self.seen.setdefault(order_id, []).append(status)


def _record(topic: str, offset: int, key: bytes, body: bytes) -> ConsumerRecord:
    return ConsumerRecord(topic, PARTITION, offset, EPOCH, 0, key, body, None, len(key), len(body), ())


def told(order: CustomerOrder) -> dict[str, Any]:
    """A customer order in the terms of `World.expected`."""
    return {
        "items": {one.item_id: (one.item_status.value, one.quantity) for one in order.items},
        "zip": order.shipping_location.zip_code,
        "card": order.payment.credit_card_type if order.payment else None,
    }


class Process:
    """One process that believes to own the shard. The real Shard, with all that it calls simulated."""

    def __init__(self, world: World, *, faulty: bool) -> None:
        self.world = world
        self.faulty = faulty
        self.dead = False
        self.frozen: asyncio.Event | None = None
        self.freezes_at_write = False
        self.position: dict[str, int] | None = None
        # The shard hands its settings to Checkpoint, which the test replaces by FakeCheckpoint.
        arguments: Any = (self, PARTITION, FakeDocuments(self), self.start_reading, lambda *_: None)
        self.shard = Shard(*arguments)
        self.tasks = [asyncio.create_task(self.shard.run()), asyncio.create_task(self._feed())]

    async def gate(self, failure: BaseException | None = None) -> None:
        """Where time passes, and where a process dies, freezes, or is told that its call failed."""
        rng = self.world.rng
        await asyncio.sleep(rng.choice((0, 0, 0.01, 0.05)))
        if self.frozen is not None:
            await self.frozen.wait()
        if self.dead:
            await asyncio.get_running_loop().create_future()
        if failure is not None and self.faulty and rng.random() < 0.06:
            raise failure

    async def start_reading(
        self, _partition: int, offsets: dict[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        await self.gate()
        self.position = {topic: offsets.get(topic, 0) for topic in self.world.log}
        return dict(self.position), {topic: len(records) for topic, records in self.world.log.items()}

    async def _feed(self) -> None:
        """Hands records over in random portions, sometimes again, topics in any order."""
        rng = self.world.rng
        while True:
            await self.gate()
            if self.position is None or not self.shard.running:
                await asyncio.sleep(0.02)
                continue
            topic = rng.choice(list(self.world.log))
            records = self.world.log[topic]
            start = self.position[topic]
            if start >= len(records):
                await asyncio.sleep(0.01)
                continue
            end = min(len(records), start + rng.randint(1, 4))
            again = rng.randint(0, 2) if rng.random() < 0.1 else 0
            self.shard.offer(records[max(0, start - again) : end])
            self.position[topic] = end

    def hit(self, fault: str) -> None:
        """Kill it, freeze it, or take the shard away from it properly."""
        if fault == "kill":
            self.dead = True
        elif fault == "freeze":
            self.frozen = asyncio.Event()
        elif fault == "freeze at its next write":
            self.freezes_at_write = True
        else:
            self.shard.drain()

    def wake(self) -> None:
        """Let it go on if it is frozen."""
        self.freezes_at_write = False
        if self.frozen is not None:
            self.frozen.set()
            self.frozen = None

    @property
    def done(self) -> bool:
        """Whether it has committed the whole log."""
        ends = {topic: len(records) for topic, records in self.world.log.items()}
        return self.shard.running and all(self.world.offsets.get(one, 0) >= end for one, end in ends.items())

    async def end(self) -> None:
        """Away with its tasks, at the end of a history."""
        self.dead = False
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class FakeCheckpoint:
    """The transactional log: an epoch fences, a commit is all or nothing."""

    def __init__(self, process: Process, _partition: int) -> None:
        self._process, self._world = process, process.world
        self._epoch = 0

    async def fence(self) -> None:
        await self._process.gate(KafkaConnectionError())
        self._world.epoch += 1
        self._epoch = self._world.epoch
        await self._process.gate(KafkaConnectionError())

    async def restore(self, progress: Callable[[int, int], None]) -> Restored:
        await self._process.gate(KafkaConnectionError())
        restored = Restored(dict(self._world.checkpoints), dict(self._world.offsets))
        progress(1, 1)
        await self._process.gate(KafkaConnectionError())
        return restored

    async def commit(
        self,
        states: Sequence[Entry],
        aggregates: Iterable[Entry],
        dead_letters: Iterable[Entry],
        offsets: Mapping[str, int],
    ) -> None:
        await self._process.gate(TimeoutError())
        if self._epoch != self._world.epoch:
            raise ProducerFenced
        for key, body, _ in states:
            if body is None:
                self._world.checkpoints.pop(key.decode(), None)
            else:
                self._world.checkpoints[key.decode()] = body
        self._world.topic += [(key.decode(), body) for key, body, _ in aggregates]
        self._world.dead_letters += dead_letters
        self._world.offsets = dict(offsets)
        await self._process.gate(TimeoutError())

    async def close(self) -> None:
        await self._process.gate()


class FakeClaim(msgspec.Struct):
    epoch: int
    ahead: dict[str, int]

    async def release(self) -> None:
        """Nothing is held."""


class FakeDocuments:
    """MongoDB as `documents.Documents` uses it: claims, revisions, all of a write or none."""

    def __init__(self, process: Process) -> None:
        self._process, self._world = process, process.world

    async def claim(self, _shard: int) -> FakeClaim:
        await self._process.gate(AutoReconnect())
        self._world.claim += 1
        claim = FakeClaim(self._world.claim, self._world.ahead)
        await self._process.gate(AutoReconnect())
        return claim

    def check(self, claim: FakeClaim) -> None:
        """Only the present owner writes."""
        if claim.epoch != self._world.claim:
            raise Superseded

    async def emit(self, emissions: Sequence[Emission], claim: FakeClaim, ahead: Mapping[str, int]) -> None:
        if self._process.freezes_at_write:
            self._process.frozen = asyncio.Event()
        await self._process.gate(AutoReconnect())
        self.check(claim)
        if emissions:
            self._world.ahead = dict(ahead)
        for one in emissions:
            held = self._world.documents.get(one.order_id)
            if held is not None and held[0] >= one.revision:
                continue
            if one.order is not None:
                self._world.documents[one.order_id] = (one.revision, one.order)
                self._world.note(one.order_id, one.order.order_status)
            elif held is not None:
                del self._world.documents[one.order_id]
                self._world.note(one.order_id, None)
        await self._process.gate(AutoReconnect())


async def history(seed: int) -> list[str]:
    """Play one history; what is wrong at its end, empty if nothing is."""
    world = World(seed)
    processes = await _faults(world)
    last = processes[-1]
    for one in processes:
        one.faulty = False
        one.wake()
        if one is not last:
            one.shard.drain()  # the group told it that the shard is revoked
    try:
        async with asyncio.timeout(600):  # of virtual time
            while not last.done:
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)  # what former owners still have under way
    except TimeoutError:
        return ["the last process did not get to the end of the log"]
    finally:
        await asyncio.gather(*(one.end() for one in processes))
    return wrong(world)


async def _faults(world: World) -> list[Process]:
    """One owner after the other, each ended in its own way; some wake up while a successor works."""
    rng = world.rng
    processes = [Process(world, faulty=True)]
    for _ in range(rng.randint(0, 4)):
        await asyncio.sleep(rng.uniform(0, 0.6))
        processes[-1].hit(rng.choice(("kill", "freeze", "freeze at its next write", "drain")))
        processes.append(Process(world, faulty=True))
        for former in processes[:-1]:
            if rng.random() < 0.5:
                former.wake()
    return processes


def wrong(world: World) -> list[str]:
    """The invariants that do not hold."""
    found = []
    documents = {order_id: told(order) for order_id, (_, order) in world.documents.items()}
    if documents != world.expected():
        found.append(f"MongoDB has {documents}, the tables say {world.expected()}")
    last = dict(world.topic)
    published = {order_id: body for order_id, body in last.items() if body is not None}
    if {order_id: decode_order(body) for order_id, body in published.items()} != {
        order_id: order for order_id, (_, order) in world.documents.items()
    }:
        found.append("the topic's last values are not the documents")
    if world.dead_letters:
        found.append(f"{len(world.dead_letters)} dead letters")
    return found + _steps_back(world)


def _steps_back(world: World) -> list[str]:
    """A status may go back only where MySQL did: an item, a payment or a place was deleted."""
    deleted = {
        record.key.split(b'"order_id": "')[1].split(b'"')[0].decode()
        for records in world.log.values()
        for record in records
        if b'"__deleted": "true"' in record.value
    }
    ranks = {"PENDING": 0, "PAID": 1, "FULFILLED": 2, "SHIPPED": 3}
    histories: dict[str, dict[str, list[str | None]]] = {"MongoDB": world.seen, "topic": {}}
    for order_id, body in world.topic:
        status = None if body is None else decode_order(body).order_status.value
        histories["topic"].setdefault(order_id, []).append(status)
    found = []
    for where, orders in histories.items():
        for order_id, statuses in orders.items():
            if order_id in deleted or _has_new_item(world, order_id):
                continue
            seen = [ranks[status] for status in statuses if status is not None]
            if seen != sorted(seen):
                found.append(f"{order_id} stepped back in {where}: {statuses}")
    return found


def _has_new_item(world: World, order_id: str) -> bool:
    """An item that is added to an order that was on its way brings its status down, rightly."""
    items = {row_id for table, one, row_id in world.rows if (table, one) == ("item_detail", order_id)}
    return len(items) > 1
