"""Flink's SQL gateway over REST: sessions, statements, rows, time-outs, and errors in Flink's own words."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from msgspec import Struct

from snacks.domain.cards import mask_cards

REQUEST_SECONDS = 30.0
"""How long one request may take: planning a statement happens inside one."""
POLL_SECONDS = 0.1
ERROR_LENGTH = 1200


START = "Start it: ./snacks up --engine flink"


class FlinkError(Exception):
    """Flink is away, or refuses; says which, and why."""


class Page(Struct, frozen=True):
    """A part of a result. `rows`: the kind of change (INSERT, UPDATE_AFTER, ...) and the values."""

    columns: list[str]
    rows: list[tuple[str, list[Any]]]
    job_id: str | None


class Session:
    """A session of the gateway: the tables and settings that its statements made."""

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self._client = client
        self._path = path

    async def run(self, statement: str) -> Page:
        """Run a statement that ends, and return the first part of what it says.

        Raises:
            FlinkError: it is refused; the message is Flink's.
        """
        first: Page | None = None
        async for page in self.pages(statement):
            first = first or page
        return first or Page([], [], None)

    async def pages(self, statement: str) -> AsyncGenerator[Page]:
        """Run a statement and give its result part by part; leaving early cancels it.

        Raises:
            FlinkError: it is refused, or fails on the way.
        """
        body = {"statement": statement}
        started = await _send(self._client, "POST", f"{self._path}/statements", body)
        operation = f"{self._path}/operations/{started['operationHandle']}"
        ended = told = False
        try:
            uri: str | None = f"{operation}/result/0?rowFormat=JSON"
            while uri:
                answer = await _send(self._client, "GET", uri)
                if answer["resultType"] == "NOT_READY":
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                results = answer["results"]
                rows = [(row["kind"], row["fields"]) for row in results["data"]]
                uri = answer.get("nextResultUri")
                ended = uri is None
                if rows or not told:
                    told = True
                    columns = [column["name"] for column in results["columns"]]
                    yield Page(columns, rows, answer.get("jobID"))
                if not rows and uri:
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            with suppress(FlinkError):
                if not ended:
                    await _send(self._client, "POST", f"{operation}/cancel")
                await _send(self._client, "DELETE", f"{operation}/close")


@asynccontextmanager
async def session(url: str, properties: Mapping[str, str]) -> AsyncIterator[Session]:
    """A session at the gateway `url` with these Flink settings, closed at the end.

    Raises:
        FlinkError: the gateway does not answer.
    """
    async with httpx.AsyncClient(
        base_url=url, timeout=REQUEST_SECONDS, trust_env=False, verify=url.startswith("https")
    ) as client:
        opened = await _send(client, "POST", "/v2/sessions", {"properties": dict(properties)})
        path = f"/v2/sessions/{opened['sessionHandle']}"
        try:
            yield Session(client, path)
        finally:
            with suppress(FlinkError):
                await _send(client, "DELETE", path)


async def _send(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> Any:
    try:
        answer = await client.request(method, path, json=body)
        said = answer.json()
    except httpx.HTTPError as error:
        raise FlinkError(f"the SQL gateway {client.base_url} does not answer: {error!r}. {START}") from error
    except ValueError:
        raise FlinkError(f"{client.base_url} is no SQL gateway: {path} answers no JSON") from None
    if answer.is_success:
        return said
    raise FlinkError(reason("\n".join(map(str, said.get("errors", [said])))))


def reason(trace: str) -> str:
    """The innermost cause of a Java stack trace, or what it begins with; without card numbers."""
    lines = [line.strip() for line in trace.splitlines()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    said = causes[-1] if causes else next((line for line in lines if line and not line.startswith("at ")), "")
    return mask_cards(said)[:ERROR_LENGTH]  # masked first: a number that is cut is not known as one
