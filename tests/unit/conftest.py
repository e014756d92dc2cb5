"""Settings of a state and a cache of one's own. No unit test may get those of the shared servers."""

from pathlib import Path

import pytest

from snacks import config
from snacks.config import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.load({"SNACKS_STATE": str(tmp_path / "state"), "SNACKS_CACHE": str(tmp_path / "cache")})
