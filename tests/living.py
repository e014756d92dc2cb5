"""A whole system whose tables may be changed: database, Debezium and actors on servers of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from snacks.actors import OrderHost
from snacks.cdc import connector, topics
from snacks.config import Settings
from snacks.documents import Documents
from snacks.letters import Letters
from snacks.tables import Tables
from tests.folding import actors
from tests.sql import connected
from tests.waiting import until

DRIFT_OFFSET = 3400
"""Of its ports."""


class World:
    """A running system whose tables may be changed."""

    def __init__(self, settings: Settings, cursor: Any, documents: Documents, host: OrderHost) -> None:
        self.settings = settings
        self.documents = documents
        self.host = host
        self._cursor = cursor

    async def sql(self, *statements: str) -> None:
        for statement in statements:
            await self._cursor.execute(statement)

    async def order(self) -> str:
        """A new order that is in MongoDB."""
        order_id = f"kit-{uuid4().hex[:8]}"
        await self.sql(
            "INSERT INTO item_detail (order_id, item_id, item_name, item_status, price, currency, quantity)"
            f" VALUES ('{order_id}', '1', 'Apple Rings', 'REQUESTED', 1.25, 'USD', 2)",
            "INSERT INTO shipping_location (order_id, customer_name, customer_address, zip_code, latitude,"
            f" longitude) VALUES ('{order_id}', 'Ada K', '9 Quay St', '00501', 1.5, -2.5)",
        )
        await self.shows(order_id, lambda order: order["items"])
        return order_id

    async def shows(self, order_id: str, right: Callable[[Any], Any]) -> Any:
        """The order, once it is as it should be."""

        async def now() -> Any:
            order = await self.documents.get(order_id)
            return order if order and right(order) else None

        return await until(now)

    async def letter(self, order_id: str) -> Any:
        """The order's one dead letter, once it is there."""
        letters = Letters(self.settings)
        (one,) = await until(lambda: letters.of_order(order_id, 10))
        return one


ROOT = {"user": "root", "password": ""}
"""Who may alter tables."""


@asynccontextmanager
async def living(settings: Settings) -> AsyncIterator[World]:
    """Schema, topics, connector and actors on servers that run."""
    tables = Tables(settings)
    await tables.open()
    await tables.close()
    await topics.ensure(settings)
    await connector.apply(settings)
    async with (
        connected(settings, **ROOT) as connection,
        Documents(settings.mongo, settings.mongo_database) as documents,
        actors(settings) as shards,
        connection.cursor() as cursor,
    ):
        yield World(settings, cursor, documents, shards)
