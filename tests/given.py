"""CDC records as our connector writes them, for tests that need no Debezium."""

import json
from typing import Any

from aiokafka import ConsumerRecord

PREFIX = "order-command-server.order-command-db."
EPOCH = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def item(
    order_id: str = "kit-1", item_id: str = "1", **columns: Any
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    row = {
        "item_name": "Apple Rings",
        "item_status": "REQUESTED",
        "price": "1.25",
        "currency": "USD",
        "quantity": 2,
    } | columns
    return "item_detail", {"order_id": order_id, "item_id": item_id}, row


def place(order_id: str = "kit-1", **columns: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    row = {
        "customer_name": "Ada K",
        "customer_address": "9 Quay St",
        "zip_code": "00501",
        "latitude": 1.5,
        "longitude": -2.5,
    } | columns
    return "shipping_location", {"order_id": order_id}, row


def payment(order_id: str = "kit-1", **columns: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    row = {
        "payment_type": "CREDIT",
        "credit_card_type": "Visa",
        "credit_card_number": "****-****-****-4242",
        "amount": "2.50",
        "currency": "USD",
    } | columns
    return "payment", {"order_id": order_id}, row


def value(
    table_key_row: tuple[str, dict[str, Any], dict[str, Any]],
    *,
    at: int = EPOCH,
    position: int | None = None,
    deleted: bool = False,
) -> tuple[str, bytes, bytes]:
    """Topic, key and value of the row's record."""
    table, key, row = table_key_row
    extra: dict[str, Any] = {"__deleted": str(deleted).lower(), "__source_ts_ms": at}
    if position is not None:
        extra |= {"__source_file": "binlog.000001", "__source_pos": position, "__source_row": 0}
    return PREFIX + table, json.dumps(key).encode(), json.dumps({**key, **row, **extra}).encode()


class Log:
    """Gives records their offsets, as one partition of each topic would."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self._next: dict[str, int] = {}

    def record(self, topic: str, key: bytes | None, body: bytes | None, at: int = EPOCH) -> ConsumerRecord:
        offset = self._next.get(topic, 0)
        self._next[topic] = offset + 1
        size = len(body or b"")
        return ConsumerRecord(
            topic, self.partition, offset, at, 0, key, body, None, len(key or b""), size, ()
        )

    def rows(self, *rows: tuple[str, dict[str, Any], dict[str, Any]], **options: Any) -> list[ConsumerRecord]:
        return [self.record(*value(row, **options)) for row in rows]
