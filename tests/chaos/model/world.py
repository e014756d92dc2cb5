"""What outlives processes: MySQL's rows, Debezium's records, the broker, MongoDB; and what readers saw."""

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import TopicPartition
from tests import given, oracle
from tests.chaos.model.broker import Broker
from tests.chaos.model.group import Group
from tests.chaos.model.mongo import Doc, Mongo
from tests.chaos.model.net import Net, Process

from snacks.cdc import CDC_TOPICS
from snacks.cdc.topics import CHECKPOINTS

if TYPE_CHECKING:
    from tests.chaos.model.kafka import Consumer

STATUSES = ("REQUESTED", "FULFILLED", "SHIPPED")
ORDERS = (1, 1, 2)
"""Of one partition: the fewer, the more happens to one."""
SESSION = 1.0
"""The session of a member, in seconds of virtual time."""

Row = dict[str, Any]
Write = tuple[TopicPartition, bytes, bytes, int]
"""Where, key, value, timestamp."""


class World:
    """Made of a seed. `pending` is what MySQL will still commit, `rows` how its tables are after that."""

    def __init__(self, net: Net, rng: Random) -> None:
        self.net, self.rng = net, rng
        self.partitions = 1 if rng.random() < 0.7 else 2
        self.sources = [TopicPartition(topic, one) for topic in CDC_TOPICS for one in range(self.partitions)]
        self.broker = Broker()
        self.mongo = Mongo(net.loop.time, self._stored)
        self.group = Group(net, self.sources, session=SESSION, patience=1.5 * SESSION)
        self.consumers: list[Consumer] = []
        self.numbers: Callable[[], int] = count(1).__next__
        self.rows: dict[tuple[str, str, str], Row | None] = {}
        self.modified: dict[str, int] = {}
        self.lowered: set[str] = set()
        """Orders of which MySQL itself took a status back: a row deleted, or an item added."""
        self.poison: set[str] = set()
        """Records that mean nothing, as dead letters name them."""
        self.pending: list[list[Write]] = []
        self.deleted: dict[tuple[str, str], list[int]] = {}
        """When rows were deleted, in positions of MySQL's log, by order id and row."""
        self.seen: dict[str, list[tuple[int | None, Doc | None]]] = {}
        """Revision and order of each document that MongoDB held, by order id, one after the other."""
        self.late: list[str] = []
        """Commits of a shard that its process had given back."""
        self.unexpected: list[str] = []
        """What the application logged as a defect."""
        self._write_log()

    # ── MySQL and Debezium ───────────────────────────────────────────────────────────────────────

    def _write_log(self) -> None:
        rng = self.rng
        ids = [f"kit-{number}" for number in range(rng.choice(ORDERS) * self.partitions)]
        ends: dict[TopicPartition, list[Write]] = {}
        last = rng.randint(4, 14)
        for position in range(1, last + 1):
            number = rng.randrange(len(ids))
            write = self._change(ids[number], number % self.partitions, position, last=position == last)
            written = ends.setdefault(write[0], [])
            step = [write]
            if rng.random() < 0.06:
                step.append((write[0], write[1], b"{not json", write[3]))
            if rng.random() < 0.08:
                step.append(write)
            written += step
            if rng.random() < 0.08:  # Connect was killed: what it had not yet noted is sent again
                again = [one for one in written[-rng.randint(1, len(written)) :] if one[2] != b"{not json"]
                step += again
                written += again
            self.pending.append(step)
        for source, writes in ends.items():
            for offset, write in enumerate(writes):
                if write[2] == b"{not json":
                    self.poison.add(f"{source.topic}/{source.partition}/{offset}")
        for _ in range(rng.randint(0, len(self.pending))):
            self.grow()

    def _change(self, order_id: str, partition: int, position: int, *, last: bool) -> Write:
        """One row more, changed or deleted. Its number, street or card is the position: readers' versions."""
        rng, at = self.rng, given.EPOCH + position // 3 * 1000  # MariaDB tells whole seconds
        ending = last and rng.random() < 0.4  # the order disappears
        make = given.place if ending else rng.choice((given.item,) * 3 + (given.place, given.payment))
        row_id = rng.choice("1112") if make is given.item else ""
        held = self.rows.get((_TABLES[make], order_id, row_id))
        table, key, row = given.item(order_id, row_id) if make is given.item else make(order_id)
        deleted = held is not None and (ending or rng.random() < 0.2)
        if make is given.item:
            rank = 0 if held is None else STATUSES.index(held["item_status"])
            row |= {"item_status": STATUSES[min(2, rank + rng.randint(0, 1))], "quantity": position}
            others = (name for name, one in self.rows.items() if one and name[:2] == (table, order_id))
            if held is None and any(others):
                self.lowered.add(order_id)
        else:
            row["zip_code" if make is given.place else "credit_card_type"] = str(position)
        if deleted:
            self.lowered.add(order_id)
            self.deleted.setdefault((order_id, row_id or table), []).append(position)
        self.rows[table, order_id, row_id] = None if deleted else row
        self.modified[order_id] = at
        extra = {
            "__deleted": "true" if deleted else "false",
            "__source_ts_ms": at,
            "__source_file": "binlog.000001",
            "__source_pos": position,
        }
        body = _encode({**key, **row, **extra})
        return TopicPartition(given.PREFIX + table, partition), _encode(key), body, at

    def grow(self) -> None:
        """Debezium writes what comes next, if there is something."""
        if not self.pending:
            return
        for source, key, value, at in self.pending.pop(0):
            self.broker.partition(source).put(source, key, value, at)
        self.news()

    def compact(self) -> None:
        """What the broker's cleaner does to the checkpoints, whenever it likes."""
        for source, partition in self.broker.partitions.items():
            if source.topic == CHECKPOINTS:
                partition.compact()

    def news(self) -> None:
        """Wake who waits for records."""
        for consumer in self.consumers:
            consumer.poke()

    # ── what the invariants look at ──────────────────────────────────────────────────────────────

    def expected(self) -> dict[str, Doc]:
        """What MongoDB must hold, told from the tables alone."""
        tables: dict[str, dict[str, list[Row]]] = {}
        for (table, order_id, _), row in self.rows.items():
            if row is not None:
                tables.setdefault(order_id, {}).setdefault(table, []).append(_as_mysql(row))
        items = {"item_detail", "shipping_location"}
        for (table, order_id, row_id), row in self.rows.items():
            if table == "item_detail" and row is not None:
                tables[order_id].setdefault("ids", []).append({"item_id": row_id})
        return {
            order_id: oracle.document(
                order_id,
                [row | ids for row, ids in zip(held["item_detail"], held["ids"], strict=True)],
                held["shipping_location"][0],
                held["payment"][0] if "payment" in held else None,
            )
            for order_id, held in tables.items()
            if items <= held.keys()
        }

    def _stored(self, collection: str, document: Doc | None, order_id: str) -> None:
        if collection == "customerOrder":
            seen = self.seen.setdefault(order_id, [])
            if document is None:
                seen.append((None, None))
            else:
                seen.append((document["revision"], document["customerOrder"]))

    def commits_begun(self, process: Process, transactional_id: str) -> None:
        """A transaction begins: only of a shard that the process has."""
        partition = int(transactional_id.rpartition("-")[2])
        if partition not in process.owned:
            self.late.append(f"{process.name} began a commit of shard {partition}, which it had given back")

    @property
    def folded(self) -> bool:
        """Whether everything that MySQL committed has been folded and committed."""
        return not self.pending and all(
            self.offsets(partition).get(source.topic, 0) >= self.broker.partition(source).end
            for partition in range(self.partitions)
            for source in self.sources
            if source.partition == partition
        )

    def offsets(self, partition: int) -> dict[str, int]:
        """What the newest committed checkpoint of a shard says."""
        return _offsets_of(self.broker.partition(TopicPartition(CHECKPOINTS, partition)))


def _offsets_of(checkpoints: Any) -> dict[str, int]:
    for slot in reversed(checkpoints.slots):
        shown = slot.transaction is not None and slot.transaction.state == "committed"
        if shown and slot.record is not None and slot.record.key == b"@shard":
            return msgspec.json.decode(slot.record.value, type=dict[str, int])
    return {}


_TABLES = {given.item: "item_detail", given.place: "shipping_location", given.payment: "payment"}
_encode = msgspec.json.encode
_MONEY = ("price", "amount")


def _as_mysql(row: Row) -> Row:
    return {name: Decimal(value) if name in _MONEY else value for name, value in row.items()}
