"""The actor of one order: a private state, changes one at a time, nothing shared."""

from msgspec import Struct
from msgspec.structs import replace

from snacks.domain.order import NEW, CustomerOrder, IncompleteRow, OrderState, RowChange, fold, project


class Outcome(Struct, frozen=True):
    """What a burst of changes did to an order.

    `order`: what to publish, or None. `tombstone`: it was published and must go. `forget`: the document
    must not be there, published or not: a crash may have left one that no checkpoint knows of.
    """

    state: OrderState
    known: bool
    order: CustomerOrder | None = None
    tombstone: bool = False
    forget: bool = False


class OrderActor:
    """Addressed by its order id, driven by its shard, which awaits `receive` once a cycle.

    It lives while its order is busy; the shard passivates it by keeping its checkpoint's bytes only.
    """

    __slots__ = ("order_id", "state")

    def __init__(self, order_id: str, state: OrderState = NEW) -> None:
        self.order_id = order_id
        self.state = state

    async def receive(self, changes: list[RowChange], refused: list[tuple[RowChange, str]]) -> Outcome | None:
        """Fold a burst, in order; None if it said nothing new.

        A change that cannot be folded is put into `refused` with its reason and costs only itself.
        """
        before = state = self.state
        deleted = False
        for change in changes:
            try:
                state = fold(state, change)
            except IncompleteRow as error:
                refused.append((change, str(error)))
            else:
                deleted = deleted or change.row is None
        if state is before:
            return None
        order = project(self.order_id, state)
        if state.emitted != (order is not None):
            state = replace(state, emitted=order is not None)
        self.state = state
        gone = before.emitted and order is None
        return Outcome(
            state, before.emitted, order, tombstone=gone, forget=gone or (deleted and order is None)
        )
