"""How long a shard has no owner when a process is stopped, killed or restarted beside another one.

Two processes that only fold. `restart`: one is stopped properly and started again, then the other (a rolling
restart). `kill`: the same with kill -9. `stop`: one is stopped and stays away. `loss`: it is killed and stays
away, which the broker notices after its session. A shard has an owner while a process says that it runs it;
asked every 50 ms. The longest time of each shard counts: `longest` is the longest of all shards, `mean` their
mean.
"""

import argparse
import asyncio
import time
from uuid import uuid4

from msgspec.structs import replace
from rich.console import Console

from bench import processes, servers
from bench.report import Result, begin

EVERY = 0.05
SETTLE = 3.0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", type=float, default=10.0, help="SNACKS_SESSION_TIMEOUT")


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    name = f"handover-{uuid4().hex[:6]}"
    one = replace(servers.fresh(servers.settings(), name), role="actors", session_timeout=chosen.session)
    two = replace(one, http_ports=tuple(port + 40 for port in one.http_ports))
    result = begin("handover", "Shards without an owner", {"longest": "s", "mean": "s"}, "longest")
    async with (
        servers.platform(one, console, "kafka", "mongod"),
        processes.app(one) as first,
        processes.app(two) as second,
    ):
        for number in range(chosen.runs):
            for fault in ("restart", "kill", "stop", "loss"):
                figures = await _lap([first, second], one.partitions, fault)
                result.add(fault, **figures)
                console.print(f"run {number + 1}: {fault}: {figures['longest']:.1f} s at most")
    return result


async def _lap(apps: list[processes.App], partitions: int, fault: str) -> dict[str, float]:
    for app in apps:
        if app.child is None or app.child.poll() is not None:
            app.start()

    async def shared() -> bool:
        found = await asyncio.gather(*(_running(app) for app in apps))
        return [len(shards) for shards in found] == [partitions // 2] * 2

    async def alone() -> bool:
        return len(await _running(apps[1])) == partitions

    await processes.until(shared)
    watch = Watch(apps, partitions)
    watching = asyncio.create_task(watch.run())
    try:
        again = fault in ("restart", "kill")
        for app in apps if again else apps[:1]:
            await app.end(kill=fault in ("kill", "loss"))
            if again:
                app.start()
            await processes.until(shared if again else alone, every=EVERY)
            await asyncio.sleep(SETTLE)
    finally:
        watching.cancel()
    return {"longest": max(watch.longest), "mean": sum(watch.longest) / partitions}


class Watch:
    """Asks all processes again and again which shards they run."""

    def __init__(self, apps: list[processes.App], partitions: int) -> None:
        self.longest = [0.0] * partitions
        self._seen = [time.monotonic()] * partitions
        self._apps = apps

    async def run(self) -> None:
        while True:
            owned = set[int]().union(*await asyncio.gather(*(_running(app) for app in self._apps)))
            now = time.monotonic()
            for shard in range(len(self._seen)):
                self.longest[shard] = max(self.longest[shard], now - self._seen[shard])
                if shard in owned:
                    self._seen[shard] = now
            await asyncio.sleep(EVERY)


async def _running(app: processes.App) -> set[int]:
    return {shard["partition"] for shard in await app.shards() if shard["state"] == "running"}
