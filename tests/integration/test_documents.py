"""The documents over a real MongoDB: which revision stays, who may write, and a MongoDB that is away."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from tests.emitting import first, order, raw, stored_order

from snacks.config import Settings
from snacks.documents import Documents, DocumentsUnavailable, Emission, Superseded
from snacks.domain.order import CustomerOrder
from snacks.domain.values import OrderStatus

Emit = Callable[[CustomerOrder, int], Emission]


def later(one: CustomerOrder, revision: int) -> Emission:
    return Emission(one.order_id, revision, one)


def gone(order_id: str, revision: int) -> Emission:
    return Emission(order_id, revision, None)


async def revision_of(documents: Documents, order_id: str = "kit-1") -> list[int]:
    return [document["revision"] for document in await raw(documents, {"_id": order_id})]


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


async def test_the_session_of_a_released_claim_is_used_by_nothing_else(documents: Documents) -> None:
    """The next owner kills it."""
    claim = await documents.claim(9)
    await documents.emit([first(order("kit-1"))], claim)
    used = claim.session.session_id
    await claim.release()
    others = [documents._client.start_session() for _ in range(5)]
    assert used not in [one.session_id for one in others]
    for one in others:
        await one.end_session()


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
