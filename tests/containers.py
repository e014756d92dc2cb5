"""The same servers from containers: `TEST_SERVERS=containers ./snacks test tests/e2e tests/integration`.

compose.yaml brings Redpanda, MySQL 8.4, MongoDB 8 with users, and Connect. Tests that break servers need
the platform without Docker and take no notice of this. Not run where no Docker engine answers.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testcontainers.compose import DockerCompose

from snacks import config
from snacks.config import Settings

ROOT = Path(__file__).parents[1]
SERVICES = ["redpanda", "mysql", "mongo", "connect"]


class Containers:
    """What tests need of a platform: its settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings


def passwords(folder: Path) -> tuple[Path, dict[str, str]]:
    """An environment file as .env.example asks for, with new passwords, and what it says."""
    names = [
        line.removesuffix("=")
        for line in (ROOT / ".env.example").read_text("utf-8").splitlines()
        if line.endswith("=") and not line.startswith("#")
    ]
    values = {name: secrets.token_hex(16) for name in names}
    file = folder / "containers.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), "utf-8")
    return file, values


def settings_for_containers(values: dict[str, str], state: Path) -> Settings:
    """The settings with which a process on the host reaches the containers."""
    (state / "logs").mkdir(parents=True, exist_ok=True)
    return config.load(
        {
            "SNACKS_STATE": str(state),
            "SNACKS_MYSQL_PASSWORD": values["MYSQL_PASSWORD"],
            "SNACKS_MONGO_URL": f"mongodb://snacks:{values['MONGO_PASSWORD']}@127.0.0.1:27017/"
            "?authSource=customer_order_db&directConnection=true",
            "SNACKS_CDC_MYSQL_HOST": "mysql",
            "SNACKS_CDC_MYSQL_PORT": "3306",
            "SNACKS_CDC_KAFKA_BOOTSTRAP": "redpanda:29092",
        }
    )


@contextmanager
def containers(folder: Path) -> Iterator[Containers]:
    """Compose's servers, healthy; removed with their data at the end."""
    file, values = passwords(folder)
    with DockerCompose(ROOT, wait=True, env_file=str(file), services=SERVICES):
        yield Containers(settings_for_containers(values, folder))
