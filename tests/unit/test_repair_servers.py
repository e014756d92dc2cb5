"""Repair when a server stands still: what is told, and that it is told at all."""

import asyncio
from typing import Any, Self

import pytest

from snacks.config import Settings
from snacks.repair import RepairError, rows
from snacks.repair.rows import snapshot


class Standing:
    """A connection to MySQL, and its cursor, that never answers."""

    def cursor(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def execute(self, *_: object) -> None:
        await asyncio.Event().wait()

    def close(self) -> None:
        pass


@pytest.mark.parametrize("connects", [True, False])
async def test_a_mysql_that_stands_still_is_told_with_the_seconds_that_were_waited(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, *, connects: bool
) -> None:
    async def connect(**_: Any) -> Standing:
        if not connects:
            await asyncio.Event().wait()
        return Standing()

    monkeypatch.setattr("asyncmy.connect", connect)
    monkeypatch.setattr(rows, "CONNECT_TIMEOUT", 0.01)
    monkeypatch.setattr(rows, "QUERY_TIMEOUT", 0.02)
    with pytest.raises(RepairError, match=rf"cannot be read: no answer in 0.0{1 + connects} s"):
        async with asyncio.timeout(5), snapshot(settings):
            pass
