"""One order: the door to its rows, its fold and its projection, and here its bytes.

`rows.py` has the rows, `fold.py` how a change folds into them, `projection.py` what the world sees.
Everything is pure: the same changes give the same order and the same bytes, whatever process folds them
and whenever (design: `docs/architecture.md`).
"""

import msgspec

from snacks.domain.fold import NEW, IncompleteRow, Kept, OrderState, fold, why_nothing
from snacks.domain.projection import (
    Amount,
    CustomerOrder,
    Destination,
    GeoLocation,
    Item,
    Paid,
    Price,
    order_status,
    project,
)
from snacks.domain.rows import (
    ROWS,
    ItemDetail,
    PartialRow,
    Payment,
    Position,
    Row,
    RowChange,
    ShippingLocation,
)

__all__ = [
    "NEW",
    "ROWS",
    "Amount",
    "CustomerOrder",
    "Destination",
    "GeoLocation",
    "IncompleteRow",
    "Item",
    "ItemDetail",
    "Kept",
    "OrderState",
    "Paid",
    "PartialRow",
    "Payment",
    "Position",
    "Price",
    "Row",
    "RowChange",
    "ShippingLocation",
    "decode_order",
    "decode_state",
    "encode",
    "fold",
    "order_status",
    "project",
    "why_nothing",
]

_encoder = msgspec.json.Encoder(decimal_format="number")
_order_decoder = msgspec.json.Decoder(CustomerOrder)
_state_decoder = msgspec.json.Decoder(OrderState)


def encode(value: CustomerOrder | OrderState) -> bytes:
    """JSON as it stands in the topics: money is a number with its exact digits."""
    return _encoder.encode(value)


def decode_order(data: bytes) -> CustomerOrder:
    """A customer order from the topic's JSON. Raises msgspec.ValidationError for anything else."""
    return _order_decoder.decode(data)


def decode_state(data: bytes) -> OrderState:
    """A state from its checkpoint's JSON. Raises msgspec.ValidationError for anything else."""
    return _state_decoder.decode(data)
