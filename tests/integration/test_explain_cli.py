"""`snacks explain` as it is typed: a process without actors tells all of an order that lives in another."""

import asyncio
import json
import subprocess
import sys

from msgspec.structs import replace
from tests.e2e.app_process import ROOT, environment
from tests.folding import POISON, listed, produce
from tests.given import EPOCH, item, payment, place
from tests.repairing import actors, captured, changed, fresh, shown

from snacks.config import Settings
from snacks.platform import Platform
from snacks.repair.partition import partition_of


async def explained(settings: Settings) -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "snacks", "explain", "kit-1", "--json"],
        env=environment(settings),
        cwd=ROOT,
        capture_output=True,
        timeout=100,
    )


async def test_an_order_whose_actor_lives_in_another_process_is_explained(lab: Platform) -> None:
    settings = await fresh(lab.settings)
    where = partition_of("kit-1", settings.partitions)
    async with actors(settings):
        await changed(settings, item(), place(), payment(), position=1)
        await captured(settings, item(), at=EPOCH + 1, position=2)
        await produce(settings, POISON, partition=where)
        await shown(settings, {"kit-1"})
        await listed(settings, 1)
        told = await explained(settings)
    assert told.returncode == 0, told.stdout + told.stderr
    found = json.loads(told.stdout)
    assert (found["agree"], found["problems"], found["partitions"]) == (True, [], [where])
    did = {(one["topic"].rpartition(".")[2], one["offset"]): one["did"] for one in found["records"]}
    assert did == {
        ("item_detail", 0): "folded",
        ("shipping_location", 0): "folded",
        ("payment", 0): "folded",
        ("item_detail", 1): "repeated",
        ("item_detail", 2): "set aside",
    }
    assert set(found["rows"]) == {"item_detail", "shipping_location", "payment"}
    assert found["state"]["revision"] == found["stored"]["revision"] == 3
    assert found["published"]["order"] == found["stored"]["order"]
    assert [one["id"] for one in found["letters"]] == [f"item_detail-{where}-2"]


async def test_while_mongodb_is_away_the_other_parts_are_told(lab: Platform) -> None:
    settings = await fresh(lab.settings)
    async with actors(settings):
        await changed(settings, item(), place(), payment(), position=1)
        await shown(settings, {"kit-1"})
        told = await explained(replace(settings, mongo_url="mongodb://127.0.0.1:9/?directConnection=true"))
    assert (told.returncode, b"Traceback" in told.stderr) == (1, False), told.stdout + told.stderr
    found = json.loads(told.stdout)
    assert [problem.partition(":")[0] for problem in found["problems"]] == ["MongoDB"]
    assert set(found["rows"]) == {"item_detail", "shipping_location", "payment"}
    assert (len(found["records"]), found["state"]["revision"]) == (3, 3)
    assert (found["stored"], found["agree"]) == (None, None)
