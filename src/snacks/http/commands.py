"""The command side over HTTP: parse, decide and write, answer. Nothing is half written."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
from litestar import Response, Router, post, put
from litestar.di import NamedDependency
from litestar.exceptions import InternalServerException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, Reference, RequestBody
from litestar.status_codes import HTTP_200_OK
from litestar.types import Serializer
from msgspec import Struct

from snacks.domain.requests import (
    MUST_BE,
    C,
    CardMask,
    CreateOrder,
    Pay,
    Refused,
    SetStatus,
    ShipTo,
    parse,
)
from snacks.domain.values import ItemStatus
from snacks.http.admission import NOT_JSON, STRANGER, demand_json
from snacks.http.errors import AWAY, HttpRequest, documented
from snacks.tables import Tables

BODY_LIMIT = 64 * 1024
"""Bytes of a request's body: some six hundred items."""


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


class StoredItem(Struct, frozen=True, rename="camel"):
    """An item as it is stored. `price` is for one, in USD."""

    item_id: str
    item_name: str
    item_status: ItemStatus
    price: Decimal
    quantity: int


class StoredOrder(Struct, frozen=True, rename="camel"):
    """A new order as it is stored. `totalPrice` is the sum of price x quantity, in USD."""

    order_id: str
    items: list[StoredItem]
    total_price: Decimal


class StoredPayment(Struct, frozen=True, rename="camel"):
    """A payment as it is stored: of the card number, only its mask. `amount` is in USD."""

    order_id: str
    payment_type: str
    credit_card_type: str
    credit_card_number: str
    amount: Decimal


class MoneyResponse(Response[Any]):
    """JSON in which money is a number with its exact digits (msgspec's default is a string)."""

    encoder = msgspec.json.Encoder(decimal_format="number")

    def render(self, content: Any, media_type: str, enc_hook: Serializer | None = None) -> bytes:  # noqa: ARG002  (Litestar's)
        """The content as JSON."""
        return self.encoder.encode(content)


# ── what the OpenAPI document says of bodies and answers ─────────────────────────────────────────

BRADY: dict[str, Any] = {
    "orderId": "brady",
    "items": [
        {"itemId": "1", "itemName": "Swedish Fish", "itemStatus": "REQUESTED", "price": 0.01, "quantity": 2},
        {"itemId": "2", "itemName": "Pretzels", "itemStatus": "REQUESTED", "price": 0.01, "quantity": 2},
    ],
}
PLACE = {
    "orderId": "brady",
    "customerName": "Brady S",
    "customerAddress": "104 Rising Sun Rd",
    "zipCode": "08505",
    "latitude": 40.7127281,
    "longitude": -74.0060152,
}
PAYMENT = {
    "orderId": "brady",
    "paymentType": "CREDIT",
    "creditCardType": "Visa",
    "creditCardNumber": "1111-1111-1111-1111",
    "amount": 0.04,
}
FULFILLED = {"orderId": "brady", "itemStatus": "FULFILLED"}


def _body(kind: type[C], example: dict[str, Any]) -> type[Operation]:
    """The operation class that documents a body of this kind: `parse` reads it, so Litestar cannot know."""
    (reference,), parts = msgspec.json.schema_components([kind], schema_hook=_special)
    schema: Any = _inline(reference, parts)
    examples: dict[str, Example | Reference] = {"brady": Example(summary="Brady's order", value=example)}

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            media = OpenAPIMediaType(schema=schema, examples=examples)
            self.request_body = RequestBody(content={"application/json": media}, required=True)

    return WithBody


def _special(kind: type) -> dict[str, Any]:
    return {"type": "string"} if issubclass(kind, CardMask) else {"type": ["number", "string"]}


