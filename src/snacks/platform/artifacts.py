"""The pinned downloads: `artifacts.lock`, one line each, with size and SHA-256.

A line is `set coordinate bytes sha256`. A coordinate is a Maven one
(`group:artifact:version[:extension[:classifier]]`) or a PyPI one (`name==version`); the clients know
their registries, so the file names no address. `python -m snacks.platform.relock` writes it.
"""

import hashlib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from msgspec import Struct

from snacks.platform.errors import PlatformError

LOCK = "artifacts.lock"


class Artifact(Struct, frozen=True):
    """One pinned file and the set (a server, a plug-in) that it belongs to. `size` is in bytes."""

    set: str
    coordinate: str
    size: int
    sha256: str

    @property
    def is_wheel(self) -> bool:
        """Whether pip fetches it; the Maven client does otherwise."""
        return "==" in self.coordinate

    @property
    def name(self) -> str:
        """A short name for people: `kafka-clients 4.3.1`."""
        if self.is_wheel:
            return self.coordinate.replace("==", " ")
        _, artifact, version = self.coordinate.split(":")[:3]
        return f"{artifact} {version}"

    @property
    def filename(self) -> str:
        """The name of its file in the cache."""
        if self.is_wheel:
            return self.coordinate.replace("==", "-") + ".whl"
        _, artifact, version, *rest = self.coordinate.split(":")
        extension = rest[0] if rest else "jar"
        return "-".join([artifact, version, *rest[1:]]) + f".{extension}"


def parse_lock(text: str) -> list[Artifact]:
    """The artifacts that a lock's text pins.

    Raises:
        PlatformError: a line is not `set coordinate bytes sha256`; the message has its number.
    """
    artifacts = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 4 or not fields[2].isdigit() or len(fields[3]) != 64:
            raise PlatformError(
                f"{LOCK}, line {number}: expected `set coordinate bytes sha256`, got {line!r}."
            )
        artifacts.append(Artifact(fields[0], fields[1], int(fields[2]), fields[3]))
    return artifacts


def locked(*sets: str) -> list[Artifact]:
    """The pinned artifacts of these sets."""
    text = (files("snacks.platform") / LOCK).read_text("utf-8")
    return [artifact for artifact in parse_lock(text) if artifact.set in sets]


def key(artifacts: Iterable[Artifact]) -> str:
    """A short name for exactly these files: another version unpacks beside the old one."""
    return hashlib.sha256("".join(sorted(a.sha256 for a in artifacts)).encode()).hexdigest()[:10]


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(artifact: Artifact, path: Path) -> None:
    """Check a downloaded file against its pin.

    Raises:
        PlatformError: it is another file than the one pinned; the message says what to do.
    """
    found = sha256(path)
    if found != artifact.sha256:
        raise PlatformError(
            f"{artifact.name}: the download is not the pinned file.\n"
            f"  expected sha256 {artifact.sha256} ({artifact.size} bytes)\n"
            f"  received sha256 {found} ({path.stat().st_size} bytes)\n"
            "It was thrown away. Run the command again; if it stays wrong, a proxy or mirror between here "
            "and the registry changes files, or the lock is out of date (python -m snacks.platform.relock)."
        )
