"""The actor of one order: a private state, changes one at a time, nothing shared."""

from msgspec import Struct
from msgspec.structs import replace

from snacks.domain.order import NEW, CustomerOrder, IncompleteRow, OrderState, RowChange, fold, project


class Outcome(Struct, frozen=True, gc=False):
    """What a burst of changes did to an order.

    `order`: what to publish, or None. `tombstone`: it was published and must go. `forget`: the document
    must not be there, published or not: a former owner that read the topics in another order may have
    stored one just before it died, and no checkpoint knows of it.
    `publish` false: a repair that found the topic right; only the document is written. `repeat`: nothing
    but repeats, of which the state remembers that they were seen.
    """

    state: OrderState
    order: CustomerOrder | None = None
    tombstone: bool = False
    forget: bool = False
    publish: bool = True
    repeat: bool = False


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
        repaired = publish = False
        for change in changes:
            try:
                folded = fold(state, change)
            except IncompleteRow as error:
                refused.append((change, str(error)))
                continue
            if folded is not state:
                state, repair = folded, change.repair
                repaired = repaired or repair is not None
                publish = publish or repair is None or repair.publish
        if state is before:
            return None
        if state.revision == before.revision and not repaired:
            self.state = state
            return Outcome(state, publish=False, repeat=True)
        order = project(self.order_id, state)
        if state.emitted != (order is not None):
            state = replace(state, emitted=order is not None)
        self.state = state
        gone = order is None and (before.emitted or repaired)
        return Outcome(
            state,
            order,
            tombstone=gone,
            forget=gone or (order is None and state.has_deletions),
            publish=publish,
        )
