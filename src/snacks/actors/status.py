"""What the actors say of themselves: for readiness, the topology page and `snacks status`."""

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """The life of a shard, in this order; `running` goes back to `fencing` after an error."""

    ASSIGNED = "assigned"
    FENCING = "fencing"
    RESTORING = "restoring"
    RUNNING = "running"
    DRAINING = "draining"
    CLOSED = "closed"


LEGAL = {
    State.ASSIGNED: {State.FENCING, State.DRAINING},
    State.FENCING: {State.FENCING, State.RESTORING, State.DRAINING},
    State.RESTORING: {State.RUNNING, State.FENCING, State.DRAINING},
    State.RUNNING: {State.FENCING, State.DRAINING},
    State.DRAINING: {State.CLOSED},
    State.CLOSED: set[State](),
}


class ShardStatus(Struct, frozen=True, rename="camel"):
    """One shard of this process. Counts are since it was assigned; `lag` is records not yet folded."""

    partition: int
    state: str  # assigned | fencing | restoring | running | draining | closed
    reason: str  # why it is not getting on; empty if it is
    orders: int
    lag: int
    restored: int
    restore_total: int
    folded: int
    repeated: int
    published: int
    dead_letters: int
    cycles: int

    @property
    def doing(self) -> str:
        """The state; of a restore also how far it is."""
        if self.state != State.RESTORING or not self.restore_total:
            return self.state
        return f"{self.state} {self.restored * 100 // self.restore_total}%"


class HostStatus(Struct, frozen=True, rename="camel"):
    """The actors of this process. `ready`: a member of the group, and every shard is running."""

    group_id: str
    member_id: str
    ready: bool
    reason: str
    shards: list[ShardStatus]


class MemberStatus(Struct, frozen=True, rename="camel"):
    """A process of the group. `shards`: what it was given, and for each the records not yet folded."""

    client_id: str
    host: str
    shards: dict[int, int]


class GroupStatus(Struct, frozen=True, rename="camel"):
    """All processes that fold. `state` is the broker's word, `Stable` if nothing is being handed over.

    `lags`: the records not yet folded of every shard, also of those that nobody has.
    """

    group_id: str
    state: str
    members: list[MemberStatus]
    lags: dict[int, int]
