"""The requests of the command side: how a body of JSON becomes a command, or is refused.

Every rule is from `docs/domain.md`, "Commands"; what an order allows is in `commands`.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from snacks.domain.cards import mask_card
from snacks.domain.values import CENT, MONEY_LIMIT, ORDER_ID_LENGTH, ItemStatus, order_id_problem


class Refused(Exception):  # noqa: N818  (an answer, not a fault)
    """A command is not accepted and nothing is written. The message is for the caller.

    It names the field and the rule, and never repeats a value: a value could be a card number.
    """


# ── the words of a request ───────────────────────────────────────────────────────────────────────


class Money(Decimal):
    """An amount in a request, with exactly two decimal places; see `MUST_BE`."""


class Price(Money):
    """A unit price in a request: positive money."""


class CardMask(str):
    """The mask of the card number in a request: the number itself ends here, in the decoder."""

    __slots__ = ()


QUANTITY_LIMIT = 2**31 - 1
CARD_LENGTH = 64
ItemId = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=255)]
ShortText = Annotated[str, Meta(max_length=64)]
ZipCode = Annotated[str, Meta(max_length=32)]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_LIMIT)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]

_MONEY = f"money below {MONEY_LIMIT:,}: a number or a decimal string with at most two decimal places"
MUST_BE = {
    "orderId": f"text of 1 to {ORDER_ID_LENGTH} characters",
    "items": "a list of at least one item",
    "itemId": "text of 1 to 64 characters, not blank",
    "itemName": "text of at most 255 characters",
    "itemStatus": f"one of {', '.join(ItemStatus)}",
    "price": f"positive {_MONEY}",
    "quantity": f"a whole number from 1 to {QUANTITY_LIMIT}",
    "customerName": "text of at most 255 characters",
    "customerAddress": "text of at most 255 characters",
    "zipCode": "text of at most 32 characters",
    "latitude": "a number of degrees from -90 to 90",
    "longitude": "a number of degrees from -180 to 180",
    "paymentType": "text of at most 64 characters",
    "creditCardType": "text of at most 64 characters",
    "creditCardNumber": f"text of 1 to {CARD_LENGTH} characters, not blank",
    "amount": _MONEY,
}
"""What each field must be, in words: in refusals and in the OpenAPI document. The lengths are the
columns' (`tables.sql`)."""


# ── the commands ─────────────────────────────────────────────────────────────────────────────────


class NewItem(Struct, frozen=True, kw_only=True, rename="camel"):
    """One item of a new order."""

    item_id: ItemId
    item_name: Text
    item_status: ItemStatus | None = None
    price: Price
    quantity: Quantity


class CreateOrder(Struct, frozen=True, kw_only=True, rename="camel"):
    """Create an order. An empty or absent order id is for the server to fill in.

    Raises:
        Refused: a bad order id, a blank item id, an item id twice, or a total that does not fit.
    """

    order_id: str | None = None
    items: Annotated[list[NewItem], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if self.order_id:
            _check_order_id(self.order_id)
        seen = set()
        for number, item in enumerate(self.items, 1):
            if not item.item_id.strip():
                raise Refused(f"itemId of item {number} must be {MUST_BE['itemId']}")
            if item.item_id in seen:
                raise Refused(f"itemId of item {number} must not be the itemId of another item")
            seen.add(item.item_id)
        if self.total >= MONEY_LIMIT:
            raise Refused(f"totalPrice, the sum of price x quantity, must be below {MONEY_LIMIT:,}")

    @property
    def total(self) -> Decimal:
        """The sum of price x quantity, exactly."""
        return sum((item.price * item.quantity for item in self.items), Decimal("0.00"))


class SetStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """Set the status of every item of an order."""

    order_id: str
    item_status: ItemStatus

    def __post_init__(self) -> None:
        _check_order_id(self.order_id)


class ShipTo(Struct, frozen=True, kw_only=True, rename="camel"):
    """Set where an order goes. Degrees are WGS 84."""

    order_id: str
    customer_name: Text
    customer_address: Text
    zip_code: ZipCode
    latitude: Latitude
    longitude: Longitude

    def __post_init__(self) -> None:
        _check_order_id(self.order_id)


class Pay(Struct, frozen=True, kw_only=True, rename="camel"):
    """Pay an order: exactly its total."""

    order_id: str
    payment_type: ShortText
    credit_card_type: ShortText
    credit_card_number: CardMask
    amount: Money

    def __post_init__(self) -> None:
        _check_order_id(self.order_id)


Command = CreateOrder | SetStatus | ShipTo | Pay
C = TypeVar("C", CreateOrder, SetStatus, ShipTo, Pay)


def _check_order_id(order_id: str) -> None:
    if problem := order_id_problem(order_id):
        raise Refused(problem)


# ── a body becomes a command ─────────────────────────────────────────────────────────────────────

DEPTH = 8
"""A command needs three levels; a few more, so that what stands in a field's place is refused by name."""

# A string ends at its quote or at the end of the body; possessive, so that time stays linear.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_DECIMAL = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,2})?")
# msgspec ends its errors with the path; what stands before can hold what the client sent.
_PATH = re.compile(r" - at `\$(?:\.items\[(?P<index>\d+)\])?(?:\.(?P<field>\w+))?`\Z")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
NOT_JSON = "the body must be valid JSON in UTF-8"


def parse(body: bytes, kind: type[C]) -> C:
    """The command that a body of JSON asks for. Unknown fields are ignored, as by the ancestor.

    Raises:
        Refused: the body is not JSON, is nested too deeply, gives a field twice, or breaks a rule.
    """
    if _depth(body) > DEPTH:
        raise Refused(f"the body must not be nested deeper than {DEPTH} levels")
    try:
        command: C = _DECODERS[kind].decode(body)
        # msgspec takes the last of two equal names, other readers the first: so neither counts.
        json.loads(body, object_pairs_hook=_refuse_duplicates, parse_int=str)
    # `from None`: the causes hold what the client sent.
    except msgspec.ValidationError as error:
        raise Refused(_in_words(str(error))) from None
    except (msgspec.DecodeError, ValueError):
        raise Refused(NOT_JSON) from None
    return command


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for token in _STRING_OR_BRACKET.finditer(body):
        if token[0] in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in b"]}":
            depth -= 1
    return deepest


def _decode(kind: type, value: object) -> object:
    if kind is CardMask:
        if not isinstance(value, str) or not value.strip() or len(value) > CARD_LENGTH:
            raise ValueError
        return CardMask(mask_card(value))
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise TypeError
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise ValueError
    amount = Decimal(value)
    # copy_abs: arithmetic on an exponent in the millions would overflow.
    if amount.copy_abs() >= MONEY_LIMIT or int(amount.as_tuple().exponent) < -2:  # cents
        raise ValueError
    if kind is Price and amount <= 0:
        raise ValueError
    return kind(amount.quantize(CENT))


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that not even Decimal can hold
        return Decimal("Infinity")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise Refused(f"{name if name in MUST_BE else 'a field'} must not be given twice")
        seen.add(name)


def _in_words(error: str) -> str:
    path = _PATH.search(error)
    index, field = (path["index"], path["field"]) if path else (None, None)
    if field is None and (missing := _MISSING.match(error)):
        field = missing[1]
    item = "" if index is None else f"item {int(index) + 1}"
    if field is None:
        return f"{item or 'the body'} must be a JSON object"
    return f"{field}{' of ' if item else ''}{item} must be {MUST_BE[field]}"


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind, dec_hook=_decode, float_hook=_number)
    for kind in (CreateOrder, SetStatus, ShipTo, Pay)
}
