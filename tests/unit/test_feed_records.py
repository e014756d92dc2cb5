"""What the feed reads out of a record of the aggregate topic."""

import json

import pytest
from aiokafka import ConsumerRecord
from tests.feeding import NOW

from snacks.feed.tail import change_of

ORDER = {
    "orderId": "kit-1",
    "orderStatus": "PAID",
    "modifiedDate": "2026-01-01T00:00:00",
    "items": [],
    "shippingLocation": {
        "customerName": "Ada K",
        "customerAddress": "9 Quay St",
        "zipCode": "00501",
        "geoLocation": {"latitude": 1.5, "longitude": -2.5},
    },
    "payment": {
        "paymentType": "CREDIT",
        "creditCardType": "Visa",
        "creditCardNumber": "4242-4242-4242-4242",
        "amount": {"amount": 2.5, "currency": "USD"},
    },
}


def record(body: bytes | None, key: bytes | None = b"kit-1", **headers: bytes) -> ConsumerRecord:
    return ConsumerRecord("t", 1, 7, NOW, 0, key, body, None, 5, 5, tuple(headers.items()))


def test_a_record_says_order_revision_and_the_times_of_its_hops() -> None:
    body = json.dumps(ORDER, indent=1).encode()
    change = change_of(record(body, revision=b"3", changed=b"10", captured=b"20", stored=b"x"))
    assert change is not None
    assert (change.order_id, change.partition, change.offset) == ("kit-1", 1, 7)
    assert (change.revision, change.status) == (3, "PAID")
    assert json.loads(change.times) == {"changed": 10, "captured": 20, "stored": None, "published": NOW}
    assert "\n" not in (change.body or "")


def test_a_card_number_that_another_engine_published_is_masked() -> None:
    change = change_of(record(json.dumps(ORDER).encode()))
    assert change is not None
    assert "****-****-****-4242" in (change.body or "")
    assert "4242-4242" not in (change.body or "")


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"\xff"])
def test_a_record_that_is_no_order_means_nothing(body: bytes) -> None:
    assert change_of(record(body)) is None
    assert change_of(record(None, key=None)) is None
