"""`snacks watch`: follows the order stream on a terminal, over every restart of the app."""

import asyncio
import sys
from datetime import datetime
from time import time
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from rich.console import Console
from rich.markup import escape
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from snacks.config import Settings

OPEN_SECONDS = 5.0
PING_SECONDS = 15.0
RETRY_FIRST, RETRY_LONGEST = 0.25, 5.0
LARGEST_MESSAGE = 16 * 1024 * 1024
REFUSED = 400, 403
SERVICE_RESTART = 1012
COLOURS = {"PENDING": "yellow", "PAID": "cyan", "FULFILLED": "magenta", "SHIPPED": "green"}
HOPS = (("Debezium", "captured"), ("MongoDB", "stored"), ("topic", "published"))

Message = dict[str, Any]


class WatchError(Exception):
    """The app refuses to be watched like this; the message is its answer."""


class Watch:
    """Shows messages, one line each: JSON for programs, or what people want to know."""

    def __init__(self, console: Console, *, as_json: bool, order_id: str | None = None) -> None:
        self.cursor = ""
        self._order_id = order_id
        self._told = False
        self._console = console
        self._json = as_json
        self._current = False

    def take(self, text: str) -> None:
        """Show a message; remember where it leaves us."""
        message: Message = msgspec.json.decode(text)
        if self._json:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        else:
            self._show(message)
        self._current = message["type"] != "hello" and (self._current or message["type"] == "current")
        self.cursor = message.get("cursor", self.cursor)

    def note(self, text: str) -> None:
        """Say something that is not a message; programs are told on the error output."""
        (Console(stderr=True) if self._json else self._console).print(
            f"[dim]{escape(text)}[/]", highlight=False, soft_wrap=True
        )

    def _show(self, message: Message) -> None:
        kind = message["type"]
        if kind == "order":
            self._told = True
            self._line(
                message["times"], message["orderStatus"], message["orderId"], self._hops(message["times"])
            )
        elif kind == "gone":
            self._line({}, "gone", message["orderId"], "deleted")
        elif kind == "left":
            self._line({}, message["orderStatus"], message["orderId"], "left the filter")
        elif kind == "hello" and self.cursor and not message["resumed"]:
            self.note("begins afresh")
        elif kind == "stale":
            self.note(f"the stream may be behind: {message['reason']}")
        elif kind == "live":
            self.note("the stream is live again")
        elif kind == "current" and self._order_id is not None and not self._told:
            self.note(
                "it is not there yet, or is no longer followed: `snacks explain` tells what is known of it"
            )
        elif kind == "current":
            self.note("this is how it is now; what follows are changes (Ctrl-C ends it)")

    def _line(self, times: Message, status: str, order_id: str, more: str) -> None:
        at = datetime.fromtimestamp(times.get("published", time() * 1000) / 1000).astimezone()
        colour = COLOURS.get(status, "red")
        self._console.print(
            f"{at:%H:%M:%S.%f}"[:-3] + f"  [{colour}]{status:<9}[/]  {escape(order_id):<36}  [dim]{more}[/]",
            highlight=False,
            soft_wrap=True,
        )

    def _hops(self, times: Message) -> str:
        """Milliseconds from hop to hop, as far as they are known; to here only for what just happened."""
        hops = [*HOPS, ("here", "now")] if self._current else HOPS
        known = times | {"now": int(time() * 1000)}
        last, shown = known.get("changed"), []
        for name, key in hops:
            at = known.get(key)
            if at is not None and last is not None:
                shown.append(f"{name} +{max(0, at - last)}")
            last = last if at is None else at
        return f"{', '.join(shown)} ms" if shown else ""


def url_of(settings: Settings, order_id: str | None, status: str | None, cursor: str) -> str:
    """Where the stream of all orders, of one, or of a status is, from the cursor on."""
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
    path = "" if order_id is None else f"/{quote(order_id, safe='')}"
    query = urlencode({name: value for name, value in (("status", status), ("cursor", cursor)) if value})
    return f"ws://{host}:{settings.http_ports[0]}/ws/orders{path}" + (f"?{query}" if query else "")


async def follow(
    settings: Settings, console: Console, order_id: str | None, status: str | None, *, as_json: bool
) -> None:
    """Show the present state and each change until cancelled; comes back by itself when it was cut.

    Raises:
        WatchError: the app refuses this status or this client.
    """
    watch = Watch(console, as_json=as_json, order_id=order_id)
    pause, waiting = RETRY_FIRST, False
    while True:
        try:
            async with connect(
                url_of(settings, order_id, status, watch.cursor),
                open_timeout=OPEN_SECONDS,
                close_timeout=1,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                max_size=LARGEST_MESSAGE,
                compression=None,
                proxy=None,
            ) as socket:
                pause, waiting = RETRY_FIRST, False
                async for message in socket:
                    watch.take(str(message))
            reason = "it restarts"
        except BrokenPipeError:
            return  # nobody reads what we print
        except InvalidStatus as refused:
            answer = refused.response
            reason = bytes(answer.body or b"").decode(errors="replace")[:300]
            if answer.status_code in REFUSED:
                raise WatchError(f"the app refuses: {reason or answer.status_code}") from refused
        except ConnectionClosed as closed:
            reason = "it restarts" if closed.rcvd and closed.rcvd.code == SERVICE_RESTART else str(closed)
        except (OSError, TimeoutError, InvalidHandshake) as error:
            reason = str(error)
        if not waiting:
            waiting = True
            watch.note(f"the app is away ({reason}); waiting for it")
        await asyncio.sleep(pause)
        pause = min(pause * 2, RETRY_LONGEST)
