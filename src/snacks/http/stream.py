"""Orders as they move: WebSocket `/ws/orders[/{orderId}]`, server-sent events `GET /api/orders/stream`.

Both tell the same messages (docs/stream.md, docs/asyncapi.yaml): the present state first, then each change.
Nothing is read from a client but its first request.
"""

import asyncio
import resource
import socket
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Annotated, Any

import structlog
from litestar import Response, Router, WebSocket, get, websocket
from litestar.datastructures import ResponseHeader, State
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream
from litestar.types import Message

from snacks.domain.values import OrderStatus
from snacks.feed import Behind, Closed, Ended, Feed, Full, Subscription
from snacks.http.admission import STRANGER, Admission
from snacks.http.errors import HttpRequest, Problem, documented, problem
from snacks.http.order_path import order_id_of

log = structlog.get_logger(__name__)

Socket = WebSocket[Any, Any, State]
PING_SECONDS = 15.0
"""How often a WebSocket client is asked whether it is there, and how long it may take to answer."""
COMMENT_SECONDS = 10.0
"""How often an event stream says something, so that a connection that is dead is noticed."""
WRITE_SECONDS = 30.0
"""A reader that takes nothing for so long is cut; it comes back with its cursor."""
CLOSED_SECONDS = 1.0
RETRY_MILLISECONDS = 1000
SERVICE_RESTART = 1012
PATH = "/ws/orders"
WRONG_STATUS = f"status must be one of {', '.join(OrderStatus)}"
AWAY = {"Retry-After": "1"}


# ── WebSocket ────────────────────────────────────────────────────────────────────────────────────


@websocket([PATH, f"{PATH}/{{orderId:path}}"])
async def orders_socket(
    socket: Socket, feed: NamedDependency[Feed], admission: NamedDependency[Admission]
) -> None:
    """All orders, or one: `?status=` filters, `?cursor=` goes on where an earlier connection stopped."""
    order_id = order_id_of(socket, PATH)
    status = socket.query_params.get("status", "")
    refusal = admission.problem(socket.headers)
    if refusal is not None:
        return await _deny(socket, 403, refusal)
    if status and status not in set(OrderStatus):
        return await _deny(socket, 400, WRONG_STATUS)
    if order_id is None:
        return await _deny(socket, 400, "the order id is not UTF-8")
    try:
        wanted = OrderStatus(status) if status else None
        reader = await feed.subscribe(order_id or None, wanted, socket.query_params.get("cursor", ""))
    except (Behind, Full, Closed) as error:
        return await _deny(socket, 503, str(error))
    with reader:
        await _follow(socket, reader)
    return None


async def _follow(socket: Socket, reader: Subscription) -> None:
    await socket.accept()
    hearing = asyncio.create_task(_hear(socket, reader))
    try:
        while True:
            messages = await reader.next()
            async with asyncio.timeout(WRITE_SECONDS):
                for message in messages:
                    await socket.send({"type": "websocket.send", "text": message, "bytes": None})
            await asyncio.sleep(0)  # a reader that is far behind must let others go on
    except Ended:
        if not hearing.done():
            await _send(socket, {"type": "websocket.close", "code": SERVICE_RESTART, "reason": "come back"})
    except TimeoutError:
        log.info("a subscriber takes nothing: cut")
    except (OSError, RuntimeError, WebSocketDisconnect):
        pass  # it went, or uvicorn closed it
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])


async def _hear(socket: Socket, reader: Subscription) -> None:
    """Wait for the client to go; what it says meanwhile is not for us."""
    try:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass
    finally:
        reader.ended = True
        reader.wake()


async def _deny(socket: Socket, status: int, reason: str) -> None:
    """Refuse the handshake with an HTTP answer; a browser only learns that it failed."""
    answer: Response[Problem] = problem(status, reason)
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    body = answer.render(answer.content, "application/json")
    await socket.receive()
    await _send(socket, {"type": "websocket.http.response.start", "status": status, "headers": headers})
    await _send(socket, {"type": "websocket.http.response.body", "body": body, "more_body": False})
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSED_SECONDS):
            # uvicorn 0.54 takes a refused handshake for complete only once the connection is lost: returning
            # earlier is logged as "returned without completing handshake". It queues a disconnect after the
            # answer and another one then. Litestar 2.25 receives nothing after the first, so its state is
            # set back.
            for _ in range(2):
                socket.connection_state = "connect"
                await socket.receive()


