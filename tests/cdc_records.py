"""CDC records for tests of their decoding: rows of each table, in the shapes that Debezium writes."""

import json
from decimal import Decimal
from typing import Any

import pytest

from snacks.cdc import Undecodable, decode
from snacks.domain.order import ItemDetail, RowChange
from snacks.domain.values import Currency, ItemStatus

NOW = 1_767_225_600_000
I1 = {
    "order_id": "kit-1",
    "item_id": "1",
    "item_name": "Apple Rings",
    "item_status": 0,
    "price": 1.25,
    "currency": 0,
    "quantity": 2,
}
S1 = {
    "order_id": "kit-1",
    "customer_name": "Ada K",
    "customer_address": "9 Quay St",
    "zip_code": "00501",
    "latitude": 1.5,
    "longitude": -2.5,
}
P1 = {
    "order_id": "kit-1",
    "payment_type": "CREDIT",
    "credit_card_type": "Visa",
    "credit_card_number": "****-****-****-4242",
    "amount": 2.50,
    "currency": 0,
}
ROW = {"item_detail": I1, "shipping_location": S1, "payment": P1}
KI, KS = {"order_id": "kit-1", "item_id": "1"}, {"order_id": "kit-1"}
APPLE = ItemDetail("Apple Rings", ItemStatus.REQUESTED, Decimal("1.25"), Currency.USD, 2)
SOURCE = {
    "connector": "mysql",
    "snapshot": "false",
    "ts_ms": NOW,
    "file": "binlog.000001",
    "pos": 900,
    "row": 0,
}
DECIMAL = {
    "type": "bytes",
    "optional": True,
    "name": "org.apache.kafka.connect.data.Decimal",
    "version": 1,
    "parameters": {"scale": "2", "connect.decimal.precision": "10"},
}


def raw(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def read(value: object, key: object = KI, table: str = "item_detail") -> RowChange:
    change = decode(table, raw(key), raw(value), NOW)
    assert isinstance(change, RowChange)
    return change


def item(**columns: Any) -> Any:
    return read(I1 | columns).row


def refusal(value: object, key: object = KI, table: str = "item_detail") -> str:
    with pytest.raises(Undecodable) as refused:
        decode(table, raw(key), raw(value), NOW)
    return str(refused.value)


def wrapped(payload: object, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "struct", "optional": False, "fields": list(fields)}, "payload": payload}


def envelope(op: str, before: Any, after: Any, **source: Any) -> dict[str, Any]:
    return {"before": before, "after": after, "source": SOURCE | source, "op": op, "ts_ms": NOW}
