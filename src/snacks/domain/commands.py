"""What an order allows: each command is held against what the tables say of its order.

Pure. Every rule is from `docs/domain.md`, "Commands"; what a request may look like is in
`requests`.
"""

from decimal import Decimal

from msgspec import Struct

from snacks.domain.order import ItemDetail, Payment, ShippingLocation
from snacks.domain.requests import Command, CreateOrder, NewItem, Refused, SetStatus, ShipTo
from snacks.domain.values import RANK, Currency, ItemStatus


class OrderFacts(Struct, frozen=True):
    """What the tables say of an order. No items: there is no such order."""

    items: dict[str, ItemDetail]
    has_shipping_location: bool
    has_payment: bool

    @property
    def total(self) -> Decimal:
        """The sum of price x quantity, exactly."""
        return sum((item.price * item.quantity for item in self.items.values()), Decimal("0.00"))

    @property
    def shipped(self) -> bool:
        """True once every item is SHIPPED."""
        return all(item.item_status is ItemStatus.SHIPPED for item in self.items.values())


Write = dict[str, ItemDetail] | ItemStatus | ShippingLocation | Payment
"""What to write: the items of a new order, the status of every item, or a row to insert or replace."""


def decide(command: Command, facts: OrderFacts) -> Write:
    """What the command writes, given what the tables say of its order.

    Raises:
        Refused: the order does not allow it.
    """
    if isinstance(command, CreateOrder):
        if facts.items:
            raise Refused("orderId already exists")
        return {item.item_id: _row(item) for item in command.items}
    if not facts.items:
        raise Refused("no such order")
    if isinstance(command, SetStatus):
        return _decide_status(command.item_status, facts)
    if facts.shipped:
        raise Refused("the order is shipped: where it goes and how it is paid cannot change any more")
    if isinstance(command, ShipTo):
        return ShippingLocation(
            command.customer_name,
            command.customer_address,
            command.zip_code,
            command.latitude,
            command.longitude,
        )
    if command.amount != facts.total:
        side = "below" if command.amount < facts.total else "above"
        raise Refused(f"amount is {side} the order's total of {facts.total}")
    return Payment(
        command.payment_type,
        command.credit_card_type,
        str(command.credit_card_number),
        Decimal(command.amount),
        Currency.USD,
    )


def _row(item: NewItem) -> ItemDetail:
    status = item.item_status or ItemStatus.REQUESTED
    return ItemDetail(item.item_name, status, Decimal(item.price), Currency.USD, item.quantity)


def _decide_status(status: ItemStatus, facts: OrderFacts) -> ItemStatus:
    """Every item goes to the status or is there already; one item that may not go holds all of them."""
    ranks = [RANK[item.item_status] for item in facts.items.values()]
    if status is not ItemStatus.REQUESTED and not facts.has_payment:
        raise Refused(f"itemStatus cannot become {status}: the order is not paid")
    if status is ItemStatus.SHIPPED and not facts.has_shipping_location:
        raise Refused("itemStatus cannot become SHIPPED: the order has no shipping location")
    if max(ranks) > status.rank:
        raise Refused(f"itemStatus cannot go back to {status}")
    if status is ItemStatus.SHIPPED and min(ranks) < RANK[ItemStatus.FULFILLED]:
        raise Refused("itemStatus cannot become SHIPPED before it was FULFILLED")
    return status
