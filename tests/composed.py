"""`compose.yaml`, as the real Docker Compose reads it, and what a service gets there."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from snacks import config
from snacks.platform.compose import ROOT

Project = dict[str, Any]
PASSWORDS = ("MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD", "CDC_PASSWORD", "MONGO_ROOT_PASSWORD", "MONGO_PASSWORD")


def configured(
    compose: list[str], folder: Path, variables: dict[str, str], **environ: str
) -> subprocess.CompletedProcess[str]:
    """What `docker compose config` says with these variables in its file."""
    file = folder / "variables"
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), "utf-8")
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
    files = ["--file", str(ROOT / "compose.yaml"), "--env-file", str(file)]
    return subprocess.run(
        [*compose, *files, "config", "--format", "json"],
        env=clean,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def variables() -> dict[str, str]:
    """Those of .env.example, with passwords that can be told apart."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    return example | {name: f"{name.lower()}9" for name in PASSWORDS}


def environment(project: Project, service: str) -> dict[str, str]:
    found: dict[str, str] = project["services"][service]["environment"]
    return found


def app_settings(project: Project) -> config.Settings:
    """As the app in its container reads them."""
    return config.load(environment(project, "app"))


def published(project: Project, service: str) -> dict[int, int]:
    """The ports on the host, and those inside that they lead to."""
    ports = project["services"][service].get("ports", [])
    return {int(port["published"]): int(port["target"]) for port in ports}


def conf(name: str) -> str:
    return (ROOT / "src/snacks/platform/conf" / name).read_text("utf-8")
