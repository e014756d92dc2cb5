"""The command line, `./snacks`: every command thin, what it does lives elsewhere."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from snacks import app as application
from snacks import (
    cli_cdc,
    cli_flink,
    cli_letters,
    cli_platform,
    cli_repair,
    config,
    demo,
    logs,
    loop,
    platform,
    watch,
)
from snacks.cdc import connector as cdc_connector
from snacks.cdc import topics as cdc_topics
from snacks.domain.values import OrderStatus
from snacks.flink import FlinkError
from snacks.report import servers_table

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="Snacks Unlimited: CQRS with change data capture, for real.\n\n"
    "Start with [bold]./snacks demo[/]: it fetches and starts MySQL, Kafka, Debezium and MongoDB, plays a "
    "story of orders and shows where each one is. Then [bold]./snacks up[/] and [bold]./snacks serve[/] to "
    "use it, and [bold]./snacks test[/] to change it. Settings are variables: docs/settings.md.",
)
cli.add_typer(cli_cdc.connector_cli, name="connector")
cli.add_typer(cli_cdc.topics_cli, name="topics")
cli.add_typer(cli_platform.platform_cli, name="platform")
for more in (cli_repair.cli, cli_letters.cli, cli_platform.cli):
    cli.registered_commands += more.registered_commands
cli.add_typer(cli_letters.letters_cli, name="dead-letters")
cli.add_typer(cli_flink.flink_cli, name="flink")
console = Console()

TOOLS = {
    "ruff check": ["-m", "ruff", "check"],
    "ruff format --check": ["-m", "ruff", "format", "--check"],
    "mypy": ["-m", "mypy"],
    "lint-imports": ["-c", "from importlinter.cli import lint_imports_command as lint; lint()"],
}
"""What Python is to run. Not the scripts in .venv/bin: they name the place where the checkout was made."""

Json = Annotated[bool, typer.Option("--json", help="JSON for programs instead of a table.")]


@cli.callback()
def options(
    port_offset: Annotated[
        int | None,
        typer.Option(help="Move every port by this much, so that two checkouts run side by side.", min=0),
    ] = None,
    db: Annotated[Literal["mysql", "mariadb"] | None, typer.Option(help="The command database.")] = None,
    engine: Annotated[
        Literal["actors", "flink"] | None, typer.Option(help="What folds the changes into orders.")
    ] = None,
) -> None:
    """Options of all commands become settings, so that child processes have them too."""
    if port_offset is not None:
        os.environ["SNACKS_PORT_OFFSET"] = str(port_offset)
    if db is not None:
        os.environ["SNACKS_DB"] = db
    if engine is not None:
        os.environ["SNACKS_ENGINE"] = engine


@cli.command("demo")
def demo_command(
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the story instead of staying up.")] = False,
    docker: cli_platform.Docker = None,
) -> None:
    """Start everything, play the story, show each order's way, and stay up until Ctrl-C."""
    settings = config.load()
    logs.setup(settings, quiet=True)
    loop.run(demo.run(settings, console, once=once, docker=docker))


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Run the linters and all tests against real servers. Arguments go to pytest: `./snacks test -k fold`."""
    pytest = {" ".join(["pytest", *context.args]): ["-m", "pytest", *context.args]}
    root = Path(__file__).parents[2]
    failed = []
    for name, arguments in (pytest if context.args else TOOLS | pytest).items():
        console.rule(escape(name))
        if subprocess.run([sys.executable, *arguments], cwd=root, check=False).returncode:
            failed.append(name)
    if failed:
        console.print(f"[red]failed: {escape(', '.join(failed))}[/]")
        raise typer.Exit(1)


@cli.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def bench(context: typer.Context) -> None:
    """Measure: `./snacks bench --help` names the suites. Figures of a full run: docs/performance.md."""
    root = Path(__file__).parents[2]
    raise typer.Exit(
        subprocess.run([sys.executable, "-m", "bench", *context.args], cwd=root, check=False).returncode
    )


@cli.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def chaos(context: typer.Context) -> None:
    """Break everything for as long as asked, and tell what held: `./snacks chaos --for 2h --seed 7`."""
    os.chdir(Path(__file__).parents[2])
    # In place of this process: Ctrl-C and the exit code are the harness's own.
    os.execv(sys.executable, [sys.executable, "-m", "tests.chaos.real", *context.args])  # noqa: S606  (no shell is wanted)


@cli.command()
def up() -> None:
    """Start the servers in the background: MySQL, Kafka, Kafka Connect, MongoDB."""
    settings = config.load()
    logs.setup(settings, quiet=True)
    run = platform.up(settings, console)
    console.print(cli_platform.answering(settings, run.seconds))


@cli.command()
def down() -> None:
    """Stop the servers that `up` started. Their data stays."""
    console.print("Stopped." if platform.down(config.load()) else "Nothing was running.")


@cli.command()
def status(*, as_json: Json = False) -> None:
    """Show each server and the app: state, port, pid, memory, start seconds."""
    settings = config.load()
    servers_table(settings, platform.status(settings), console, as_json=as_json)


@cli.command("logs")
def show_logs(
    name: Annotated[str, typer.Argument(help="mongod, kafka, database, connect, supervisor or app.")],
    *,
    lines: Annotated[int, typer.Option(min=1)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows, until Ctrl-C.")] = False,
) -> None:
    """Show the end of a server's log."""
    path = platform.log_path(config.load(), name)
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in path.parent.glob("*.log"))) or "none yet"
        raise typer.BadParameter(f"there is no log {path}. Logs here: {known}")
    console.print(platform.log_tail(path, lines), markup=False, highlight=False)
    if follow:
        with path.open(encoding="utf-8", errors="replace") as log, suppress(KeyboardInterrupt):
            log.seek(0, os.SEEK_END)
            while True:
                more = log.read()
                sys.stdout.write(more)
                sys.stdout.flush()
                time.sleep(0 if more else 0.2)