async def _send(socket: Socket, message: Any) -> None:
    """Send it, unless the client went or takes nothing."""
    event: Message = message
    with suppress(OSError, RuntimeError, TimeoutError, WebSocketDisconnect):
        async with asyncio.timeout(WRITE_SECONDS):
            await socket.send(event)


# ── server-sent events ───────────────────────────────────────────────────────────────────────────

EVENTS = ResponseSpec(
    bytes,
    generate_examples=False,
    description="Messages without end, each in one `data:` line; what they are: docs/stream.md",
    media_type="text/event-stream",
    examples=[Example(value='id: kwGTAAAA\ndata: {"type":"hello","cursor":"kwGTAAAA","resumed":false}\n\n')],
)


@get(
    "/api/orders/stream",
    operation_id="streamOrders",
    summary="Orders as they move (server-sent events)",
    description="The present state, then each change. The same messages as WebSocket `/ws/orders`.",
    responses={
        200: EVENTS,
        400: documented("A status that is not ours", WRONG_STATUS),
        403: STRANGER,
        404: documented("An order id that this path cannot name", "No order stream/"),
        503: documented("Try again after the seconds in Retry-After", "there are 6000 subscribers already"),
    },
    response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
    tags=["Queries"],
)
async def orders_events(
    *,
    request: HttpRequest,
    feed: NamedDependency[Feed],
    admission: NamedDependency[Admission],
    status: Annotated[str, QueryParameter(schema_extra={"enum": list(OrderStatus)})] = "",
    order_id: Annotated[str, QueryParameter(name="orderId", description="Only this order")] = "",
    cursor: Annotated[str, QueryParameter(description="As Last-Event-ID, which wins")] = "",
    last_event_id: Annotated[
        str, HeaderParameter(name="Last-Event-ID", description="Go on after this one")
    ] = "",
) -> Stream | Response[Problem]:
    """The event stream of all orders, of those with a status, or of one."""
    if not request.scope.get("raw_path", b"").endswith(b"/stream"):
        return problem(404, "No such order")  # `stream/`: the router takes it for `stream`
    refusal = admission.problem(request.headers)
    if refusal is not None:
        return problem(403, refusal)
    if status and status not in set(OrderStatus):
        return problem(400, WRONG_STATUS)
    try:
        wanted = OrderStatus(status) if status else None
        reader = await feed.subscribe(order_id or None, wanted, last_event_id or cursor)
    except (Behind, Full, Closed) as error:
        return problem(503, str(error), AWAY)
    events = _events(reader)
    await anext(events)  # begun, so that it closes its reader even if nobody is left to send it to
    return Stream(
        events,
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},  # a proxy must not wait for more
    )


async def _events(reader: Subscription) -> AsyncGenerator[bytes]:
    retry = f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    with reader:
        yield b""
        yield retry
        try:
            while True:
                messages = await reader.next(COMMENT_SECONDS)
                if messages:
                    # The place is said with the last of them: all of them were told then.
                    data = "\n\n".join(f"data: {message}" for message in messages[:-1])
                    last = f"id: {reader.cursor}\ndata: {messages[-1]}\n\n"
                    yield (f"{data}\n\n{last}" if data else last).encode()
                else:
                    yield b":\n\n"
        except Ended:
            yield retry


router = Router("/", route_handlers=[orders_socket, orders_events])
"""Needs the dependencies `feed: Feed` and `admission: Admission`, and uvicorn with `UVICORN`."""

UVICORN: dict[str, Any] = {
    "ws": "websockets-sansio",
    "ws_ping_interval": PING_SECONDS,
    "ws_ping_timeout": PING_SECONDS,
    "ws_max_size": 4096,  # bytes of a message from a client, which is not read anyway
    "ws_per_message_deflate": False,  # would cost each connection its own compression of the same text
}
"""How uvicorn must be configured: pings find clients that vanished."""


def make_room(listening: Iterable[socket.socket]) -> None:
    """Prepare the process for many subscribers: each is an open file, and one that is dead must not stay."""
    with suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for one in listening:  # connections inherit it: the system cuts those that take nothing for so long
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(WRITE_SECONDS * 1000))
