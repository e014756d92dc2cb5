"""Progress of downloads: bars on a terminal, a line every few seconds elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_SECONDS = 5.0
BIG = 5_000_000
"""Files from this many bytes on get a bar of their own."""


class Meter:
    """Adds up bytes from several threads and shows them."""

    def __init__(self, console: Console, progress: Progress, total: int) -> None:
        self._console = console
        self._progress = progress
        self._total = total
        self._done = 0
        self._shown = time.monotonic()
        self._lock = threading.Lock()
        self._all = progress.add_task("all files", total=total)

    @contextmanager
    def file(self, name: str, size: int) -> Iterator[Callable[[int], None]]:
        """Show one file of `size` bytes; yields a function to call with the bytes that came in."""
        own = self._progress.add_task(name, total=size) if size >= BIG else None

        def advance(count: int) -> None:
            with self._lock:
                self._done += count
                self._progress.advance(self._all, count)
                if own is not None:
                    self._progress.advance(own, count)
                if not self._console.is_terminal and time.monotonic() - self._shown > LINE_SECONDS:
                    self._shown = time.monotonic()
                    self._console.print(f"downloaded {megabytes(self._done)} of {megabytes(self._total)}")

        try:
            yield advance
        finally:
            if own is not None:
                self._progress.remove_task(own)


@contextmanager
def downloads(console: Console, count: int, total: int) -> Iterator[Meter]:
    """Show the progress of `count` files, `total` bytes together."""
    console.print(f"Downloading {count} files, {megabytes(total)}, once for all checkouts.")
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with progress:
        yield Meter(console, progress, total)


def megabytes(size: float) -> str:
    """`553 MB`."""
    return f"{size / 1e6:,.0f} MB"
