"""The platform in containers: `compose.yaml`, its passwords in `.env`, and whether an engine answers at all.

Each function is one or two calls of `docker compose`, which works as well by hand (docs/docker.md).
"""

import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from snacks import config
from snacks.config import PORTS, Settings
from snacks.platform import state
from snacks.platform.errors import PlatformError

ROOT = Path(__file__).parents[3]
BROKERS = ("redpanda", "kafka", "warpstream")
"""What BROKER may be: the names of the profiles in compose.yaml."""
PROJECT = "snacks-"
"""Before the broker's name: the Compose project, and so the containers and volumes."""
OLDEST = (2, 23, 1)
"""The first Compose with inline configs."""
ANSWER_SECONDS = 15.0
UP_SECONDS = 1800
"""How long Compose may take to pull, build and start everything, the first time."""
STOP_SECONDS = 120
HOW = "Without Docker: ./snacks demo --no-docker, or ./snacks platform start kafka --no-docker"


def problem() -> str:
    """Why containers cannot be had here, in a few words; empty if they can."""
    if not shutil.which("docker"):
        return "there is no docker command"
    if not (ROOT / "compose.yaml").exists():
        return f"{ROOT} is no checkout: it has no compose.yaml"
    if _ask("docker", "info", "--format", "{{.ServerVersion}}") is None:
        return "no Docker engine answers"
    version = re.match(r"v?(\d+)\.(\d+)\.(\d+)", _ask("docker", "compose", "version", "--short") or "")
    if not version or tuple(map(int, version.groups())) < OLDEST:
        return f"Docker Compose {'.'.join(map(str, OLDEST))} or newer is missing"
    return ""


def chosen(settings: Settings, *, asked: bool | None) -> tuple[bool, str]:
    """Whether to use containers, and why. `asked` is what the user said; None lets us choose.

    Raises:
        PlatformError: containers are asked for and cannot be had, or not with these settings.
    """
    if asked is False:
        return False, "--no-docker"
    reason = _only_without(settings) or problem()
    if asked and reason:
        raise PlatformError(f"--docker: {reason}.\n{HOW}")
    if asked is None and not reason and state.live(settings):
        reason = "the servers without Docker run already"
    return not reason, reason or "a Docker engine answers"


def _only_without(settings: Settings) -> str:
    """Which setting compose.yaml cannot follow."""
    if settings.db != "mysql":
        return f"compose.yaml has MySQL, not {settings.db}"
    default = Settings()
    if any(getattr(settings, name) != getattr(default, name) for name in (*PORTS, "http_ports")):
        return "compose.yaml cannot move its ports"
    return ""


def make_env(root: Path = ROOT) -> bool:
    """Make `.env` from `.env.example`, its passwords random ones, for its owner alone; whether it was made.

    One that is there is never touched.
    """
    text = (root / ".env.example").read_text("utf-8")
    filled = re.sub(r"^(\w+=)$", lambda line: line[1] + secrets.token_hex(16), text, flags=re.MULTILINE)
    try:
        handle = os.open(root / ".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(filled)
    return True


def read_env(root: Path = ROOT) -> dict[str, str]:
    """The variables of `.env`, as they stand there."""
    lines = (root / ".env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


def settings_on_host(env: dict[str, str], **more: str) -> Settings:
    """The settings with which a process on the host reaches the containers; `more` are SNACKS_* variables.

    Connect reaches MySQL and the broker by their names in the containers' network.
    """
    return config.load(
        {
            "SNACKS_MYSQL_PASSWORD": env["MYSQL_PASSWORD"],
            "SNACKS_MONGO_URL": f"mongodb://snacks:{env['MONGO_PASSWORD']}@127.0.0.1:27017/"
            "?authSource=customer_order_db&directConnection=true",
            "SNACKS_CDC_MYSQL_HOST": "mysql",
            "SNACKS_CDC_MYSQL_PORT": "3306",
            "SNACKS_CDC_KAFKA_BOOTSTRAP": "broker:29092",
            **more,
        }
    )


def running() -> list[str]:
    """The brokers whose containers run, which is one at most: they share the ports.

    Raises:
        PlatformError: containers cannot be had here.
    """
    reason = problem()
    if reason:
        raise PlatformError(f"{reason[0].upper()}{reason[1:]}.\n{HOW}")
    names = (_ask("docker", "compose", "ls", "--quiet") or "").split()
    return [broker for broker in BROKERS if PROJECT + broker in names]


def up(broker: str, engine: str = "") -> None:
    """Build, start and wait until all is healthy; Compose tells how it goes. No engine: the one of `.env`.

    Raises:
        PlatformError: another broker's containers run, or something does not get healthy.
    """
    make_env()
    others = [one for one in running() if one != broker]
    if others:
        raise PlatformError(f"The containers with {others[0]} run; stop them first: ./snacks platform stop")
    wait = ("--build", "--detach", "--wait", "--wait-timeout", str(UP_SECONDS))
    compose(broker, "up", *wait, engine=engine)


def stop(broker: str, *, delete_data: bool = False) -> None:
    """Remove the containers. Their volumes stay, unless the data is to be deleted.

    Raises:
        PlatformError: Compose says no.
    """
    compose(broker, "down", "--timeout", "20", *(["--volumes"] if delete_data else []))


def compose(broker: str, *arguments: str, engine: str = "flink") -> None:
    """Run `docker compose` on the project of this broker, its output ours.

    The engine `flink` means all services that may be there; none means what `.env` says.

    Raises:
        PlatformError: it ends with an error, or does not end in time.
    """
    seconds = UP_SECONDS if arguments[0] == "up" else STOP_SECONDS
    environment = {**os.environ, "BROKER": broker}
    if engine:  # Compose prefers it to .env
        environment["ENGINE"] = engine
    environment.pop("COMPOSE_PROFILES", None)  # .env derives it from these two
    try:
        done = subprocess.run(
            ["docker", "compose", *arguments], cwd=ROOT, env=environment, timeout=seconds + 60, check=False
        )
    except subprocess.TimeoutExpired:
        raise PlatformError(f"docker compose {arguments[0]} did not end within {seconds} s.") from None
    if done.returncode:
        raise PlatformError(
            f"docker compose {arguments[0]} failed with {done.returncode} (see above).\n"
            f"A container's log: BROKER={broker} docker compose logs SERVICE"
        )


def _ask(*argv: str) -> str | None:
    """What a command answers; None if it fails or hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.strip()
