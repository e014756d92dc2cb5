"""Kafka's own command-line tools, on the jars and the Java that the platform has."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from snacks.config import Settings
from snacks.platform.errors import PlatformError
from snacks.platform.fetch import fetch

TOOLS = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "configs": "kafka.admin.ConfigCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
}
"""Name, as in `kafka-NAME.sh`, and main class."""
FLAGS = ("-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Dlog4j2.level=WARN")


def run(settings: Settings, tool: str, arguments: Sequence[str]) -> int:
    """Run a tool on our broker, its output and its exit code the tool's own; it may run until Ctrl-C.

    Raises:
        PlatformError: there is no such tool, or its jars cannot be fetched.
    """
    main = TOOLS.get(tool.removeprefix("kafka-").removesuffix(".sh"))
    if not main:
        raise PlatformError(f"There is no tool {tool}. There are: {', '.join(TOOLS)}.")
    installed = fetch(settings)
    if "--bootstrap-server" not in arguments:
        arguments = ["--bootstrap-server", settings.kafka, *arguments]
    argv: list[str | Path] = [installed.java.path, *FLAGS, "-cp", f"{installed.kafka}/*", main, *arguments]
    with subprocess.Popen(argv) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the tool has had it too, and ends in its own way
