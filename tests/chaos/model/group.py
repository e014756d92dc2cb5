"""The consumer group, in the broker: who is a member, and who has which partitions."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from snacks.actors.status import GroupStatus, MemberStatus

if TYPE_CHECKING:
    from tests.chaos.model.kafka import Consumer
    from tests.chaos.model.net import Net


class Group:
    """Members join, leave, and are expelled when they have been stopped for longer than their session.

    A rebalance ends when all members have joined again, or when those that have not in time are expelled.
    """

    def __init__(
        self, net: "Net", sources: Sequence[TopicPartition], session: float, patience: float
    ) -> None:
        """`session` and `patience` (how long a rebalance waits): seconds of virtual time."""
        self._net, self._sources = net, sources
        self._session, self._patience = session, patience
        self.members: list[Consumer] = []
        self._joining: dict[Consumer, asyncio.Future[list[TopicPartition]]] = {}
        self._rebalancing = False
        self._round = 0
        self._given: dict[Consumer, list[int]] = {}

    def join(self, member: "Consumer") -> asyncio.Future[list[TopicPartition]]:
        """Be a member; the answer comes when the rebalance ends."""
        if member not in self.members:
            self.members.append(member)
        if member.silent:
            self.watch(member)  # its request came after its end
        answer = self._joining[member] = self._net.loop.create_future()
        if not self._rebalancing:
            self.rebalance()
        self._end_if_all_joined()
        return answer

    def leave(self, member: "Consumer") -> None:
        """A clean leave, or what the broker does after a session without a heartbeat."""
        if member in self.members:
            self.members.remove(member)
            self._joining.pop(member, None)
            if self.members and not self._rebalancing:
                self.rebalance()
            self._end_if_all_joined()

    def rebalance(self) -> None:
        """Ask all members to join again."""
        self._rebalancing, self._round = True, self._round + 1
        for member in self.members:
            if member not in self._joining:
                self._net.later(self._net.rng.choice((0.0, 0.1)), member.ask_to_join)
        self._net.later(self._patience, self._expel_late, self._round)

    def described(self) -> GroupStatus:
        """What the broker says to who asks."""
        state = "PreparingRebalance" if self._rebalancing else "Stable"
        members = [
            MemberStatus(member.client_id, "", dict.fromkeys(self._given.get(member, ()), 0))
            for member in self.members
        ]
        return GroupStatus("", state, members, {})

    def watch(self, member: "Consumer") -> None:
        """No heartbeat comes any more: expel it when its session ends, unless it has come back."""
        self._net.later(self._session, self._expel_silent, member)

    def _expel_silent(self, member: "Consumer") -> None:
        if member.silent:
            self.leave(member)

    def _expel_late(self, number: int) -> None:
        if self._rebalancing and number == self._round:
            for member in [one for one in self.members if one not in self._joining]:
                self.leave(member)

    def _end_if_all_joined(self) -> None:
        if not self._rebalancing or set(self._joining) != set(self.members):
            return
        self._rebalancing = False
        order = list(self.members)
        self._net.rng.shuffle(order)  # the broker's names of members have no order that matters
        partitions = sorted({source.partition for source in self._sources})
        share, more = divmod(len(partitions), len(order) or 1)
        taken = 0
        for number, member in enumerate(order):
            mine = partitions[taken : taken + share + (number < more)]
            taken += len(mine)
            self._given[member] = mine
            answer = self._joining.pop(member)
            if not answer.done():
                answer.set_result([source for source in self._sources if source.partition in mine])
