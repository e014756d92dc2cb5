"""The query side: customer orders as Beanie documents in MongoDB, written by actors, read over HTTP."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

import msgspec
from beanie import Document, SortDirection, init_beanie
from bson.codec_options import TypeCodec, TypeRegistry
from bson.decimal128 import Decimal128
from msgspec import Struct
from pydantic import Field
from pymongo import AsyncMongoClient, DeleteOne, IndexModel, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError, PyMongoError

from snacks.domain.order import CustomerOrder
from snacks.domain.values import OrderStatus

DUPLICATE_KEY = 11000
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
    """A changed order on its way to MongoDB. `order` None: the document must go.

    `known` says that the order was emitted before, so that the usual case is one cheap operation:
    an insert for a new order, a replace for a known one.
    """

    order_id: str
    revision: int
    order: CustomerOrder | None
    known: bool


class DecimalCodec(TypeCodec):
    """Money is Decimal here and Decimal128 in MongoDB, so that sums and comparisons work there."""

    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        """To MongoDB."""
        return Decimal128(value)

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
        )
        self._database = self._client[database]
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

    async def emit(self, emissions: Sequence[Emission]) -> None:
        """Bring the documents to these revisions or leave newer ones be; repeating it changes nothing.

        Raises:
            DocumentsUnavailable: some may not be written; emit the same again.
        """
        self._check_open()
        late = await self._write([_operation(emission) for emission in emissions])
        if late:
            # Inserts that met a document: written before a crash, so not known to the checkpoint.
            await self._write([_guarded_replace(document) for document in late])

    async def _write(self, operations: list[Any]) -> list[dict[str, Any]]:
        """The documents of inserts that met an existing one; a guarded replace that did is done."""
        if not operations:
            return []
        try:
            await self.model.get_pymongo_collection().bulk_write(operations, ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            failed = details.get("writeErrors", [])
            if details.get("writeConcernErrors") or any(one["code"] != DUPLICATE_KEY for one in failed):
                raise
            inserts = [operations[one["index"]] for one in failed]
            return [operation._doc for operation in inserts if isinstance(operation, InsertOne)]  # noqa: SLF001
        return []

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


def _operation(emission: Emission) -> Any:
    if emission.order is None:
        return DeleteOne({"_id": emission.order_id, "revision": _before(emission.revision)})
    document = {
        "_id": emission.order_id,
        "revision": emission.revision,
        "customerOrder": msgspec.to_builtins(emission.order, builtin_types=(Decimal,)),
    }
    return _guarded_replace(document) if emission.known else InsertOne(document)


def _guarded_replace(document: dict[str, Any]) -> Any:
    """Replaces an older revision or makes the document; meets a duplicate key if a newer one is there."""
    guard = {"_id": document["_id"], "revision": _before(document["revision"])}
    return ReplaceOne(guard, document, upsert=True)


def _before(revision: int) -> dict[str, Any]:
    """An older revision, or none: another engine (Flink's sink) writes documents without one."""
    return {"$not": {"$gte": revision}}
