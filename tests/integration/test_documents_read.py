"""The documents over a real MongoDB, as they are read: ids, money, lists, counts and their indexes."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128
from msgspec.structs import replace
from tests.emitting import APPLE_RINGS, PAID, first, order, raw, stored_order

from snacks.documents import Documents
from snacks.domain.order import CustomerOrder, Price
from snacks.domain.values import Currency, OrderStatus, to_cents

SNICKERS = replace(APPLE_RINGS, item_name="Mini SNICKERS")
MAGICAL = replace(PAID, credit_card_type="Magical Visa")


def oldest_first(one: CustomerOrder) -> tuple[str, str]:
    return one.modified_date, one.order_id


async def ids(orders: AsyncGenerator[Mapping[str, Any]]) -> list[str]:
    async with aclosing(orders):
        return [stored["orderId"] async for stored in orders]


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


async def test_readers_see_only_what_a_kill_of_mongodb_cannot_take_back(documents: Documents) -> None:
    """With MongoDB's default they saw what was not in its journal yet, and orders that stepped back."""
    assert documents.model.get_pymongo_collection().read_concern.level == "majority"
