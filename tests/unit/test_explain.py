"""What is told of an order where the aggregate topic has something else under its key."""

import pytest
from aiokafka import ConsumerRecord

from snacks.explain.found import agreement, published, read

CARD = b"4929381332664295"
ORDER = {"orderId": "kit-1"}


def record(value: bytes | None) -> ConsumerRecord:
    return ConsumerRecord("t", 1, 7, 0, 0, b"kit-1", value, None, 5, 5, ())


@pytest.mark.parametrize("value", [b"not json " + CARD, b"\xff" + CARD, b"[" * 50_000, b'"\xff"'])
def test_what_is_no_json_is_told_as_text_without_its_card(value: bytes) -> None:
    told = published(record(value))
    assert CARD not in bytes(told.order or b"")
    assert isinstance(read(told.order), str)
    assert agreement("it", ORDER, read(told.order)).detail == "what was found is no order"


@pytest.mark.parametrize("value", [b"null", b"[]", b"5", b'"text"'])
def test_json_that_is_no_order_differs(value: bytes) -> None:
    assert not agreement("it", ORDER, read(published(record(value)).order)).ok


def test_a_tombstone_is_nothing() -> None:
    assert read(published(record(None)).order) is None
