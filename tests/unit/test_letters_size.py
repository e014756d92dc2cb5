"""What is held of dead letters at once is bounded by their size too, not only by their number."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.given import EPOCH, PREFIX, Log

from snacks.actors.dead_letters import DeadLetter
from snacks.cdc.topics import DEAD_LETTERS
from snacks.config import Settings
from snacks.letters import Letter, Letters, Standing, store
from snacks.letters.sending import id_of
from snacks.letters.store import Place

SIZE = 100


class Here(Letters):
    """Letters that lie in memory instead of a topic, all of one order, a second apart; their sizes given."""

    def __init__(self, settings: Settings, sizes: Sequence[int]) -> None:
        super().__init__(settings)
        self._letters = [
            DeadLetter(
                topic=f"{PREFIX}payment",
                partition=number % 2,
                offset=number,
                timestamp=EPOCH,
                reason="value: not JSON",
                set_aside=EPOCH + 1_000 * number,
                order_id="kit-1",
                key="kit-1",
                value="x" * (size - 5),
                value_bytes=size - 5,
            )
            for number, size in enumerate(sizes)
        ]
        self._places = {
            str(one.offset): Place(one.partition, one.offset, one.set_aside, one.code)
            for one in self._letters
        }

    @asynccontextmanager
    async def _reading(self, _: Any) -> AsyncIterator[Any]:
        yield None

    async def _fetch(
        self, _: Any, places: Iterable[Place], promising: Callable[[Any], bool] = lambda _: True
    ) -> AsyncIterator[Letter]:
        for place in sorted(places, key=lambda one: (one.partition, one.offset)):
            letter = self._letters[place.offset]
            if promising(Log(place.partition).record(DEAD_LETTERS, None, msgspec.json.encode(letter))):
                yield Letter(id_of(letter), Standing.OPEN, letter)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LONGEST_LIST", 3 * SIZE)


async def listed(letters: Letters, how: str) -> list[Letter]:
    """Oldest first."""
    found = await (letters.newest(10) if how == "newest" else letters.of_order("kit-1", 10))
    return sorted(found, key=lambda one: one.letter.set_aside)


@pytest.mark.parametrize("how", ["newest", "of_order"])
async def test_a_list_that_is_too_large_names_every_letter_and_holds_the_records_of_the_newest(
    settings: Settings, how: str
) -> None:
    found = await listed(Here(settings, [SIZE] * 7), how)
    assert [one.letter.offset for one in found] == list(range(7))
    assert [one.omitted for one in found] == [True] * 4 + [False] * 3
    assert {(one.letter.key, one.letter.value) for one in found[:4]} == {(None, None)}
    assert {len(one.letter.value or "") for one in found[4:]} == {SIZE - 5}
    assert {one.letter.value_bytes for one in found} == {SIZE - 5}


@pytest.mark.parametrize("how", ["newest", "of_order"])
async def test_a_list_that_is_not_too_large_leaves_nothing_out(settings: Settings, how: str) -> None:
    found = await listed(Here(settings, [SIZE] * 3), how)
    assert [one.omitted for one in found] == [False] * 3
    assert None not in {one.letter.value for one in found}


async def test_the_latest_of_an_order_are_as_many_as_were_asked_for(settings: Settings) -> None:
    found = await Here(settings, [SIZE] * 12).of_order("kit-1", 2)
    assert [(one.letter.offset, one.omitted) for one in found] == [(9, False), (11, False)]


async def test_what_is_sent_again_at_once_is_bounded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    portions: list[int] = []

    @asynccontextmanager
    async def producing(_: Settings) -> AsyncIterator[None]:
        yield

    async def again(_: None, portion: Sequence[Any]) -> list[str]:
        portions.append(len(portion))
        return []

    monkeypatch.setattr(store, "producing", producing)
    monkeypatch.setattr(store, "again", again)
    assert await Here(settings, [SIZE] * 7 + [4 * SIZE] * 2).replay_all() == (9, [])
    assert sum(portions) == 9
    assert max(portions) == 3
