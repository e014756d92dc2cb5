"""Breaks the whole system for as long as asked, under load, and says what held (docs/chaos.md)."""

import argparse
import asyncio
import logging
import os
import re
import signal
import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape
from tests.chaos.real.conductor import play
from tests.chaos.real.faults import KINDS, Fault
from tests.chaos.real.harsh import FINALE, HARSH
from tests.chaos.real.plan import rounds
from tests.chaos.real.report import Report

from snacks import config, logs
from snacks.config import SettingError
from snacks.platform import PlatformError

OFFSET = 3400
"""Beside the servers of `./snacks up`, unless a port offset is given."""
UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """`90s`, `10m`, `2h`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: say 90s, 10m or 2h")
    return float(found[1]) * UNITS[found[2]]


async def run(options: argparse.Namespace, console: Console) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    os.environ.setdefault("SNACKS_PORT_OFFSET", str(OFFSET))
    settings = config.load()
    settings = replace(settings, state=str(settings.state_dir / "chaos"))
    logs.setup(settings, quiet=True)
    logging.disable(logging.ERROR)  # what its own readers lose is wanted
    kinds = KINDS | HARSH
    if options.only:
        kinds = {name: kinds[name] for name in options.only.split(",")}

    def write(report: Report) -> None:
        if options.json:
            options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))

    report = await play(
        settings,
        options.seed,
        rounds(options.seed, kinds),
        seconds=options.duration,
        tell=write,
        kinds=kinds,
        finale=[(Fault(name, "", 0.0),) for name in FINALE],
        say=lambda line: console.print(line, highlight=False, markup=False),
    )
    report.show(console)
    if options.json:
        write(report)
        console.print(f"The report: {options.json}")
    return 0 if report.holds else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="./snacks chaos", description=__doc__)
    parser.add_argument(
        "--for", dest="duration", type=seconds, default=600.0, help="90s, 10m, 2h; default 10m"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="the plan of faults: the same seed, the same plan"
    )
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--only", help="these kinds of faults, by comma")
    options = parser.parse_args()
    console = Console(soft_wrap=True)
    try:
        return asyncio.run(run(options, console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Stopped, and everything with it.")
        return 130
    except (PlatformError, SettingError) as error:
        console.print(f"[red]chaos:[/] {escape(str(error))}", highlight=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
