"""What the tests of single adapters share."""

import os

import pytest

from snacks import config
from snacks.platform import PlatformError, fetch


@pytest.fixture(scope="session")
def fetched() -> None:
    try:
        fetch(config.load())
    except PlatformError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the servers cannot be fetched: {error}")
