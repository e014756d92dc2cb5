"""Commands over HTTP into the shared MySQL; a stream of orders; `compose.yaml`, read for each broker."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from tests import tools
from tests.commanding import client_of, opened
from tests.composed import Project, configured, variables
from tests.sql import connected
from tests.streaming import Following, following

from snacks.config import Settings
from snacks.platform import Platform
from snacks.platform.compose import BROKERS


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


@pytest.fixture
async def here(platform: Platform, settings: Settings) -> AsyncIterator[Following]:
    async with following(settings) as opened:
        yield opened


@pytest.fixture
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client does, the log has no error of it."""
    yield
    ours = [one for one in caplog.get_records("call") if not one.name.startswith("aiokafka")]
    assert [one.getMessage() for one in ours if one.levelno >= logging.ERROR] == []


@pytest.fixture(scope="session")
def compose() -> list[str]:
    return tools.compose()


@pytest.fixture(scope="session", params=[*((broker, "actors") for broker in BROKERS), ("redpanda", "flink")])
def chosen(request: pytest.FixtureRequest) -> tuple[str, str]:
    broker, engine = request.param
    return broker, engine


@pytest.fixture(scope="session")
def broker(chosen: tuple[str, str]) -> str:
    return chosen[0]


@pytest.fixture(scope="session")
def project(compose: list[str], chosen: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """As `BROKER=... ENGINE=... docker compose` sees it."""
    broker, engine = chosen
    folder = tmp_path_factory.mktemp("project")
    done = configured(compose, folder, variables(), BROKER=broker, ENGINE=engine)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    parsed: Project = json.loads(done.stdout)
    return parsed
