"""The pinned jars that images lack: `python -m snacks.platform.jars SET FOLDER [NAME ...]`.

With the Flink engine, compose.yaml fetches them so, once, into volumes: Kafka's connector for Flink, and
MongoDB's sink for Kafka Connect, in the versions that the servers without Docker have.
"""

import sys
import tempfile
import threading
from pathlib import Path

from snacks.platform import artifacts, clients
from snacks.platform.errors import PlatformError


def fetch(set_: str, folder: Path, names: list[str]) -> None:
    """Bring the jars of a set, or only those of these artifacts, into the folder; what is there is kept.

    Raises:
        PlatformError: there is no such artifact, the registry does not give it, or it is not the pinned file.
    """
    pinned = {one.name.split()[0]: one for one in artifacts.locked(set_) if not one.is_wheel}
    wanted = names or list(pinned)
    if unknown := set(wanted) - set(pinned) or (not pinned and {set_}):
        raise PlatformError(f"{artifacts.LOCK} has no {', '.join(sorted(unknown))} in {set_}.")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [pinned[name] for name in wanted if not (folder / pinned[name].filename).exists()]
    # Beside the target: a rename within one volume leaves no half jar.
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        for artifact in missing:
            into = Path(temporary) / artifact.filename
            into.mkdir()
            path = clients.fetch(artifact, into, lambda _bytes: None, threading.Event())
            artifacts.verify(artifact, path)
            path.rename(folder / artifact.filename)


if __name__ == "__main__":
    try:
        fetch(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
    except PlatformError as error:
        sys.exit(str(error))
