"""Servers that can be started, and documents in a database of their own, for tests of single adapters."""

import os
from collections.abc import AsyncIterator

import pytest
from tests.repairing import fresh

from snacks import config
from snacks.config import Settings
from snacks.documents import Documents
from snacks.platform import Platform, PlatformError, fetch


@pytest.fixture(scope="session")
def fetched() -> None:
    try:
        fetch(config.load())
    except PlatformError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the servers cannot be fetched: {error}")


@pytest.fixture(scope="module")
async def opened(platform: object, settings: Settings) -> AsyncIterator[Documents]:
    async with Documents(settings.mongo, f"{settings.mongo_database}_documents") as documents:
        yield documents
        await documents._client.drop_database(documents._database.name)


@pytest.fixture
async def documents(opened: Documents) -> Documents:
    await opened.model.get_pymongo_collection().delete_many({})
    return opened


@pytest.fixture
async def empty(lab: Platform) -> Settings:
    """For tests of repair: empty tables, empty topics, a group and a database of their own."""
    return await fresh(lab.settings)