def _inline(node: Any, parts: dict[str, Any]) -> Any:
    """The schema with its references replaced by what they name, and each field's rule in words."""
    if isinstance(node, list):
        return [_inline(one, parts) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(parts[node["$ref"].rpartition("/")[2]], parts)
    inlined = {name: _inline(one, parts) for name, one in node.items()}
    if "properties" in inlined:
        inlined.pop("description", None)  # the docstring, which is for our readers
        for name, field in inlined["properties"].items():
            field["description"] = MUST_BE[name]
    return inlined


def _answer(kind: type[Struct], example: dict[str, Any]) -> ResponseSpec:
    examples = [Example(summary="Brady's order", value=example)]
    return ResponseSpec(kind, generate_examples=False, description="Accepted and stored", examples=examples)


def _responses(kind: type[Struct], example: dict[str, Any], *refusals: str) -> dict[int, ResponseSpec]:
    return {
        200: _answer(kind, example),
        400: documented("Refused; nothing is written", *refusals),
        403: STRANGER,
        413: documented(f"The body is over {BODY_LIMIT // 1024} KiB", "Request Entity Too Large"),
        415: NOT_JSON,
        503: documented("MySQL does not answer; try again after the seconds in Retry-After", AWAY),
    }


# ── the handlers ─────────────────────────────────────────────────────────────────────────────────


async def read(request: HttpRequest, kind: type[C]) -> C:
    """The command in the request's body.

    Raises:
        Refused: see `parse`; or the client went away before it had sent its whole body.
        HTTPException: the body is not `application/json` (415) or is too long (413).
    """
    demand_json(request.headers)
    try:
        body = await request.body()
    except InternalServerException:
        raise Refused("the body ended too early") from None
    return parse(body, kind)


@post(
    "/item-details",
    operation_id="createOrder",
    summary="Create an order",
    description="An empty or absent orderId gets a new UUID; itemStatus is REQUESTED unless given.",
    operation_class=_body(CreateOrder, BRADY),
    responses=_responses(
        StoredOrder,
        {**BRADY, "totalPrice": 0.04},
        "orderId already exists",
        f"price of item 2 must be {MUST_BE['price']}",
    ),
    status_code=HTTP_200_OK,
)
async def create_order(request: HttpRequest, tables: NamedDependency[Tables]) -> StoredOrder:
    """Create an order of at least one item."""
    command = await read(request, CreateOrder)
    order_id = command.order_id or str(uuid4())
    command = msgspec.structs.replace(command, order_id=order_id)
    await tables.execute(command)
    items = [
        StoredItem(
            item.item_id,
            item.item_name,
            item.item_status or ItemStatus.REQUESTED,
            Decimal(item.price),
            item.quantity,
        )
        for item in command.items
    ]
    return StoredOrder(order_id, items, command.total)


@put(
    "/item-details",
    operation_id="setStatus",
    summary="Fulfil or ship an order",
    description="Sets the status of every item. Items only move forward: REQUESTED, FULFILLED once paid,"
    " SHIPPED once it is also known where to. The status that they have already is accepted.",
    operation_class=_body(SetStatus, FULFILLED),
    responses=_responses(
        SetStatus, FULFILLED, "no such order", "itemStatus cannot become FULFILLED: the order is not paid"
    ),
)
async def set_status(request: HttpRequest, tables: NamedDependency[Tables]) -> SetStatus:
    """Set the status of every item of an order."""
    command = await read(request, SetStatus)
    await tables.execute(command)
    return command


@post(
    "/shipping-location",
    operation_id="shipTo",
    summary="Say where an order goes",
    description="Replaces an earlier location, until the order is shipped.",
    operation_class=_body(ShipTo, PLACE),
    responses=_responses(ShipTo, PLACE, "no such order", f"latitude must be {MUST_BE['latitude']}"),
    status_code=HTTP_200_OK,
)
async def ship_to(request: HttpRequest, tables: NamedDependency[Tables]) -> ShipTo:
    """Set an order's shipping location."""
    command = await read(request, ShipTo)
    await tables.execute(command)
    return command


@post(
    "/payment",
    operation_id="pay",
    summary="Pay an order",
    description="The amount is exactly the order's total. Replaces an earlier payment, until the order is"
    " shipped. Of the card number only its mask is ever kept.",
    operation_class=_body(Pay, PAYMENT),
    responses=_responses(
        StoredPayment,
        {**PAYMENT, "creditCardNumber": "****-****-****-1111"},
        "amount is below the order's total of 0.04",
        "amount is above the order's total of 0.04",
    ),
    status_code=HTTP_200_OK,
)
async def pay(request: HttpRequest, tables: NamedDependency[Tables]) -> StoredPayment:
    """Pay an order."""
    command = await read(request, Pay)
    await tables.execute(command)
    return StoredPayment(
        command.order_id,
        command.payment_type,
        command.credit_card_type,
        str(command.credit_card_number),
        Decimal(command.amount),
    )


router = Router(
    "/api",
    route_handlers=[create_order, set_status, ship_to, pay],
    request_max_body_size=BODY_LIMIT,
    response_class=MoneyResponse,
    tags=["Commands"],
)
"""Needs the dependency `tables: Tables`."""
