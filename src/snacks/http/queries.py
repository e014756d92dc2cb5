"""The query side over HTTP: customer orders as MongoDB has them. Reads only; MySQL is never asked."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Response, Router, get
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.exceptions import ClientException, NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter
from litestar.response import Stream
from litestar.status_codes import HTTP_503_SERVICE_UNAVAILABLE
from msgspec.structs import replace

from snacks.documents import Documents, DocumentsUnavailable
from snacks.domain.cards import mask_cards
from snacks.domain.order import CustomerOrder, encode
from snacks.domain.values import RESERVED_ORDER_IDS, OrderStatus, to_cents
from snacks.http.errors import RETRY_AFTER, HttpRequest, Problem, documented, problem
from snacks.http.order_path import order_id_of

log = structlog.get_logger(__name__)

PATH = "/api/orders"
PART = 64 * 1024
"""Bytes of a list that are gathered before they are sent: all that an answer holds in memory."""

BRADY = {
    "orderId": "brady",
    "orderStatus": "PAID",
    "modifiedDate": "2026-01-01T00:00:00",
    "items": [
        {
            "itemId": "1",
            "itemName": "Swedish Fish",
            "itemStatus": "REQUESTED",
            "price": {"price": 0.01, "currency": "USD"},
            "quantity": 2,
        }
    ],
    "shippingLocation": {
        "customerName": "Brady S",
        "customerAddress": "104 Rising Sun Rd",
        "zipCode": "08505",
        "geoLocation": {"latitude": 40.7127281, "longitude": -74.0060152},
    },
    "payment": {
        "paymentType": "CREDIT",
        "creditCardType": "Visa",
        "creditCardNumber": "****-****-****-1111",
        "amount": {"amount": 0.02, "currency": "USD"},
    },
}


ONE = ResponseSpec(
    CustomerOrder,
    generate_examples=False,
    description="The customer order",
    examples=[Example(summary="Brady's order, paid", value=BRADY)],
)
MANY = ResponseSpec(
    list[CustomerOrder],
    generate_examples=False,
    description="Customer orders, oldest change first",
    examples=[Example(summary="One order", value=[BRADY])],
)
MONGODB_AWAY = "MongoDB does not answer, please try again"
MALFORMED = documented("Not a request that can be read", "Invalid host header")
UNKNOWN = documented("No such order", "No order brady")
WRONG_STATUS_MESSAGE = f"status must be one of {', '.join(OrderStatus)}"
WRONG_STATUS = documented("No status, or one that is not ours", WRONG_STATUS_MESSAGE)
AWAY = documented("Try again after the seconds in Retry-After", MONGODB_AWAY)


@get(
    "/{orderId:path}",
    operation_id="getOrder",
    summary="One customer order",
    description="The order id is the rest of the path, URL-encoded, and is compared byte for byte.",
    responses={200: ONE, 400: MALFORMED, 404: UNKNOWN, 503: AWAY},
)
async def get_order(request: HttpRequest, documents: NamedDependency[Documents]) -> Response[bytes]:
    """One customer order."""
    return await _one(request, documents)


@get(
    "/",
    operation_id="listOrders",
    summary="The customer orders with a status",
    description="Oldest change first; equal seconds are in orderId order. Sent while it is read from MongoDB:"
    " if MongoDB fails midway the connection is cut, so a list that ends well is whole.",
    responses={200: MANY, 400: WRONG_STATUS, 503: AWAY},
)
async def list_orders(
    request: HttpRequest,
    documents: NamedDependency[Documents],
    status: Annotated[
        str,
        QueryParameter(
            description="Required: the status of the orders",
            schema_extra={"enum": list(OrderStatus), "default": None},
            examples=[Example(summary="Paid orders", value="PAID")],
        ),
    ] = "",
) -> Stream | Response[bytes]:
    """The orders with one status, streamed: bounded memory however many there are."""
    if order_id_of(request, PATH):
        return await _one(request, documents)
    if status not in set(OrderStatus):
        raise ClientException(WRONG_STATUS_MESSAGE)
    parts = _json_array(documents.by_status(OrderStatus(status)))
    # Read before the answer begins: if MongoDB is away this is a 503, not a cut connection.
    first = await anext(parts)
    return Stream(_following(first, parts), media_type=MediaType.JSON)


@get(
    "/snickers-promotion",
    operation_id="snickersPromotion",
    summary="Who gets a free Snickers",
    description="The first 20 orders with an item named like Snickers paid with the Magical Visa,"
    " oldest change first.",
    responses={200: MANY, 503: AWAY},
)
async def promotion(request: HttpRequest, documents: NamedDependency[Documents]) -> Response[bytes]:
    """The promotion's first 20 orders."""
    if order_id_of(request, PATH) not in RESERVED_ORDER_IDS:
        return await _one(request, documents)
    orders = b",\n".join([order_json(stored) for stored in await documents.promotion()])
    return Response(b"[" + orders + b"]", media_type=MediaType.JSON)


def unavailable(_request: HttpRequest, error: Exception) -> Response[Problem]:
    """MongoDB is away or refuses: 503, and when to come again."""
    log.warning("mongodb does not answer a query", error=str(error))
    return problem(HTTP_503_SERVICE_UNAVAILABLE, MONGODB_AWAY, RETRY_AFTER)


async def _one(request: HttpRequest, documents: Documents) -> Response[bytes]:
    order_id = order_id_of(request, PATH)
    stored = None if order_id is None else await documents.get(order_id)
    if stored is None:
        raise NotFoundException(f"No order {mask_cards(order_id or 'with that id')}")
    return Response(order_json(stored), media_type=MediaType.JSON)


def order_json(stored: Mapping[str, Any]) -> bytes:
    """The JSON of a stored order: the contract's keys in their order, money with two exact digits.

    Raises:
        msgspec.ValidationError: the document is not a customer order.
    """
    order = msgspec.convert(stored, CustomerOrder, strict=False)
    items = [
        replace(item, price=replace(item.price, price=to_cents(item.price.price))) for item in order.items
    ]
    paid = order.payment
    if paid is not None:
        paid = replace(paid, amount=replace(paid.amount, amount=to_cents(paid.amount.amount)))
    return encode(replace(order, items=items, payment=paid))


async def _json_array(orders: AsyncGenerator[Mapping[str, Any]]) -> AsyncGenerator[bytes]:
    """A JSON array in parts of about PART bytes; at least one part."""
    part, separator = bytearray(b"["), b""
    async with aclosing(orders):
        async for stored in orders:
            part += separator + order_json(stored)
            separator = b",\n"
            if len(part) >= PART:
                yield bytes(part)
                part.clear()
    yield bytes(part + b"]")


async def _following(first: bytes, parts: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """An error here leaves the chunked answer without its end: the client sees that it is broken."""
    async with aclosing(parts):
        yield first
        async for part in parts:
            yield part


router = Router(
    PATH,
    route_handlers=[get_order, list_orders, promotion],
    exception_handlers={DocumentsUnavailable: unavailable},
    response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
    tags=["Queries"],
)
"""Needs the dependency `documents: Documents`."""
