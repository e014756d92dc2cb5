"""The same servers from containers, as compose.yaml has them: Redpanda, MySQL, MongoDB, Connect.

Tests take them where a Docker engine answers (tests/conftest.py). Tests that break servers need the platform
without Docker and take no notice of this. Not run where no Docker engine answers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testcontainers.compose import DockerCompose

from snacks.config import Settings
from snacks.platform.compose import ROOT, make_env, read_env, settings_on_host

SERVICES = ["redpanda", "mysql", "mongo", "connect"]
PROJECT = "snacks-tests"
"""Not the playground's, whose data is dear to somebody."""


class Containers:
    """What tests need of a platform: its settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings


def variables(folder: Path) -> tuple[Path, dict[str, str]]:
    """An environment file for Compose, with passwords and a project of its own, and what it says."""
    (folder / ".env.example").write_bytes((ROOT / ".env.example").read_bytes())
    make_env(folder)
    file = folder / ".env"
    with file.open("a", encoding="utf-8") as more:
        more.write(f"COMPOSE_PROJECT_NAME={PROJECT}\n")
    return file, read_env(folder)


@contextmanager
def containers(folder: Path) -> Iterator[Containers]:
    """Compose's servers, healthy; removed with their data at the end."""
    file, values = variables(folder)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with DockerCompose(ROOT, wait=True, env_file=str(file), services=SERVICES):
        yield Containers(settings_on_host(values, SNACKS_STATE=str(folder)))
