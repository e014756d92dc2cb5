"""The real servers that the tests run against: started here once, gone when the run ends."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest

from snacks import config
from snacks.config import Settings
from snacks.platform import Platform, compose, running
from tests.containers import Containers, containers
from tests.fresh import fresh_topics

# CI plays the same examples each time; a laptop looks for new ones. A busy machine is no defect of ours.
UNHURRIED = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("here", UNHURRIED)
hypothesis.settings.register_profile("ci", UNHURRIED, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

# A shell lets what it runs in the background ignore Ctrl-C, and the processes that tests start inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Below the range from which clients get their ports, so that no connection takes one of these.
MAIN_OFFSET, LAB_OFFSET, MARIADB_OFFSET = 4000, 4600, 5200
MOVED = int(os.environ.get("TEST_PORT_OFFSET", "0"))
"""Set it to run the tests of two checkouts side by side."""


def settings_for(offset: int, state: Path, **more: str) -> Settings:
    """Settings of a platform of its own: other ports, other data, the shared downloads."""
    own = {"SNACKS_PORT_OFFSET": str(offset + MOVED), "SNACKS_STATE": str(state)} | more
    for name in ("SNACKS_CACHE", "SNACKS_JAVA"):
        if name in os.environ:
            own[name] = os.environ[name]
    return config.load(own)


@pytest.fixture(scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform | Containers]:
    """All servers with the three tables captured by Debezium, once an app or a test applies the connector.

    From containers where a Docker engine answers, else as processes; TEST_SERVERS says otherwise.
    """
    folder = tmp_path_factory.mktemp("main für 店")  # any folder will do
    wanted = os.environ.get("TEST_SERVERS") or ("processes" if compose.problem() else "containers")
    if wanted == "containers":
        with containers(folder) as composed:
            yield composed
    else:
        async with running(settings_for(MAIN_OFFSET, folder)) as servers:
            yield servers


@pytest.fixture(scope="session")
def settings(platform: Platform | Containers) -> Settings:
    """Of the platform that most tests share."""
    return platform.settings


@pytest.fixture(scope="session")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """Servers without Debezium: tests write the CDC records themselves, and break the servers."""
    async with running(settings_for(LAB_OFFSET, tmp_path_factory.mktemp("lab"))) as servers:
        yield servers


@pytest.fixture
async def given(lab: Platform) -> Settings:
    """Settings with empty topics, a group and a database of their own."""
    return await fresh_topics(lab.settings)
