"""What `snacks flink sql` asks: statements against the tables of the job, to their end and within bounds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from msgspec import Struct

from snacks.config import Settings
from snacks.domain.cards import mask_cards
from snacks.flink import job
from snacks.flink.gateway import FlinkError, Session, session

PROPERTIES = {
    "pipeline.name": "snacks flink sql",
    "execution.runtime-mode": "batch",
    "restart-strategy.type": "disable",
    "table.local-time-zone": "UTC",
}
"""Batch: a query reads what is there now, ends, and says each row once. A query that fails says so."""


class Result(Struct, frozen=True):
    """What a statement answered. `more`: there were more rows than were asked for."""

    columns: list[str]
    rows: list[list[Any]]
    more: bool


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Session]:
    """A session in which the tables and views are ready.

    Raises:
        FlinkError: Flink does not answer.
    """
    async with session(settings.flink_sql, PROPERTIES) as ready:
        await job.prepare(ready, settings, until="latest-offset")
        yield ready


async def ask(ready: Session, statement: str, *, limit: int, seconds: float) -> Result:
    """Run one statement and take at most `limit` rows; no card number gets out.

    Raises:
        FlinkError: it is refused, fails, or has not ended in time.
    """
    columns: list[str] = []
    rows: list[list[Any]] = []
    try:
        async with asyncio.timeout(seconds), aclosing(ready.pages(statement)) as pages:
            async for page in pages:
                columns = page.columns
                rows += [[_masked(value) for value in values] for _, values in page.rows]
                if len(rows) > limit:
                    break
    except TimeoutError:
        raise FlinkError(f"no end within {seconds:.0f} s; more with --timeout") from None
    return Result(columns, rows[:limit], len(rows) > limit)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_cards(value)
    if isinstance(value, list):
        return [_masked(one) for one in value]
    if isinstance(value, dict):
        return {mask_cards(key): _masked(one) for key, one in value.items()}
    return value
