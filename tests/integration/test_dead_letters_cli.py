"""`snacks dead-letters` as it is typed."""

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
from tests.e2e.app_process import ROOT, environment
from tests.folding import POISON, fold_until, listed, produce, status_is
from tests.given import item, place, value

from snacks.config import Settings


async def test_the_command_line_lists_shows_replays_and_drops(given: Settings, tmp_path: Path) -> None:
    async def snacks(*arguments: str, code: int = 0) -> str:
        argv = [sys.executable, "-m", "snacks", "dead-letters", *arguments]
        told = await asyncio.to_thread(
            subprocess.run, argv, env=environment(given), cwd=ROOT, capture_output=True, timeout=60
        )
        assert told.returncode == code, told.stdout + told.stderr
        return (told.stdout + told.stderr).decode()

    await produce(given, POISON, POISON, value(place()))
    await fold_until(given, dead_letters=2)
    await listed(given, 2)
    newest = msgspec.json.decode(await snacks("list", "--json"))
    assert [one["id"] for one in newest] == ["item_detail-0-1", "item_detail-0-0"]
    shown = await snacks("show", "item_detail-0-0")
    assert "not json ****-****-****-4295" in shown
    assert "2 open: 2 not-json" in await snacks("list", "--reason", "not-json", "--limit", "1")
    mended = tmp_path / "mended.json"
    mended.write_bytes(value(item())[2])
    assert "Sent again" in await snacks("replay", "item_detail-0-0", "--value", str(mended))
    assert "1 dropped" in await snacks("drop", "--all")
    assert "no dead letter payment-0-9" in await snacks("show", "payment-0-9", code=1)
    assert "one ID, or --all" in await snacks("drop", code=2)
    await fold_until(given, folded=1)
    assert await status_is(given, "PENDING")
