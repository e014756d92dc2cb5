"""The query side: customer orders as Beanie documents in MongoDB, written by actors, read over HTTP."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import lru_cache
from typing import Any, Self

import msgspec
from beanie import Document, SortDirection, init_beanie
from bson.codec_options import TypeCodec, TypeRegistry
from bson.decimal128 import Decimal128
from msgspec import Struct
from pydantic import Field
from pymongo import AsyncMongoClient, DeleteOne, IndexModel, InsertOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure, PyMongoError

from snacks.claims import Claim, Claims, Superseded
from snacks.domain.order import CustomerOrder
from snacks.domain.values import OrderStatus

ATTEMPTS = 12
"""How often a transaction that met another writer is tried."""
OLDEST_CHANGE_FIRST = [
    ("customerOrder.modifiedDate", SortDirection.ASCENDING),
    ("_id", SortDirection.ASCENDING),
]
PROMOTION = {
    "customerOrder.payment.creditCardType": "Magical Visa",
    "customerOrder.items.itemName": {"$regex": "snickers", "$options": "i"},
}
PROMOTION_SIZE = 20
BATCH = 250
"""Orders in memory while a list is read; by default MongoDB sends 16 MB, and decoding stops all else."""

__all__ = ["Claim", "Documents", "DocumentsUnavailable", "Emission", "Superseded", "document_class"]

DocumentsUnavailable = PyMongoError
"""What every method here raises when MongoDB is away or refuses."""


def document_class() -> Any:
    """A Beanie document class of one's own: Beanie binds a class to one client.

    A subclass would not do: Beanie puts expressions in the place of the parent's fields, which a later
    subclass then takes for their defaults.
    """

    class OrderDocument(Document):
        """`{_id: orderId, revision, customerOrder: {...}}` in the collection `customerOrder`.

        The revision guards the document: an older one never replaces a newer one.
        """

        id: str  # type: ignore[assignment]  # Beanie's default is an ObjectId; ours is the order id
        revision: int = 0
        customer_order: dict[str, Any] = Field(alias="customerOrder")

        class Settings:
            """Collection and indexes: one for each query that is served."""

            name = "customerOrder"
            indexes = (
                IndexModel(
                    [("customerOrder.orderStatus", SortDirection.ASCENDING), *OLDEST_CHANGE_FIRST],
                    name="status_oldest_first",
                ),
                IndexModel(
                    [("customerOrder.payment.creditCardType", SortDirection.ASCENDING), *OLDEST_CHANGE_FIRST],
                    name="card_type_oldest_first",
                ),
            )

    return OrderDocument


class Emission(Struct, frozen=True):
    """A changed order on its way to MongoDB. `order` None: the document must go."""

    order_id: str
    revision: int
    order: CustomerOrder | None


@lru_cache(maxsize=8192)
def _decimal128(digits: str) -> Decimal128:
    """Remembered by its digits: prices come again, and making one was half of a document's encoding."""
    return Decimal128(digits)


class DecimalCodec(TypeCodec):
    """Money is Decimal here and Decimal128 in MongoDB, so that sums and comparisons work there."""

    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        """To MongoDB."""
        return _decimal128(str(value))

    def transform_bson(self, value: Decimal128) -> Decimal:
        """From MongoDB."""
        return value.to_decimal()


