"""The commands of docs/console.md, typed as they stand there, on a running system."""

import asyncio
import os
import re
import shlex
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
from tests import tools
from tests.e2e.app_process import ROOT, App, environment, serving
from tests.sql import sql
from tests.waiting import until

from snacks.config import Settings
from snacks.platform import Platform

pytestmark = pytest.mark.timeout(240)
PAGE = (ROOT / "docs/console.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
ORDER, GONE = "docs-1", "docs-gone"


@pytest.fixture(scope="module")
async def app(platform: Platform) -> AsyncIterator[App]:
    """The app, with an order to be seen and one that was deleted in MySQL."""
    async with (
        serving(platform.settings) as running,
        httpx.AsyncClient(base_url=running.url(0), trust_env=False) as client,
    ):
        for order_id in (ORDER, GONE):
            await _order(client, order_id)
            await until(partial(_status, client, order_id, 200))
        await sql(platform.settings, "DELETE FROM item_detail WHERE order_id = %s", GONE)
        await until(partial(_status, client, GONE, 404))
        yield running


async def _order(client: httpx.AsyncClient, order_id: str) -> None:
    items = [{"itemId": "1", "itemName": "Pretzels", "price": 0.5, "quantity": 2}]
    place = {"customerName": "Me", "customerAddress": "1 Snack St", "zipCode": "08505"}
    where = place | {"latitude": 40.7, "longitude": -74.0}
    for path, body in (("item-details", {"items": items}), ("shipping-location", where)):
        (await client.post(f"/api/{path}", json={"orderId": order_id} | body)).raise_for_status()


async def _status(client: httpx.AsyncClient, order_id: str, status: int) -> bool:
    return (await client.get(f"/api/orders/{order_id}")).status_code == status


async def typed(settings: Settings, line: str, tmp_path: Path) -> str:
    """What the line prints, run in an empty folder with the checkout's ./snacks, on this broker."""
    words = shlex.split(line.replace("127.0.0.1:9092", settings.kafka))
    program, variables = (ROOT / "snacks", {}) if words[0] == "./snacks" else tools.kcat()
    said = tmp_path / "said"
    with said.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            program,
            *words[1:],
            env=environment(settings) | variables | {"COLUMNS": "200"},
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(90):
            code = await child.wait()
    assert code in (0, 1) if "--timeout-ms" in line else code == 0, said.read_text("utf-8")
    return said.read_text("utf-8")


@pytest.mark.parametrize("line", COMMANDS)
async def test_a_command_of_the_page_works_as_written(app: App, tmp_path: Path, line: str) -> None:
    await typed(app.settings, line, tmp_path)  # fails if the command does


def test_the_page_has_commands_of_each_kind() -> None:
    assert {shlex.split(line)[0] for line in COMMANDS} == {"./snacks", "kcat"}


async def test_kafkas_own_consumer_sees_bare_keys_text_headers_json_and_tombstones(
    app: App, tmp_path: Path
) -> None:
    line = next(line for line in COMMANDS if "console-consumer" in line)
    said = [part.split(" ==> ") for part in (await typed(app.settings, line, tmp_path)).splitlines()]
    records = [part for part in said if len(part) == 3]
    headers, _, value = next(part for part in records if part[1] == ORDER)
    assert re.fullmatch(r"revision:\d+,changed:\d{13},captured:\d{13},stored:\d{13}", headers)
    assert '"price":0.50' in value
    assert msgspec.json.decode(value)["orderId"] == ORDER
    assert [part[2] for part in records if part[1] == GONE][-1] == "null"  # how the tool shows no value


async def test_the_group_shows_a_member_with_a_telling_name_and_its_lag(app: App, tmp_path: Path) -> None:
    line = next(line for line in COMMANDS if "consumer-groups" in line)

    async def caught_up() -> bool:
        rows = [part.split() for part in (await typed(app.settings, line, tmp_path)).splitlines()]
        mine = [row for row in rows if row[:1] == [app.settings.group_id]]
        assert len(mine) == 3 * app.settings.partitions
        names = {row[8] for row in mine}
        assert names == {f"snacks-{os.uname().nodename}-{app.settings.http_ports[0]}"}
        return {row[5] for row in mine} == {"0"}  # offsets are committed once a second

    await until(caught_up)


async def test_kcat_tells_a_tombstone_from_an_empty_value(app: App, tmp_path: Path) -> None:
    line = next(line for line in COMMANDS if "kcat" in line and "%S" in line)
    said = (await typed(app.settings, line, tmp_path)).splitlines()
    (tombstone,) = [part for part in said if f" {GONE} " in part and " -1: " in part]
    assert tombstone.endswith("-1: ")
