"""SQL by hand, as somebody with a client would type it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncmy

from snacks.config import Settings


@asynccontextmanager
async def connected(settings: Settings, **arguments: Any) -> AsyncIterator[Any]:
    """A connection of the app's user that commits each statement; `arguments` are asyncmy's, instead."""
    host, port = settings.mysql
    own = {"user": settings.mysql_user, "password": settings.mysql_password, "autocommit": True}
    own |= {"database": settings.mysql_database, **arguments}
    connection = await asyncmy.connect(host=host, port=port, **own)
    try:
        yield connection
    finally:
        connection.close()


async def query(connection: Any, statement: str, *values: Any) -> Any:
    """All rows of a statement."""
    async with connection.cursor() as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()


async def sql(settings: Settings, statement: str, *values: object) -> Any:
    """All rows of one statement, by a connection of its own."""
    async with connected(settings) as connection:
        return await query(connection, statement, *values)
