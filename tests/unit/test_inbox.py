"""What waits in a shard: how much of it a cycle takes, and when it is full."""

import pytest
from aiokafka import ConsumerRecord
from tests.given import PREFIX, Log, item, place

from snacks.actors import inbox
from snacks.actors.inbox import Inbox

ITEMS, PLACES = PREFIX + "item_detail", PREFIX + "shipping_location"


def filled(records: list[ConsumerRecord]) -> Inbox:
    made = Inbox()
    made.put(records)
    return made


def test_a_cycle_takes_no_more_than_its_most_unless_documents_are_further() -> None:
    records = Log().rows(*(item(item_id=str(number)) for number in range(10)), place())
    assert filled(records).take(4, {}, {}) == records[:4]
    assert filled(records).take(4, {}, {ITEMS: 3}) == records[:4]
    assert filled(records).take(4, {}, {ITEMS: 7}) == records[:7]
    assert filled(records).take(4, {}, {ITEMS: 2, PLACES: 1}) == records
    assert filled(records[5:]).take(2, {ITEMS: 5}, {ITEMS: 5}) == records[5:7], "it is there already"


def test_what_was_taken_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "BACKLOG_RECORDS", 5)
    records = Log().rows(*(item(item_id=str(number)) for number in range(6)))
    waiting = filled(records)
    assert waiting.full
    assert waiting.take(2, {}, {}) == records[:2]
    assert (len(waiting), waiting.full) == (4, False)
    assert waiting.take(9, {}, {}) == records[2:]
    assert not waiting


def test_large_records_fill_it_and_a_cycle_takes_few_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "CYCLE_BYTES", 25_000)
    monkeypatch.setattr(inbox, "BACKLOG_BYTES", 60_000)
    log = Log()
    large = log.rows(*(item(item_id=str(number), item_name="n" * 10_000) for number in range(5)))
    waiting = filled(large)
    assert not waiting.full
    waiting.put(log.rows(item(item_id="5", item_name="n" * 10_000)))
    assert waiting.full
    assert waiting.take(100, {}, {}) == large[:2]
    assert not waiting.full
    assert waiting.take(100, {}, {ITEMS: 5}) == large[2:], "as far as the documents are, however many bytes"
    waiting.put(log.rows(item(item_name="n" * 30_000)))
    waiting.clear()
    assert not waiting


def test_a_record_above_the_bound_is_taken_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "CYCLE_BYTES", 5_000)
    records = Log().rows(item(item_name="n" * 9_000), place())
    waiting = filled(records)
    assert waiting.take(100, {}, {}) == records[:1]
    assert waiting.take(100, {}, {}) == records[1:]
