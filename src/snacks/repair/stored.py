"""The documents as MongoDB holds them, byte for byte."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Self

import bson
import msgspec
from bson.codec_options import CodecOptions, TypeRegistry
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from snacks.config import Settings
from snacks.documents import DecimalCodec
from snacks.domain.order import CustomerOrder
from snacks.repair.errors import RepairError

TIMEOUT = 60.0
COLLECTION = "customerOrder"
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(type_registry=TypeRegistry([DecimalCodec()]))


def document(order_id: str, revision: int, order: CustomerOrder) -> bytes:
    """The document of an order, as the actors write it (a test compares them)."""
    shown = msgspec.to_builtins(order, builtin_types=(Decimal,))
    return bson.encode({"_id": order_id, "revision": revision, COLLECTION: shown}, codec_options=CODEC)


def opened(document: bytes) -> dict[str, Any]:
    """The document as values; money is Decimal."""
    return bson.decode(document, codec_options=CODEC)


class Stored:
    """Reads the collection; owns its client. Use as `async with Stored(settings)`."""

    def __init__(self, settings: Settings) -> None:
        self._client: AsyncMongoClient[Any] = AsyncMongoClient(
            settings.mongo,
            document_class=RawBSONDocument,
            appname="snacks-repair",
            timeoutMS=int(TIMEOUT * 1000),
        )
        self._documents = self._client[settings.mongo_database][COLLECTION]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def nth(self, after: str, number: int) -> str | None:
        """The id that comes `number` after this one; None if there are not as many."""
        async with _asked():
            found = (
                self._documents.find({"_id": {"$gt": after}}, {"_id": 1}).sort("_id").skip(number).limit(1)
            )
            return next((one["_id"] for one in await found.to_list()), None)

    async def between(self, after: str, last: str | None) -> dict[str, bytes]:
        """The documents with an id above `after`, up to and with `last` (None: to the end)."""
        return await self._find({"_id": {"$gt": after} if last is None else {"$gt": after, "$lte": last}})

    async def of(self, order_ids: Sequence[str]) -> dict[str, bytes]:
        """These documents, where there is one."""
        return await self._find({"_id": {"$in": list(order_ids)}})

    async def some(self, number: int) -> dict[str, bytes]:
        """That many documents, by chance."""
        async with _asked():
            found = await (await self._documents.aggregate([{"$sample": {"size": number}}])).to_list()
        return {one["_id"]: one.raw for one in found if isinstance(one["_id"], str)}

    async def since(self, modified: str, number: int) -> dict[str, bytes]:
        """The documents of orders changed since then, `number` at most of each status."""
        found: dict[str, bytes] = {}
        for status in ("PENDING", "PAID", "FULFILLED", "SHIPPED"):
            asked = {"customerOrder.orderStatus": status, "customerOrder.modifiedDate": {"$gte": modified}}
            found |= await self._find(asked, number)
        return found

    async def strangers(self) -> int:
        """Documents whose id is no text: no order has one, and no repair reaches them."""
        async with _asked():
            return await self._documents.count_documents({"_id": {"$not": {"$type": "string"}}})

    async def _find(self, asked: dict[str, Any], limit: int = 0) -> dict[str, bytes]:
        async with _asked():
            return {one["_id"]: one.raw async for one in self._documents.find(asked, limit=limit)}


@asynccontextmanager
async def _asked() -> AsyncIterator[None]:
    """Bounds a question to MongoDB, and turns its errors into ours."""
    try:
        async with asyncio.timeout(TIMEOUT):
            yield
    except TimeoutError:
        raise RepairError(f"MongoDB did not answer in {TIMEOUT:g} s") from None
    except PyMongoError as error:
        raise RepairError(f"MongoDB cannot be read: {str(error)[:200]}") from error
