"""The documents over a real MongoDB."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from msgspec.structs import replace

from snacks.config import Settings
from snacks.documents import Documents, DocumentsUnavailable, Emission, Superseded
from snacks.domain.order import (
    Amount,
    CustomerOrder,
    Destination,
    GeoLocation,
    Item,
    Paid,
    Price,
)
from snacks.domain.values import Currency, ItemStatus, OrderStatus, to_cents

Emit = Callable[[CustomerOrder, int], Emission]
HOME = Destination("Ada K", "9 Quay St", "00501", GeoLocation(1.5, -2.5))
APPLE_RINGS = Item("1", "Apple Rings", ItemStatus.REQUESTED, Price(Decimal("1.25"), Currency.USD), 2)
SNICKERS = replace(APPLE_RINGS, item_name="Mini SNICKERS")
PAID = Paid("CREDIT", "Visa", "****-****-****-4242", Amount(Decimal("2.50"), Currency.USD))
MAGICAL = replace(PAID, credit_card_type="Magical Visa")


def order(
    order_id: str = "kit-1",
    status: OrderStatus = OrderStatus.PAID,
    modified: str = "2026-01-01T00:00:00",
    **fields: Any,
) -> CustomerOrder:
    whole = CustomerOrder(order_id, status, modified, [APPLE_RINGS], HOME, PAID)
    return replace(whole, **fields)


def oldest_first(one: CustomerOrder) -> tuple[str, str]:
    return one.modified_date, one.order_id


def first(one: CustomerOrder, revision: int = 1) -> Emission:
    return Emission(one.order_id, revision, one)


def later(one: CustomerOrder, revision: int) -> Emission:
    return Emission(one.order_id, revision, one)


def gone(order_id: str, revision: int) -> Emission:
    return Emission(order_id, revision, None)


@pytest.fixture(scope="module")
async def opened(platform: object, settings: Settings) -> AsyncIterator[Documents]:
    async with Documents(settings.mongo, f"{settings.mongo_database}_documents") as documents:
        yield documents
        await documents._client.drop_database(documents._database.name)


@pytest.fixture
async def documents(opened: Documents) -> Documents:
    await opened.model.get_pymongo_collection().delete_many({})
    return opened


async def raw(documents: Documents, query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    collection = documents.model.get_pymongo_collection()
    found: list[dict[str, Any]] = await collection.find(query or {}).sort("_id", 1).to_list()
    return found


async def revision_of(documents: Documents, order_id: str = "kit-1") -> list[int]:
    return [document["revision"] for document in await raw(documents, {"_id": order_id})]


async def stored_order(documents: Documents, order_id: str) -> Mapping[str, Any]:
    found = await documents.get(order_id)
    assert found is not None
    return found


async def ids(orders: AsyncGenerator[Mapping[str, Any]]) -> list[str]:
    async with aclosing(orders):
        return [stored["orderId"] async for stored in orders]


async def test_emitting_the_same_again_changes_nothing(documents: Documents) -> None:
    emissions = [first(order("kit-1")), first(order("kit-2"), 3), gone("kit-3", 4)]
    await documents.emit(emissions)
    once = await raw(documents)
    await documents.emit(emissions)
    assert await raw(documents) == once
    assert [document["_id"] for document in once] == ["kit-1", "kit-2"]


async def test_nothing_to_emit_is_no_error(documents: Documents) -> None:
    await documents.emit([])
    assert await raw(documents) == []


async def test_an_older_revision_never_replaces_a_newer_one(documents: Documents) -> None:
    await documents.emit([later(order(status=OrderStatus.SHIPPED), 8)])
    await documents.emit([later(order(status=OrderStatus.PAID), 7)])
    assert (await stored_order(documents, "kit-1"))["orderStatus"] == "SHIPPED"
    await documents.emit([later(order(status=OrderStatus.PENDING), 9)])
    assert (await stored_order(documents, "kit-1"))["orderStatus"] == "PENDING"


@pytest.mark.parametrize("emission", [first, later])
async def test_of_concurrent_first_writes_one_document_remains_and_it_is_the_newest(
    documents: Documents, emission: Emit
) -> None:
    await asyncio.gather(*(documents.emit([emission(order(), revision)]) for revision in range(1, 51)))
    assert await revision_of(documents) == [50]


async def test_a_delete_never_removes_a_newer_revision(documents: Documents) -> None:
    await documents.emit([first(order(), 5)])
    await documents.emit([gone("kit-1", 4)])
    await documents.emit([gone("kit-1", 5)])
    assert await revision_of(documents) == [5]


async def test_a_deleted_order_leaves_no_document_at_all(documents: Documents) -> None:
    await documents.emit([first(order(), 5)])
    await documents.emit([gone("kit-1", 6)])
    assert await raw(documents) == []
    assert await documents.get("kit-1") is None


async def test_an_insert_that_meets_an_older_document_replaces_it(documents: Documents) -> None:
    await documents.emit([first(order(status=OrderStatus.PENDING), 2)])
    await documents.emit([first(order(status=OrderStatus.PAID), 3), first(order("kit-2"))])
    assert await revision_of(documents) == [3]
    assert await revision_of(documents, "kit-2") == [1]


async def test_an_insert_that_meets_a_newer_document_leaves_it(documents: Documents) -> None:
    await documents.emit([first(order(), 4)])
    await documents.emit([first(order(status=OrderStatus.PENDING), 3)])
    assert await revision_of(documents) == [4]


async def test_a_document_of_another_engine_is_read_and_replaced(documents: Documents) -> None:
    collection = documents.model.get_pymongo_collection()
    await collection.insert_one(
        {"_id": "kit-1", "customerOrder": {"orderId": "kit-1", "orderStatus": "PAID"}}
    )
    assert await documents.get("kit-1") == {"orderId": "kit-1", "orderStatus": "PAID"}
    await documents.emit([later(order(), 1)])
    assert await revision_of(documents) == [1]


async def test_a_thousand_orders_are_emitted_at_once(documents: Documents) -> None:
    await documents.emit([first(order(f"kit-{number:04}")) for number in range(1000)])
    assert (await documents.counts())["PAID"] == 1000


async def test_order_ids_are_compared_byte_for_byte(documents: Documents) -> None:
    names = ["kit-a", "KIT-A", "kit-a ", "a.b", "$a", "a/b", "a%2Fb", "..", "?status=PAID", "ключ"]
    names += ["caf\u00e9", "cafe\u0301"]
    await documents.emit([first(order(name)) for name in names])
    for name in names:
        assert (await stored_order(documents, name))["orderId"] == name
    assert len(await raw(documents)) == len(names)


async def test_money_is_exact_in_mongodb_and_can_be_compared_and_summed_there(documents: Documents) -> None:
    noisy = to_cents(Decimal(0.1))  # noqa: RUF032  (the noise is the point)
    cheap = replace(APPLE_RINGS, price=Price(noisy, Currency.USD))
    await documents.emit([first(order("kit-1")), first(order("kit-2", items=[cheap]))])
    stored = (await raw(documents, {"_id": "kit-1"}))[0]["customerOrder"]
    assert stored["items"][0]["price"]["price"] == Decimal("1.25")
    collection = documents.model.get_pymongo_collection()
    price = "customerOrder.items.price.price"
    assert await collection.count_documents({price: {"$type": "decimal"}}) == 2
    assert await collection.count_documents({price: {"$gt": Decimal128("0.10")}}) == 1
    assert await collection.count_documents({price: {"$gt": 1.2}}) == 1
    total: list[dict[str, Any]] = [
        {"$unwind": "$customerOrder.items"},
        {"$group": {"_id": None, "total": {"$sum": f"${price}"}}},
    ]
    assert [row["total"] async for row in await collection.aggregate(total)] == [Decimal("1.35")]
    assert (await stored_order(documents, "kit-2"))["items"][0]["price"]["price"] == Decimal("0.10")


async def test_a_document_keeps_the_order_of_the_contracts_keys(documents: Documents) -> None:
    await documents.emit([first(order())])
    assert list(await stored_order(documents, "kit-1")) == [
        "orderId", "orderStatus", "modifiedDate", "items", "shippingLocation", "payment",
    ]  # fmt: skip


async def test_orders_of_a_status_come_oldest_change_first_and_equal_seconds_by_id(
    documents: Documents,
) -> None:
    emissions = [
        first(order(f"kit-{n:03}", modified=f"2026-01-01T00:00:{59 - n % 60:02}")) for n in range(300)
    ]
    await documents.emit([*emissions, first(order("other", OrderStatus.PENDING))])
    found = await ids(documents.by_status(OrderStatus.PAID))
    expected = sorted((emission.order for emission in emissions if emission.order), key=oldest_first)
    assert found == [one.order_id for one in expected]


async def test_the_promotion_is_the_first_20_snickers_paid_with_the_magical_visa(
    documents: Documents,
) -> None:
    wishes = [
        first(order(f"wish-{n:02}", modified=f"2026-01-01T00:00:{n:02}", items=[SNICKERS], payment=MAGICAL))
        for n in reversed(range(25))
    ]
    others = [
        order("other-card", modified="2025-01-01T00:00:00", items=[SNICKERS]),
        order("other-snack", modified="2025-01-01T00:00:00", payment=MAGICAL),
        order("unpaid", OrderStatus.PENDING, "2025-01-01T00:00:00", items=[SNICKERS], payment=None),
    ]
    second_item = [replace(APPLE_RINGS, item_id="0"), SNICKERS]
    mixed = order("mixed", modified="2025-12-31T00:00:00", items=second_item, payment=MAGICAL)
    await documents.emit([*wishes, *map(first, others), first(mixed)])
    found = [stored["orderId"] for stored in await documents.promotion()]
    assert found == ["mixed", *(f"wish-{n:02}" for n in range(19))]


async def test_counts_name_every_status(documents: Documents) -> None:
    await documents.emit([first(order("a")), first(order("b")), first(order("c", OrderStatus.SHIPPED))])
    assert await documents.counts() == {"PENDING": 0, "PAID": 2, "FULFILLED": 0, "SHIPPED": 1}


async def test_every_query_is_served_by_an_index_already_sorted(documents: Documents) -> None:
    await documents.emit([first(order(f"kit-{n}", items=[SNICKERS], payment=MAGICAL)) for n in range(50)])
    database = documents._database
    await database.command("profile", 2)
    try:
        await ids(documents.by_status(OrderStatus.PAID))
        await documents.promotion()
        await documents.counts()
        await documents.get("kit-1")
    finally:
        await database.command("profile", 0)
    ran = {
        "op": {"$in": ["query", "command"]},
        "ns": f"{database.name}.customerOrder",
        "planSummary": {"$exists": True},
    }
    profiled = await database["system.profile"].find(ran).to_list()
    await database["system.profile"].drop()
    plans = {one["planSummary"].split()[0] for one in profiled}
    assert plans <= {"IXSCAN", "COUNT_SCAN", "IDHACK"}
    assert plans >= {"IXSCAN", "COUNT_SCAN", "IDHACK"}
    assert not any(one.get("hasSortStage") for one in profiled)


async def test_a_mongodb_that_does_not_answer_is_said_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        documents = Documents(f"mongodb://127.0.0.1:{port}/?directConnection=true", "none", wait=0.2)
        try:
            with pytest.raises(DocumentsUnavailable):
                await asyncio.wait_for(documents.ping(), 10)
        finally:
            await documents.close()


async def test_two_of_us_in_one_process_keep_to_their_own_database(
    documents: Documents, settings: Settings
) -> None:
    await documents.emit([first(order())])
    async with Documents(settings.mongo, f"{settings.mongo_database}_other") as other:
        assert await other.get("kit-1") is None
        await other.emit([first(order("kit-2"))])
        assert (await stored_order(other, "kit-2"))["orderId"] == "kit-2"
        await other._client.drop_database(other._database.name)
    assert (await stored_order(documents, "kit-1"))["orderId"] == "kit-1"


async def test_until_mongodb_has_answered_once_it_is_unavailable(settings: Settings) -> None:
    documents = Documents(settings.mongo, "none")
    with pytest.raises(DocumentsUnavailable):
        await documents.get("kit-1")
    with pytest.raises(DocumentsUnavailable):
        await documents.counts()
    await documents.close()


async def test_readers_see_only_what_a_kill_of_mongodb_cannot_take_back(documents: Documents) -> None:
    """With MongoDB's default they saw what was not in its journal yet, and orders that stepped back."""
    assert documents.model.get_pymongo_collection().read_concern.level == "majority"


