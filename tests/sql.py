"""SQL by hand, as somebody with a client would type it."""

import asyncmy

from snacks.config import Settings


async def sql(settings: Settings, statement: str, *arguments: object) -> None:
    """Run one statement as the app's user, committed at once."""
    host, port = settings.mysql
    connection = await asyncmy.connect(
        host=host,
        port=port,
        user=settings.mysql_user,
        password=settings.mysql_password,
        db=settings.mysql_database,
        autocommit=True,
    )
    async with connection.cursor() as cursor:
        await cursor.execute(statement, arguments)
    connection.close()
