"""`snacks connector` and `snacks topics`: the way from MySQL to the actors."""

from collections.abc import Coroutine
from typing import Annotated, Any

import typer
from rich.console import Console

from snacks import config, loop
from snacks.cdc import connector as cdc_connector
from snacks.cdc import topics as cdc_topics
from snacks.cdc.connector import ConnectorStatus
from snacks.report import connectors_table, topics_table

connector_cli = typer.Typer(
    no_args_is_help=True, help="The Debezium connector: apply it, look at it, pause it."
)
topics_cli = typer.Typer(no_args_is_help=True, help="The topics: make them, look at them.")
console = Console()

Json = Annotated[bool, typer.Option("--json", help="JSON for programs instead of a table.")]


@connector_cli.command("apply")
def connector_apply() -> None:
    """Register the connector, or change it to these settings; does nothing if it is as it should be."""
    _connector(_applied(config.load()))


@connector_cli.command("list")
def connector_list() -> None:
    """Show all connectors of Kafka Connect, and their tasks."""
    connectors_table(loop.run(cdc_connector.everyone(config.load())), console)


@connector_cli.command("status")
def connector_status() -> None:
    """Show the connector's state and its tasks'."""
    _connector(cdc_connector.status(config.load()))


@connector_cli.command("pause")
def connector_pause() -> None:
    """Stop reading the binlog; changes wait there."""
    _connector(cdc_connector.pause(config.load()))


@connector_cli.command("resume")
def connector_resume() -> None:
    """Read on from where it was paused."""
    _connector(cdc_connector.resume(config.load()))


@connector_cli.command("restart")
def connector_restart() -> None:
    """Restart the connector and all its tasks, those that run too."""
    _connector(cdc_connector.restart(config.load()))


@connector_cli.command("delete")
def connector_delete() -> None:
    """Remove the connector. Its offsets stay: applied again, it reads on from there."""
    loop.run(cdc_connector.delete(config.load()))
    console.print("Deleted.")


@connector_cli.command("snapshot")
def connector_snapshot() -> None:
    """Forget the place in the binlog and read all tables anew: for a binlog or a schema history that is gone.

    Rows that were deleted meanwhile are not told: run `snacks reconcile` afterwards.
    """
    _connector(cdc_connector.snapshot_again(config.load()))


@topics_cli.command("ensure")
def topics_ensure() -> None:
    """Make the topics that are missing, and check those that are there."""
    topics_table(loop.run(cdc_topics.ensure(config.load())), console, as_json=False)


@topics_cli.command("list")
def topics_list(*, as_json: Json = False) -> None:
    """Show the topics: partitions, records, clean-up."""
    topics_table(loop.run(cdc_topics.describe(config.load())), console, as_json=as_json)


def _connector(asking: Coroutine[Any, Any, ConnectorStatus]) -> None:
    connectors_table([loop.run(asking)], console)


async def _applied(settings: config.Settings) -> ConnectorStatus:
    return (await cdc_connector.apply(settings)).status
