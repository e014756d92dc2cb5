"""From nothing to ready: all servers, then the app; cold with empty data, warm with what the last run left.

Downloads are not counted: they are in the cache before the clock starts.
"""

import argparse
import shutil
import time

from rich.console import Console

from bench import processes, servers
from bench.report import Result, begin
from snacks.platform import fetch, running


def options(_parser: argparse.ArgumentParser) -> None:
    """None of its own."""


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    units = {"servers": "s", "app": "s", "all": "s"}
    result = begin("start", "From nothing to ready", units, "all")
    settings = servers.settings()
    fetch(settings, console)
    for _ in range(chosen.runs):
        shutil.rmtree(settings.state_dir / "data", ignore_errors=True)
        for name in ("cold: empty data", "warm: started before"):
            began = time.monotonic()
            async with running(settings, console):
                up = time.monotonic() - began
                async with processes.serving(settings) as serving:
                    ready = time.monotonic() - began
                    result.add(name, servers=up, app=serving.ready_after, all=ready)
                    console.print(f"  {name}: {ready:.1f} s")
    return result
