"""`snacks rebuild`: everything again from the CDC topics, beside the live system."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from tests import oracle
from tests.e2e.app_process import App, serving
from tests.given import EPOCH, item, payment, place
from tests.repairing import actors, captured, changed, collection, documents, history, shown
from tests.sql import sql
from tests.waiting import until

from snacks.actors.orders import Entry
from snacks.cdc import CDC_TOPICS
from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.platform import Platform
from snacks.repair import RepairError
from snacks.repair.rebuild import FILE, rebuild
from snacks.repair.spool import Spool
from snacks.story import STATUSES

pytestmark = pytest.mark.timeout(180)
ORDERS = 40


async def some_orders(settings: Settings) -> set[str]:
    """Orders with a history: made, paid, fulfilled, one gone again, one not complete."""
    await changed(
        settings, *(row for n in range(5) for row in (item(f"kit-{n}"), place(f"kit-{n}"))), position=1
    )
    await changed(
        settings, payment("kit-1"), item("kit-1", item_status="FULFILLED"), at=EPOCH + 1, position=2
    )
    await changed(settings, item("half"), position=3)
    await shown(settings, {f"kit-{n}" for n in range(5)})
    return {f"kit-{n}" for n in range(5)}


async def test_what_agrees_is_left_alone_and_nothing_is_published(empty: Settings) -> None:
    async with actors(empty):
        await some_orders(empty)
        before, published = await documents(empty), len(await history(empty))
        found = await rebuild(empty)
        assert (found.orders, found.differing) == (6, 0)
        assert (await documents(empty), len(await history(empty))) == (before, published)
        assert not (empty.state_dir / FILE).exists()


async def test_a_dropped_collection_comes_back_byte_for_byte_and_nothing_is_published(
    empty: Settings,
) -> None:
    async with actors(empty):
        await some_orders(empty)
        before, published = await documents(empty), len(await history(empty))
        for _ in range(2):
            async with collection(empty) as orders:
                await orders.drop()
            assert (await rebuild(empty)).repaired == len(before)
            assert await documents(empty) == before
        assert len(await history(empty)) == published
        async with collection(empty) as orders:
            assert {"status_oldest_first", "card_type_oldest_first"} <= set(await orders.index_information())


async def test_a_state_that_is_wrong_is_folded_again(empty: Settings) -> None:
    async with actors(empty) as host:
        await some_orders(empty)
        before = await documents(empty)
        # As an older version with a defect would have left it.
        shard = next(one for one in host._shards.values() if one.has("kit-1"))
        wrong = shard._orders._states["kit-1"].replace(b"Apple Rings", b"Apple Wings")
        shard._orders._actors.pop("kit-1", None)
        shard._orders._states["kit-1"] = wrong
        await shard._checkpoint.commit([Entry(b"kit-1", wrong)], [], [], shard.offsets, {})
        found = await rebuild(empty)
        assert (found.differing, found.repaired) == (1, 1)
        after = await documents(empty)
        assert after["kit-1"]["customerOrder"] == before["kit-1"]["customerOrder"]
        assert (await rebuild(empty)).differing == 0


async def test_a_stopped_rebuild_goes_on_where_it_was(empty: Settings) -> None:
    async with actors(empty):
        await some_orders(empty)
        folded: list[tuple[int, int]] = []

        def stop(what: str, done: int, total: int) -> None:
            if what == "records folded":
                folded.append((done, total))
                raise asyncio.CancelledError

        before = await documents(empty)
        with pytest.raises(asyncio.CancelledError):
            await rebuild(empty, step=stop)
        assert await documents(empty) == before
        first, folded[:] = folded[0], []
        await changed(empty, place("kit-3", zip_code="8"), at=EPOCH + 9, position=9)

        def note(what: str, done: int, total: int) -> None:
            if what == "records folded":
                folded.append((done, total))

        assert (await rebuild(empty, step=note)).remaining == 0
        assert folded[-1][1] == first[1] - first[0] + 1


async def test_a_rebuild_that_is_cancelled_while_it_repairs_leaves_whole_orders_and_goes_on(
    empty: Settings,
) -> None:
    async with actors(empty):
        await some_orders(empty)
        before = await documents(empty)
        async with collection(empty) as orders:
            await orders.drop()

        def stop(what: str, _done: int, _total: int) -> None:
            if what == "repaired":
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await rebuild(empty, step=stop)
        some = await documents(empty)
        assert some == {order_id: before[order_id] for order_id in some}
        assert (await rebuild(empty)).remaining == 0
        assert await documents(empty) == before


async def test_an_order_that_was_deleted_and_made_again_comes_back_with_its_revision(empty: Settings) -> None:
    async with actors(empty):
        await changed(empty, item("kit-1"), place("kit-1"), position=1)
        await shown(empty, {"kit-1"})
        await sql(empty, "DELETE FROM item_detail")
        await sql(empty, "DELETE FROM shipping_location")
        await captured(empty, item("kit-1"), place("kit-1"), at=EPOCH + 1, position=2, deleted=True)
        await shown(empty, set())
        await changed(empty, item("kit-1", quantity=9), place("kit-1"), at=EPOCH + 2, position=3)
        await shown(empty, {"kit-1"})
        before = await documents(empty)
        assert before["kit-1"]["revision"] == 6
        async with collection(empty) as orders:
            await orders.drop()
        assert (await rebuild(empty)).repaired == 1
        assert await documents(empty) == before


async def test_two_rebuilds_at_once_are_refused(empty: Settings) -> None:
    with Spool(empty.state_dir / FILE, alone=True) as spool:
        spool.remember("busy", "yes")
        with pytest.raises(RepairError, match="another rebuild is running"):
            await rebuild(empty)


async def test_topics_that_lost_their_beginning_are_not_trusted_and_mysql_is_asked(empty: Settings) -> None:
    async with actors(empty):
        before = await some_orders(empty)
        admin = AIOKafkaAdminClient(bootstrap_servers=empty.kafka)
        await admin.start()
        try:
            sources = [TopicPartition(CDC_TOPICS[0], n) for n in range(empty.partitions)]
            await admin.delete_records({source: RecordsToDelete(-1) for source in sources})
        finally:
            await admin.close()
        async with collection(empty) as orders:
            await orders.drop()
        found = await rebuild(empty)
        assert "rebuilt from MySQL" in "".join(found.notes)
        assert set(await documents(empty)) == before


# ── H5: live, under load ─────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
async def app(platform: Platform) -> AsyncIterator[App]:
    async with serving(platform.settings) as running:
        yield running


async def make(client: httpx.AsyncClient, app: App, order_id: str) -> None:
    """An order as a client makes it, shipped in the end."""
    items = [{"itemId": "1", "itemName": "Pretzels", "price": 0.25, "quantity": 4}]
    where = {
        "customerName": "Ada",
        "customerAddress": "9 Quay St",
        "zipCode": "1",
        "latitude": 1,
        "longitude": 2,
    }
    card = {
        "paymentType": "CREDIT",
        "creditCardType": "Visa",
        "creditCardNumber": "4111-1111-1111-1111",
        "amount": 1,
    }
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "item-details", {"items": items}),
        ("POST", "shipping-location", where),
        ("POST", "payment", card),
        ("PUT", "item-details", {"itemStatus": "FULFILLED"}),
        ("PUT", "item-details", {"itemStatus": "SHIPPED"}),
    ]
    for method, path, body in steps:
        answer = await client.request(method, f"{app.url(0)}/api/{path}", json={"orderId": order_id, **body})
        assert answer.is_success, answer.text


async def test_h5_a_dropped_collection_is_rebuilt_under_load_while_reads_are_answered(app: App) -> None:
    settings, mark = app.settings, uuid4().hex[:8]
    done = asyncio.Event()
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        for number in range(ORDERS):
            await make(client, app, f"{mark}-{number}")
        still = {f"{mark}-{number}" for number in range(ORDERS)}
        await until(lambda: all_shipped(settings, still))
        before = {order_id: one for order_id, one in (await documents(settings)).items() if order_id in still}

        async def load() -> int:
            number = 0
            while not done.is_set():
                await make(client, app, f"{mark}-live-{number}")
                number += 1
            return number

        async def read() -> tuple[int, int]:
            whole = cut = 0
            while not done.is_set():
                try:
                    answer = await client.get(f"{app.url(2)}/api/orders", params={"status": "SHIPPED"})
                except httpx.RemoteProtocolError:
                    cut += 1
                    continue
                if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    cut += 1  # while its first part was read
                    continue
                assert answer.status_code == httpx.codes.OK
                whole += 1
            return whole, cut

        loading, reading = asyncio.create_task(load()), asyncio.create_task(read())
        try:
            async with collection(settings) as orders:
                await orders.drop()
            found = await rebuild(settings)
        finally:
            done.set()
            made, (reads, cut) = await asyncio.gather(loading, reading)
    assert found.repaired >= ORDERS
    assert found.remaining == 0
    assert made
    assert reads
    assert cut <= 1, "only the list that was on its way when the collection was dropped may end early"
    after = await documents(settings)
    assert {order_id: after.get(order_id) for order_id in still} == before
    await until(lambda: equal(settings))
    assert (await rebuild(settings)).differing == 0
    steps: dict[bytes, list[int]] = {}
    for record in await history(settings, AGGREGATES):
        if record.value is not None and record.key.startswith(mark.encode()):
            status = msgspec.json.decode(record.value)["orderStatus"]
            steps.setdefault(record.key, []).append(STATUSES.index(status))
    assert len(steps) == ORDERS + made
    assert all(one == sorted(one) for one in steps.values())


async def all_shipped(settings: Settings, order_ids: set[str]) -> bool:
    found = await documents(settings)
    return all(
        order_id in found and found[order_id]["customerOrder"]["orderStatus"] == "SHIPPED"
        for order_id in order_ids
    )


async def equal(settings: Settings) -> bool:
    host, port = settings.mysql
    left = await oracle.expected(
        host, port, settings.mysql_user, settings.mysql_password, settings.mysql_database
    )
    return not oracle.differences(left, await oracle.stored(settings.mongo, settings.mongo_database))
