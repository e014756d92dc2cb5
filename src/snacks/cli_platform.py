"""`./snacks platform`: all servers, in containers where a Docker engine answers, else as processes."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from snacks import config, logs, platform
from snacks.platform import compose, kafka_tools
from snacks.report import servers_table

cli = typer.Typer()
platform_cli = typer.Typer(
    no_args_is_help=True, help="All servers at once: in containers where Docker answers, else as processes."
)
console = Console()


class Broker(StrEnum):
    """Which broker: a profile of compose.yaml."""

    redpanda = "redpanda"
    kafka = "kafka"
    warpstream = "warpstream"


Docker = Annotated[
    bool | None,
    typer.Option(
        "--docker/--no-docker",
        help="In containers, or as processes. [default: containers if an engine answers]",
    ),
]


def answering(settings: config.Settings, seconds: float) -> str:
    """What to say when the servers answer: the app must be started with the engine that they were."""
    serve = "./snacks serve --engine flink" if settings.engine == "flink" else "./snacks serve"
    return f"All servers answer ({seconds:.1f} s). Next: {serve}. Stop them: ./snacks down"


@platform_cli.command("start")
def start(
    broker: Annotated[Broker, typer.Argument(help="Only Kafka runs without Docker, too.")],
    *,
    docker: Docker = None,
) -> None:
    """Start the servers with this broker and wait until they answer; in containers the app too."""
    settings = config.load()
    logs.setup(settings, quiet=True)
    with_docker, why = compose.chosen(settings, asked=docker)
    if with_docker:
        console.print(f"In containers, with {broker.value}: {why}.")
        compose.up(broker.value, config.given("engine"))
        console.print("All is up, the app too: http://127.0.0.1:3000. Stop it: ./snacks platform stop")
        return
    if broker is not Broker.kafka:
        raise platform.PlatformError(
            f"{broker.value} needs Docker, and {why}.\nKafka runs without: ./snacks platform start kafka"
        )
    console.print(f"As processes, with Kafka: {why}.")
    run = platform.up(settings, console)
    console.print(answering(settings, run.seconds))


@platform_cli.command("stop")
def stop(
    *,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Delete all orders, too.")] = False,
) -> None:
    """Stop what runs, containers and processes. Data stays unless told otherwise."""
    settings = config.load()
    stopped = False
    if not compose.problem():
        for broker in compose.running():
            compose.stop(broker, delete_data=delete_data)
            stopped = True
    stopped = platform.down(settings) or stopped
    if delete_data:
        platform.reset(settings)
    console.print("Stopped." if stopped else "Nothing was running.")


@platform_cli.command("status")
def status() -> None:
    """Show what runs: containers, and the servers without Docker."""
    settings = config.load()
    reason = compose.problem()
    brokers = [] if reason else compose.running()
    for broker in brokers:
        console.print(f"In containers, with {broker}:")
        compose.compose(broker, "ps")
    if not brokers:
        console.print(f"No containers of ours run{f': {reason}' if reason else ''}.")
    servers_table(settings, platform.status(settings), console, as_json=False)


@platform_cli.command("env")
def env() -> None:
    """Make .env, the passwords of the containers, for `docker compose`. One that is there is kept."""
    made = compose.make_env()
    console.print("Made .env, readable by you alone." if made else ".env is there already; it was kept.")


@cli.command("kafka", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def kafka(
    context: typer.Context,
    tool: Annotated[str, typer.Argument(help=f"{', '.join(kafka_tools.TOOLS)}.")],
) -> None:
    """Run one of Kafka's own tools on our broker: `./snacks kafka topics --list`."""
    raise typer.Exit(kafka_tools.run(config.load(), tool, context.args))
