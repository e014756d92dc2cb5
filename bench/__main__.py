"""`./snacks bench SUITE`: measure, print a table, keep the figures, draw them.

| suite | what is measured |
|---|---|
| drain | records/s through a backlog, beside Kafka Streams and others on the same topics |
| budget | microseconds of each stage of our own process, without servers |
| latency | whole order lives at a fixed rate: from the commit to document, aggregate, pushed status |
| commands | HTTP commands of 100 users: requests/s, latencies, errors |
| queries | by id and by status at a million documents, with the plans |
| stream | thousands of WebSocket subscribers, hundreds of changes a second |
| start | all servers and the app, cold and warm |
| outages | seconds until the app is well again after a server was away |
| handover | seconds for which a shard has no owner |
| restore | seconds and memory until a new owner has its orders, and what an idle order costs |
"""

import argparse
import asyncio
import sys

import uvloop
from aiokafka.errors import KafkaError
from pymongo.errors import PyMongoError
from rich.console import Console

from bench import (
    budget,
    commands,
    drain,
    handover,
    latency,
    outages,
    queries,
    report,
    restore,
    servers,
    start,
    stream,
    tools,
)
from snacks import logs
from snacks.cdc.topics import TopicError
from snacks.platform import PlatformError

SUITES = {
    "drain": drain,
    "budget": budget,
    "latency": latency,
    "commands": commands,
    "queries": queries,
    "stream": stream,
    "start": start,
    "outages": outages,
    "handover": handover,
    "restore": restore,
}


def main() -> None:
    """Run a suite; errors that a person can mend are told without a traceback."""
    parser = argparse.ArgumentParser(
        prog="./snacks bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    suites = parser.add_subparsers(dest="suite", required=True)
    for name, module in SUITES.items():
        about = (module.__doc__ or "").splitlines()[0]
        one = suites.add_parser(name, help=about, description=module.__doc__)
        one.add_argument("--runs", type=int, default=3, help="how often each side runs")
        one.add_argument("--json", action="store_true", help="JSON instead of a table")
        one.add_argument("--no-page", action="store_true", help="draw nothing: needs no download")
        module.options(one)
    options = parser.parse_args()
    console = Console(stderr=options.json)
    settings = servers.settings()
    logs.setup(settings, quiet=True)
    try:
        result = uvloop.run(SUITES[options.suite].run(options, console))
    except (PlatformError, TopicError, KafkaError, PyMongoError) as error:
        Console(stderr=True).print(f"[red]bench:[/] {error}", highlight=False)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    kept = report.finish(result, settings.state_dir / "results", console, as_json=options.json)
    if not options.no_page:
        try:
            console.print(f"[dim]drawn on {tools.draw(settings, kept.parent)}[/]")
        except PlatformError as error:
            Console(stderr=True).print(f"[red]bench:[/] not drawn: {error}", highlight=False)


if __name__ == "__main__":
    main()
