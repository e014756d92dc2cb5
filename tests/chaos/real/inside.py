"""Runs in place of `snacks` in the processes under test: tells its tasks when asked, and may plant a bug.

`kill -USR1` makes it write how many asyncio tasks it has to the file CHAOS_TASKS.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from snacks.cli import main


def _tell(*_: Any) -> None:
    try:
        count = len(asyncio.all_tasks())
    except RuntimeError:
        return  # no loop yet
    file = Path(os.environ["CHAOS_TASKS"])
    half = file.with_suffix(".new")
    half.write_text(f"{os.getpid()} {count}", "utf-8")
    half.rename(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    plant = os.environ.get("CHAOS_PLANT")
    if plant:
        from tests.chaos.model.bugs import PLANTED

        setattr(*PLANTED[plant])
    main()
