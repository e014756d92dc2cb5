"""What waits in a shard: how much of it a cycle takes, and when it is full."""

import pytest
from aiokafka import ConsumerRecord
from tests.given import PREFIX, Log, item, place

from snacks.actors import inbox
from snacks.actors.inbox import Inbox

ITEMS, PLACES = PREFIX + "item_detail", PREFIX + "shipping_location"


def filled(records: list[ConsumerRecord], offset: int = 0, **ahead: int) -> Inbox:
    """`offset`: the next of the items. `ahead`: what a former owner wrote, by table."""
    made = Inbox(0)
    made.begin(
        {ITEMS: offset}, {PREFIX + table: one for table, one in ahead.items()}, {ITEMS: 99, PLACES: 99}
    )
    for topic in (ITEMS, PLACES):
        made.put([record for record in records if record.topic == topic])
    return made


def test_a_cycle_takes_no_more_than_its_most_unless_documents_are_further() -> None:
    records = Log().rows(*(item(item_id=str(number)) for number in range(10)), place())
    assert filled(records).take(4) == records[:4]
    assert filled(records, item_detail=3).take(4) == records[:4]
    assert filled(records, item_detail=7).take(4) == records[:7]
    assert filled(records, item_detail=2, shipping_location=1).take(4) == records
    assert filled(records[5:], 5, item_detail=5).take(2) == records[5:7], "it is there already"
    waiting = filled(records, item_detail=7)
    assert (waiting.take(4), waiting.take(2)) == (records[:7], records[7:9]), "only the first one"


def test_it_has_caught_up_once_all_that_a_former_owner_wrote_waits() -> None:
    records = Log().rows(*(item(item_id=str(number)) for number in range(10)))
    waiting = filled(records[:6], item_detail=7)
    assert not waiting.caught_up
    assert waiting.expects(ITEMS) == 6
    waiting.put(records[6:7])
    assert waiting.caught_up
    beyond = Inbox(0)
    beyond.begin({}, {ITEMS: 50}, {ITEMS: 6})
    beyond.put(records[:6])
    assert beyond.caught_up, "a topic that ends before it has no more"


def test_what_is_no_more_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    records = Log().rows(*(item(item_id=str(number)) for number in range(5)))
    waiting = filled(records, item_detail=7)
    assert waiting.behind() == [ITEMS]
    waiting.passed(ITEMS, 7)
    assert waiting.caught_up
    waiting.passed(ITEMS, 3)
    assert waiting.expects(ITEMS) == 7, "never back"
    assert "has lost" not in capsys.readouterr().out
    Inbox(0).begin({}, {ITEMS: 50}, {ITEMS: 6})
    assert "MongoDB holds records that the topic has lost" in capsys.readouterr().out


def test_only_what_is_needed_to_catch_up_is_read_on_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "BACKLOG_RECORDS", 5)
    records = Log().rows(*(item(item_id=str(number)) for number in range(6)))
    waiting = filled(records[:4], shipping_location=1)
    assert waiting.wants(ITEMS)
    waiting.put(records[4:])
    assert not waiting.wants(ITEMS)
    assert waiting.wants(PLACES)
    waiting.put(Log().rows(place()))
    assert not waiting.wants(PLACES)


def test_what_is_too_far_to_be_a_dead_owners_cycle_is_no_reason_to_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inbox, "FAR_AHEAD", 5)
    records = Log().rows(*(item(item_id=str(number)) for number in range(4)))
    assert not filled(records, item_detail=5).caught_up
    assert "far ahead" not in capsys.readouterr().out
    waiting = filled(records, item_detail=5, shipping_location=1)
    assert waiting.caught_up
    assert waiting.take(2) == records[:2]
    assert "MongoDB is far ahead of the checkpoint" in capsys.readouterr().out


def test_what_was_taken_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "BACKLOG_RECORDS", 5)
    records = Log().rows(*(item(item_id=str(number)) for number in range(6)))
    waiting = filled(records)
    assert waiting.full
    assert waiting.take(2) == records[:2]
    assert (len(waiting), waiting.full) == (4, False)
    assert waiting.take(9) == records[2:]
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
    assert waiting.take(100) == large[:2]
    assert not waiting.full
    assert filled(large, item_detail=5).take(100) == large, "as far as MongoDB is, however many bytes"
    waiting.put(log.rows(item(item_name="n" * 30_000)))
    waiting.clear()
    assert not waiting


def test_a_record_above_the_bound_is_taken_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "CYCLE_BYTES", 5_000)
    records = Log().rows(item(item_name="n" * 9_000), place())
    waiting = filled(records)
    assert waiting.take(100) == records[:1]
    assert waiting.take(100) == records[1:]
