"""The processor alone, as the contestant of a drain: the host and its shards, no HTTP, no connector.

`python -m bench.ours [--topics-only] GO`: it joins the group and waits, every shard about to restore, until
the file GO is there. So the clock starts at a known moment, and two processes have shared out the shards.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from snacks import config, logs
from snacks.actors import OrderHost
from snacks.app import collect_rarely
from snacks.claims import Claim
from snacks.documents import Documents, Emission


class _Session:
    async def end_session(self) -> None:
        pass


class Gated(Documents):
    """The documents, which nobody may claim before the start."""

    go: Path

    async def claim(self, shard: int) -> Claim:
        while not self.go.exists():
            await asyncio.sleep(0.005)
        return await self._taken(shard)

    async def _taken(self, shard: int) -> Claim:
        return await super().claim(shard)


class Nowhere(Gated):
    """No MongoDB: what is left is the aggregate and the checkpoint."""

    async def open(self) -> None:
        pass

    async def _taken(self, shard: int) -> Claim:
        session: Any = _Session()
        return Claim(shard, 1, session, {})

    async def emit(self, emissions: Sequence[Emission], *_: object) -> None:
        pass


async def run(go: Path, *, topics_only: bool) -> None:
    settings = config.load()
    logs.setup(settings)
    kind = Nowhere if topics_only else Gated
    async with kind(settings.mongo, settings.mongo_database) as documents:
        documents.go = go
        host = OrderHost(settings, documents, f"bench-{os.getpid()}")
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
        hosting = asyncio.create_task(host.run())
        try:
            await shards(host, "fencing")
            print("MARK ready", time.time(), flush=True)
            await shards(host, "running")
            print("MARK start", time.time(), flush=True)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("ended", flush=True)
        finally:
            for shard in host.status().shards:
                print("SHARD", msgspec.json.encode(shard).decode(), flush=True)
            hosting.cancel()
            await asyncio.wait([hosting])


async def shards(host: OrderHost, state: str) -> None:
    """Wait until one is in this state."""
    while not any(shard.state == state for shard in host.status().shards):
        await asyncio.sleep(0.002)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("go", type=Path)
    parser.add_argument("--topics-only", action="store_true")
    options = parser.parse_args()
    collect_rarely()
    uvloop.run(run(options.go, topics_only=options.topics_only))


if __name__ == "__main__":
    main()
