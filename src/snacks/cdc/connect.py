"""Kafka Connect's REST interface: patience, time-outs, and errors in its own words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

WAIT_SECONDS = 60.0
"""How long Connect may take to answer, and then the connector to run."""
REQUEST_SECONDS = 15.0
"""How long one request may take: Connect tries the database before it takes a configuration."""
POLL_SECONDS = 0.1
RETRIES = 200
"""How often a request is sent while Connect starts, rebalances or times out inside."""
NOT_FOUND = 404
BUSY = (409, 500, 502, 503, 504)
"""Connect answers 409 while it rebalances and 500 for a time-out inside."""


class ConnectorError(Exception):
    """Connect is away or refuses, or the connector does not run; says which, and why."""


@asynccontextmanager
async def client_of(url: str, seconds: float, *, patient: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the Connect at `url`, all within a deadline, once Connect answers (if patient).

    Raises:
        ConnectorError: the deadline has passed, or Connect is away.
    """
    reason = "no answer"
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(
                base_url=url, timeout=REQUEST_SECONDS, trust_env=False, verify=url.startswith("https")
            ) as client,
        ):
            while patient:
                try:
                    answer = await client.get("/connectors")
                except httpx.TransportError as error:
                    reason = repr(error)
                else:
                    if answer.is_success:
                        break
                    reason = _message(answer)
                await asyncio.sleep(POLL_SECONDS)
            reason = "the connector did not reach the state"
            yield client
    except TimeoutError:
        raise ConnectorError(f"Kafka Connect at {url}: {reason} in {seconds:.0f} s") from None
    except httpx.HTTPError as error:
        raise ConnectorError(f"Kafka Connect at {url} does not answer: {error!r}") from error


async def get(client: httpx.AsyncClient, path: str, kind: Any) -> Any:
    """The answer as `kind`; None if there is none (404). Raises ConnectorError for any other answer."""
    answer = await send(client, "GET", path, absent_ok=True)
    if answer.status_code == NOT_FOUND:
        return None
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        raise ConnectorError(f"{client.base_url} is no Kafka Connect: {path} answers {error}") from None


async def send(
    client: httpx.AsyncClient, method: str, path: str, body: object = None, *, absent_ok: bool = False
) -> httpx.Response:
    """The answer to a request, repeated while Connect is busy. Raises ConnectorError if it refuses."""
    content = None if body is None else msgspec.json.encode(body)
    headers = {"Content-Type": "application/json"}
    for attempt in range(RETRIES):
        answer = await client.request(method, path, content=content, headers=headers)
        if answer.is_success or (absent_ok and answer.status_code == NOT_FOUND):
            return answer
        if answer.status_code not in BUSY or attempt == RETRIES - 1:
            break
        await asyncio.sleep(POLL_SECONDS)
    raise ConnectorError(f"Kafka Connect refuses {method} {path}: {_message(answer)}")


def _message(answer: httpx.Response) -> str:
    """Connect's own words, on one line."""
    try:
        text = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = answer.text
    return f"{answer.status_code} {' '.join(text.split())[:600]}"
