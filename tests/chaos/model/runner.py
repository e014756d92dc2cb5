"""Many histories on all cores. The first that fails wins: the lowest of the seeds that were asked for."""

import ctypes
import gc
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from tests.chaos.model.bugs import planted
from tests.chaos.model.play import play, simulated

CHUNK = 250
"""Histories that a worker plays between two reports."""

COLLECT = 4
"""Histories whose garbage is collected at once: few, for what the cache still holds is collected fast."""


class Failure(NamedTuple):
    """A seed, and what was wrong at the end of its history."""

    seed: int
    wrong: list[str]


class Report(NamedTuple):
    """How many histories were played, which faults struck how often, and the first failure."""

    histories: int
    struck: Counter[tuple[str, str]]
    failure: Failure | None


def workers() -> ProcessPoolExecutor:
    """As many processes as there are cores for us; not forked, for a fork takes threads' locks along."""
    cores = len(os.sched_getaffinity(0))
    return ProcessPoolExecutor(cores, multiprocessing.get_context("spawn"), initializer=_begin)


def play_until_wrong(seeds: Sequence[int], bug: str = "") -> Report:
    """Play one history after the other, in this process, up to the first that fails. `bug`: see `bugs.py`."""
    struck: Counter[tuple[str, str]] = Counter()
    with ExitStack() as stack:
        stack.enter_context(simulated())
        if bug:
            stack.enter_context(planted(bug))
        for number, seed in enumerate(seeds, 1):
            played = play(seed)
            if number % COLLECT == 0:
                gc.collect()
            struck += played.struck
            if played.wrong:
                return Report(number, struck, Failure(seed, played.wrong))
    return Report(len(seeds), struck, None)


def play_all(pool: ProcessPoolExecutor, seeds: Sequence[int]) -> Report:
    """Play the histories of all seeds in the pool, or up to the first that fails."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    reports = [pool.submit(play_until_wrong, chunk) for chunk in chunks]
    histories, struck, failure = 0, Counter[tuple[str, str]](), None
    for waiting in reports:
        report = waiting.result()
        histories, failure = histories + report.histories, report.failure
        struck += report.struck
        if failure is not None:
            break
    for waiting in reports:
        waiting.cancel()
    return Report(histories, struck, failure)


def _begin() -> None:
    """End with the parent, however it ends. Collect between histories only, and what they left only."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    gc.freeze()
    gc.disable()