@cli.command()
def serve(
    *,
    role: Annotated[
        Literal["all", "http", "actors"] | None,
        typer.Option(help="http: commands, queries, the stream. actors: folding. Else SNACKS_ROLE, or all."),
    ] = None,
) -> None:
    """Run the app: commands, actors, queries. Needs the servers (`up`); waits for them and says so."""
    if role is not None:
        os.environ["SNACKS_ROLE"] = role
    settings = config.load()
    logs.setup(settings)
    loop.run(application.serve(settings))


@cli.command("watch")
def watch_command(
    order_id: Annotated[str | None, typer.Argument(help="Only this order; without it, all.")] = None,
    *,
    status: Annotated[OrderStatus | None, typer.Option(help="Only orders with this status.")] = None,
    as_json: Json = False,
) -> None:
    """Follow orders as they move, until Ctrl-C: time, status, and milliseconds from hop to hop."""
    with suppress(KeyboardInterrupt, asyncio.CancelledError):  # the way to end it, no error
        loop.run(watch.follow(config.load(), console, order_id, status, as_json=as_json))


@cli.command()
def reset(*, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete all data of this checkout's servers. Downloads stay."""
    settings = config.load()
    if not yes:
        typer.confirm(f"Delete all orders, topics and documents in {settings.state_dir}?", abort=True)
    platform.reset(settings)
    console.print("All data is gone.")


def _options_first(arguments: list[str]) -> list[str]:
    """The arguments with the options of all commands in front, wherever they were typed."""
    if arguments[:1] in (["test"], ["bench"], ["chaos"]):
        return arguments  # what follows is for another program
    first: list[str] = []
    rest = list(arguments)
    for name in ("--port-offset", "--db", "--engine"):
        for number, argument in enumerate(rest):
            if argument == name or argument.startswith(f"{name}="):
                end = number + (2 if argument == name else 1)
                first += rest[number:end]
                del rest[number:end]
                break
    return first + rest


def main() -> None:
    """The entry point: errors that a person can mend are told in a line or two, without a traceback."""
    try:
        cli(_options_first(sys.argv[1:]), prog_name="./snacks")
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Stopped.")
        sys.exit(130)
    except (
        config.SettingError,
        platform.PlatformError,
        demo.StoryError,
        watch.WatchError,
        application.AppError,
        cdc_connector.ConnectorError,
        cdc_topics.TopicError,
        FlinkError,
    ) as error:
        Console(stderr=True).print(f"[red]snacks:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)
