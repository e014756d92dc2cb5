"""The ancestor's connector configuration, as it shapes records, end to end with our actors."""

from pathlib import Path

import msgspec
import pytest
from tests.conftest import settings_for
from tests.folding import everything
from tests.living import DRIFT_OFFSET, living
from tests.waiting import until

from snacks.cdc import CDC_TOPICS, connector
from snacks.letters import Letters
from snacks.platform import running

pytestmark = pytest.mark.timeout(180)
UNWRAP_ONLY = {
    "transforms": "unwrap",
    "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
    "key.converter.schemas.enable": "true",
    "value.converter.schemas.enable": "true",
}


@pytest.mark.parametrize("partitions", ["one", "routed"])
async def test_the_ancestors_shape_of_records_gives_the_same_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partitions: str
) -> None:
    """Flattened with schemas in key and value, decimals as bytes, deletes as tombstones; keys as they are.

    It has no routing of its own: with one partition an order is in one; else the route must be added.
    """
    count = "1" if partitions == "one" else "6"
    settings = settings_for(DRIFT_OFFSET, tmp_path, SNACKS_PARTITIONS=count)
    ours = connector.configuration(settings)
    route = {name: value for name, value in ours.items() if name.startswith("transforms.route")}
    base = {
        name: value
        for name, value in ours.items()
        if not name.startswith("transforms") and name not in ("decimal.handling.mode", "tombstones.on.delete")
    }
    theirs = base | UNWRAP_ONLY
    if partitions == "routed":
        theirs |= route | {"transforms": "route,unwrap"}
    monkeypatch.setattr(connector, "configuration", lambda _: theirs)
    async with running(settings) as servers, living(servers.settings) as world:
        order = await world.order()
        await world.sql(f"INSERT INTO payment VALUES ('{order}', 'CREDIT', 'Visa', '4242', 2.50, 'USD')")
        paid = await world.shows(order, lambda one: one["payment"])
        shown = msgspec.to_builtins(paid["items"][0]["price"]["price"], builtin_types=())
        assert (shown, paid["orderStatus"]) == ("1.25", "PAID")
        assert paid["payment"]["creditCardNumber"] == "****-****-****-****"
        assert b'{"schema":' in (await everything(settings, CDC_TOPICS[2]))[0][1]  # type: ignore[operator]
        await world.sql(f"DELETE FROM payment WHERE order_id = '{order}'")
        await world.shows(order, lambda one: one["payment"] is None)
        await world.sql(f"DELETE FROM item_detail WHERE order_id = '{order}'")

        async def gone() -> bool:
            return await world.documents.get(order) is None

        await until(gone)
        assert await Letters(settings).counts() == {}