async def test_a_mongodb_that_answers_is_pinged(documents: Documents) -> None:
    await documents.ping()


async def test_a_superseded_owner_can_neither_bring_back_nor_change_a_document(documents: Documents) -> None:
    former = await documents.claim(7)
    await documents.emit([first(order("kit-1"))], former)
    successor = await documents.claim(7)
    await documents.emit([gone("kit-1", 2), first(order("kit-2"))], successor)
    for late in (first(order("kit-1"), 1), later(order("kit-2"), 9), gone("kit-2", 9)):
        with pytest.raises(Superseded):
            await documents.emit([late], former)
    assert [one["_id"] for one in await raw(documents)] == ["kit-2"]
    await documents.emit([later(order("kit-2"), 2)], successor)


async def test_a_claim_made_while_an_owner_writes_leaves_all_of_its_write_or_none(
    documents: Documents,
) -> None:
    orders = [first(order(f"kit-{number}")) for number in range(500)]
    for shard in range(20, 30):
        await documents.emit([gone(one.order_id, 2) for one in orders])
        former = await documents.claim(shard)
        written, _ = await asyncio.gather(
            documents.emit(orders, former), documents.claim(shard), return_exceptions=True
        )
        count = len(await raw(documents))
        assert count in (0, 500)
        assert count == 500 or isinstance(written, Superseded | DocumentsUnavailable)


async def test_a_former_owner_that_froze_within_a_transaction_holds_nothing_up(documents: Documents) -> None:
    former = await documents.claim(8)
    await former.session.start_transaction()
    await documents._write([first(order("kit-1"))], former, {}, former.session)
    successor = await documents.claim(8)
    with pytest.raises(DocumentsUnavailable):
        await former.session.commit_transaction()
    await documents.emit([first(order("kit-2"))], successor)
    assert [one["_id"] for one in await raw(documents)] == ["kit-2"]
