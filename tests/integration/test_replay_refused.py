"""Dead letters that the broker does not take when they are sent again: said, and left open."""

import pytest
from tests.folding import POISON, everything, fold_until, listed, produce
from tests.fresh import bound

from snacks.cdc import CDC_TOPICS
from snacks.config import Settings
from snacks.letters import Letters, NotReplayable, Standing, sending

TAKES = 20_000
"""Bytes of a record that the topic takes in these tests, of a batch of records too."""
BIG = (POISON[0], POISON[1], b"x" * 30_000)


@pytest.mark.parametrize("producer_takes", [sending.LARGEST_REQUEST, TAKES])
async def test_an_edited_record_that_is_too_large_is_refused_and_its_letter_stays_open(
    given: Settings, monkeypatch: pytest.MonkeyPatch, producer_takes: int
) -> None:
    await produce(given, POISON)
    await fold_until(given, dead_letters=1)
    await listed(given, 1)
    await bound(given, POISON[0], TAKES)
    monkeypatch.setattr(sending, "LARGEST_REQUEST", producer_takes)
    letters = Letters(given)
    with pytest.raises(NotReplayable, match=r"item_detail-0-0: .* larger than its topic takes; send a short"):
        await letters.replay("item_detail-0-0", BIG[2])
    (one,) = await letters.newest(10)
    assert one.status is Standing.OPEN
    assert len(await everything(given, CDC_TOPICS[0])) == 1
    await letters.replay("item_detail-0-0", b"short")
    assert await letters.counts() == {}
    assert (await everything(given, CDC_TOPICS[0]))[1][1] == b"short"


async def test_of_all_letters_only_those_that_are_refused_stay_open_and_are_named(given: Settings) -> None:
    await produce(given, POISON, BIG, POISON, BIG, POISON)
    await fold_until(given, dead_letters=5)
    await listed(given, 5)
    await bound(given, POISON[0], TAKES)
    letters = Letters(given)
    assert await letters.replay_all() == (3, ["item_detail-0-1", "item_detail-0-3"])
    assert {one.id for one in await letters.newest(10)} == {"item_detail-0-1", "item_detail-0-3"}
    assert len(await everything(given, CDC_TOPICS[0])) == 5 + 3
