"""The watchdog: what stands still for too long has stopped, unless there is a good reason."""

from collections.abc import Hashable, Iterable

import pytest
from aiokafka.errors import KafkaConnectionError

from snacks.actors.status import GroupStatus, MemberStatus
from snacks.actors.watchdog import Sign, Stalled, Watchdog

PATIENCE = 30.0


class Dog:
    """A watchdog over what the test says is seen."""

    def __init__(self) -> None:
        self.values: dict[str, Hashable] = {"a": 0}
        self.shards: set[int] = {1}
        self.group: GroupStatus | Exception = group({1: 0})
        self.dog = Watchdog(PATIENCE, self.signs, lambda: self.shards, self.ask, "me")

    def signs(self) -> Iterable[Sign]:
        return [Sign(what, value, broker=what == "fetch") for what, value in self.values.items()]

    def watch(self, begin: int) -> None:
        """100 seconds in which nothing changes."""
        for second in range(begin, begin + 100):
            self.dog.look(float(second))

    async def ask(self) -> GroupStatus:
        if isinstance(self.group, Exception):
            raise self.group
        return self.group


def group(shards: dict[int, int], state: str = "Stable") -> GroupStatus:
    return GroupStatus("g", state, [MemberStatus("me", "", shards), MemberStatus("other", "", {7: 0})], {})


def test_what_changes_at_each_look_is_well() -> None:
    one = Dog()
    for second in range(100):
        one.values = {"a": second}
        one.dog.look(float(second))


def test_what_stands_still_has_stalled_once_patience_is_over_and_not_before() -> None:
    one = Dog()
    for second in range(31):
        one.dog.look(float(second))
    with pytest.raises(Stalled, match="a, for 30 s"):
        one.dog.look(31.0)


def test_what_goes_on_in_between_begins_anew() -> None:
    one = Dog()
    for second in range(200):
        one.values = {"a": second // 20}
        one.dog.look(float(second))


def test_what_is_not_expected_to_move_is_not_looked_at() -> None:
    one = Dog()
    for second in range(20):
        one.dog.look(float(second))
    one.values = {}
    one.dog.look(20.0)
    one.values = {"a": 0}
    for second in range(21, 50):
        one.dog.look(float(second))


async def test_without_the_broker_a_fetch_may_stand_still_and_the_reason_is_told() -> None:
    one = Dog()
    one.values, one.group = {"fetch": 0}, KafkaConnectionError("refused")
    await one.dog._listen()
    one.watch(0)
    assert "the broker does not answer" in one.dog.problem
    one.group = group({1: 0})
    await one.dog._listen()
    assert one.dog.problem == ""
    with pytest.raises(Stalled, match="fetch"):
        one.watch(100)


@pytest.mark.parametrize("seen", [group({}), group({1: 0, 2: 0})])
async def test_a_member_that_the_broker_sees_otherwise_than_itself_has_stalled(seen: GroupStatus) -> None:
    one = Dog()
    one.values, one.group = {}, seen
    await one.dog._listen()
    with pytest.raises(Stalled, match="other shards"):
        one.watch(0)


async def test_while_shards_are_handed_over_views_may_differ() -> None:
    one = Dog()
    one.values, one.group = {}, group({}, "PreparingRebalance")
    await one.dog._listen()
    one.watch(0)