class Documents:
    """The collection of customer orders; owns its client. Use as `async with Documents(...)`."""

    def __init__(self, url: str, database: str, wait: float = 5.0) -> None:
        """`wait`: seconds until an operation gives up with `DocumentsUnavailable`."""
        self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            url,
            appname="snacks",
            type_registry=TypeRegistry([DecimalCodec()]),
            connect=False,
            timeoutMS=int(wait * 1000),
            serverSelectionTimeoutMS=int(wait * 1000),
            w="majority",
            readConcernLevel="majority",  # what a kill of MongoDB can take back is not shown to anybody
        )
        self._database = self._client[database]
        self._claims = Claims(self._client, database)
        self.model = document_class()
        self._opened = False

    async def open(self) -> None:
        """Connect Beanie and make the indexes; once done, calling it again does nothing.

        Raises:
            DocumentsUnavailable: MongoDB does not answer; call it again later.
        """
        if not self._opened:
            await init_beanie(self._database, document_models=[self.model])
            self._opened = True

    async def __aenter__(self) -> Self:
        """Open; see `open`."""
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    async def __aexit__(self, *_: object) -> None:
        """Close; see `close`."""
        await self.close()

    def _check_open(self) -> None:
        if not self._opened:
            raise DocumentsUnavailable("MongoDB has not answered since the start")

    async def ping(self) -> None:
        """Ask for a writable primary. Raises DocumentsUnavailable if there is none in time."""
        await self._client.admin.command("ping")

    async def claim(self, shard: int) -> Claim:
        """Take a shard's documents over; see `Claims.take`.

        Raises:
            DocumentsUnavailable: MongoDB does not answer.
        """
        self._check_open()
        return await self._claims.take(shard)

    async def emit(
        self,
        emissions: Sequence[Emission],
        claim: Claim | None = None,
        ahead: Mapping[str, int] | None = None,
    ) -> None:
        """Bring the documents to these revisions or leave newer ones be: all or none; repeating is harmless.

        `ahead`: the next source offsets by topic that they stand for; kept with the claim.

        Raises:
            Superseded: another owner has claimed the shard; nothing was written.
            DocumentsUnavailable: they may or may not be written; emit the same again.
        """
        self._check_open()
        if not emissions:
            return
        for attempt in range(ATTEMPTS):
            try:
                async with self._session(claim) as session, await session.start_transaction():
                    await self._write(emissions, claim, ahead or {}, session)
            except OperationFailure as error:
                # Another writer was faster: look again at what is there now.
                if attempt == ATTEMPTS - 1 or not error.has_error_label("TransientTransactionError"):
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311  (spreads the writers)
            else:
                return

    @asynccontextmanager
    async def _session(self, claim: Claim | None) -> AsyncIterator[AsyncClientSession]:
        if claim is not None:
            yield claim.session
        else:
            async with self._client.start_session() as session:
                yield session

    async def _write(
        self,
        emissions: Sequence[Emission],
        claim: Claim | None,
        ahead: Mapping[str, int],
        session: AsyncClientSession,
    ) -> None:
        if claim is not None:
            await self._claims.check(claim, ahead, session)
        documents = self.model.get_pymongo_collection()
        ids = [emission.order_id for emission in emissions]
        found = documents.find(
            {"_id": {"$in": ids}}, {"revision": 1}, session=session, batch_size=len(ids) + 1
        )
        # Another engine (Flink's sink) writes documents without a revision: any of ours is newer.
        stored = {document["_id"]: _revision(document) async for document in found}
        operations = [
            _operation(emission, exists=emission.order_id in stored)
            for emission in emissions
            if stored.get(emission.order_id, -1) < emission.revision
        ]
        if operations:
            await documents.bulk_write(operations, ordered=False, session=session)

    async def get(self, order_id: str) -> Mapping[str, Any] | None:
        """The customer order as stored, or None."""
        self._check_open()
        found = await self.model.get(order_id)
        return found.customer_order if found else None

    async def by_status(self, status: OrderStatus) -> AsyncGenerator[Mapping[str, Any]]:
        """The customer orders with this status, oldest change first, in bounded memory."""
        self._check_open()
        query = self.model.find({"customerOrder.orderStatus": status.value}, batch_size=BATCH)
        async for found in query.sort(OLDEST_CHANGE_FIRST):
            yield found.customer_order

    async def promotion(self) -> list[Mapping[str, Any]]:
        """The first 20 orders with a Snickers paid with the Magical Visa, oldest change first."""
        self._check_open()
        found = await self.model.find(PROMOTION).sort(OLDEST_CHANGE_FIRST).limit(PROMOTION_SIZE).to_list()
        return [document.customer_order for document in found]

    async def counts(self) -> dict[str, int]:
        """How many orders have each status. Four counts of the index: a quarter of a $group's time."""
        self._check_open()
        find = self.model.find
        return {
            status.value: await find({"customerOrder.orderStatus": status.value}).count()
            for status in OrderStatus
        }


def _revision(document: Mapping[str, Any]) -> int:
    """The stored revision; 0 if there is none, or somebody has put something else there."""
    revision = document.get("revision")
    return revision if isinstance(revision, int) else 0


def _operation(emission: Emission, *, exists: bool) -> Any:
    if emission.order is None:
        return DeleteOne({"_id": emission.order_id})
    document = {
        "_id": emission.order_id,
        "revision": emission.revision,
        "customerOrder": msgspec.to_builtins(emission.order, builtin_types=(Decimal,)),
    }
    return ReplaceOne({"_id": emission.order_id}, document) if exists else InsertOne(document)
