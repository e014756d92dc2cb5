"""Commands over HTTP: what 100 users at once get answered, with everything behind the commands running.

The ancestor's load: items, shipping location, payment, each a request of its own. wrk sends it: every user
sends the next request when the last is answered, so this finds the most that can be answered.
"""

import argparse
import time

from rich.console import Console

from bench import contestants, load, processes, servers
from bench.report import Result, begin

ANCESTOR = {"rate": 167.0, "p99": 261.0}
"""What the ancestor's page says of the same load with 100 users: requests/s, milliseconds."""
WARM_UP = 5.0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    units = {
        "rate": "requests/s",
        "p50": "ms",
        "p90": "ms",
        "p95": "ms",
        "p99": "ms",
        "errors": "answers",
        "CPU": "s, app",
    }
    result = begin("commands", f"Commands, {chosen.users} users", units, "rate")
    result.add("The ancestor, as published", **ANCESTOR)
    settings = servers.settings()
    async with servers.platform(settings, console, *servers.ALL), processes.serving(settings) as serving:
        await load.load(
            settings, "commands.lua", serving.url, users=chosen.users, seconds=WARM_UP, argument="w"
        )
        for number in range(chosen.runs):
            cpu, busy = serving.cpu(), contestants.busy()
            figures = await load.load(
                settings,
                "commands.lua",
                serving.url,
                users=chosen.users,
                seconds=chosen.seconds,
                argument=f"c{time.time():.0f}",
            )
            console.print(
                f"  run {number + 1}: {figures['rate']:.0f} requests/s, p99 {figures['p99']:.0f} ms"
            )
            result.add("Snacks", **figures, CPU=serving.cpu() - cpu)
            share = (serving.cpu() - cpu) / (contestants.busy() - busy)
            result.notes.append(f"run {number + 1}: the app took {share:.0%} of what the machine did")
    ratio = result.median("Snacks", "rate") / ANCESTOR["rate"]
    result.notes.append(f"{ratio:.1f} times the ancestor's published rate, on another machine")
    return result
