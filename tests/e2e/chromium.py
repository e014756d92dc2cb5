"""The browser of the tests: the Chromium on PATH, else Debian's, unpacked into the cache without root."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from snacks.config import Settings
from snacks.platform import PlatformError, clients, install

HOW = "Install it: apt-get install chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
INSTALLED = Path("/var/lib/dpkg/status")
BESIDES = ("chromium", "chromium-common", "fontconfig-config", "fonts-dejavu-core")
# Chromium loads these only to show windows and their decoration, which a headless one has not.
WINDOWS = re.compile(
    r"adwaita|hicolor|gtk|dconf|^systemd|dbus(?!-1)|polkit|xdg|sound-theme|icon|mesa|llvm|x11-utils|^libc6$|^(dpkg|debconf|perl-base|tar|coreutils|sensible-utils|ucf)$"
)
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/usr/share/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""


class Chromium(Struct, frozen=True):
    """How to start it: the program, and the variables that it needs besides."""

    program: Path
    variables: Mapping[str, str]


def find(settings: Settings) -> Chromium:
    """The Chromium on PATH, else one from the cache, fetched if need be.

    Raises:
        PlatformError: neither can be had here; the message says what to do.
    """
    for name in ("chromium", "chromium-browser"):
        found = shutil.which(name)
        if found:
            return Chromium(Path(found), {})
    return fetched(settings.cache_dir)


def fetched(cache: Path, installed: Path = INSTALLED) -> Chromium:
    """The one in the cache, with what it needs beyond the packages that `installed` lists.

    Raises:
        PlatformError: it cannot be fetched, or does not run here.
    """
    folder = cache / "chromium"
    temporary = cache / f"chromium.{os.getpid()}"

    def make(unpacked: Path) -> None:
        state = cache / "chromium.apt"
        clients.debian(["chromium"], unpacked, state)  # its lists of packages are fresh after this
        needed = [name for name in _missing(state, installed) if not WINDOWS.search(name)]
        clients.debian(sorted({*needed, *BESIDES} - {"chromium"}), unpacked, state)

    try:
        install.template(folder, temporary, make)
        chromium = _unpacked(folder)
        asked: list[str | Path] = [chromium.program, "--version", "--no-sandbox"]
        variables = os.environ | chromium.variables
        subprocess.run(asked, env=variables, check=True, capture_output=True, timeout=60)
    except (PlatformError, OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        raise PlatformError(f"No Chromium for the tests: {error} {said.decode()[-500:]}\n{HOW}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(temporary.with_name(temporary.name + ".debs"), ignore_errors=True)
    return chromium


def _unpacked(folder: Path) -> Chromium:
    libraries = sorted({path.parent for path in folder.glob("**/*.so*")})
    fonts = folder / "fonts.conf"
    fonts.write_text(FONTS.format(folder=folder), "utf-8")
    return Chromium(
        folder / "usr/lib/chromium/chromium",
        {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)), "FONTCONFIG_FILE": str(fonts)},
    )


def _missing(state: Path, installed: Path) -> list[str]:
    """The packages that apt would install for Chromium, by its own word; nothing is installed."""
    options = ["--simulate", "--no-install-recommends", f"-oDir::State::status={installed}"]
    private = [f"-oDir::State={state}", f"-oDir::State::lists={state}/lists", f"-oDir::Cache={state}/cache"]
    for lists in ([], private):
        argv = ["apt-get", *lists, *options, "install", "chromium"]
        told = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        if told.returncode == 0:
            return re.findall(r"^Inst (\S+)", told.stdout, re.MULTILINE)
    raise PlatformError(f"apt-get does not say what Chromium needs: {told.stderr[-500:]}")
