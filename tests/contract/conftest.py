"""Commands over HTTP into the shared MySQL, and a look at its rows."""

from uuid import uuid4

import pytest
from tests.commanding import client_of, opened
from tests.sql import connected


@pytest.fixture(scope="module")
async def client(platform, settings):
    async with opened(settings) as tables, client_of(tables) as client:
        yield client


@pytest.fixture(scope="module")
async def database(platform, settings):
    async with connected(settings) as connection:
        yield connection


@pytest.fixture
def order_id():
    return f"cmd-{uuid4()}"
