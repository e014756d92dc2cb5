"""The real actors in thousands of simulated histories; see README.md in this folder."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from hashlib import sha256

import pytest
from tests.chaos.model.bugs import PLANTED
from tests.chaos.model.net import CALLS, LOSSES, STOPS
from tests.chaos.model.play import WORLD_FAULTS, play, simulated
from tests.chaos.model.runner import Report, play_all, play_until_wrong, workers

HISTORIES = int(os.environ.get("MODEL_HISTORIES") or (50_000 if os.environ.get("CI") else 4_000))
SEED = int(os.environ.get("MODEL_SEED") or 1)
PINNED = {
    10858: "what drains forgotten",  # a rebalance gave a shard away while who left still finished its cycle
}
"""Seeds that failed once, each with the bug that it found (`MENDED` in `bugs.py`)."""

ENOUGH = 8_000
"""Histories in which each planted bug must be found. The rarest takes some 1,000 on average."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with workers() as made:
        yield made
        made.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def report(pool: ProcessPoolExecutor) -> Report:
    return play_all(pool, [*PINNED, *range(SEED, SEED + HISTORIES)])


def test_no_history_loses_doubles_or_steps_back(report: Report) -> None:
    if report.failure is not None:
        seed, wrong = report.failure
        with simulated():
            story = play(seed, told=True).story
        pytest.fail(
            "\n".join(
                [
                    *story,
                    f"seed {seed}, after {report.histories} histories:",
                    *wrong,
                    f"Again: MODEL_SEED={seed} MODEL_HISTORIES=1 ./snacks test tests/chaos/model -k history",
                    f"Once mended, keep it in PINNED ({__file__}), with the bug in MENDED",
                ]
            )
        )
    assert report.histories == HISTORIES + len(PINNED)


@pytest.mark.skipif(HISTORIES < 20_000, reason="some are rare: MODEL_HISTORIES=20000")
def test_every_fault_struck_every_call(report: Report) -> None:
    calls = [call for server in CALLS.values() for call in server]
    expected = {(kind, f"{call} {phase}") for kind in STOPS for call in calls for phase in ("sent", "served")}
    expected |= {(kind, call) for kind in LOSSES for call in calls}
    expected |= {(kind, "a step") for kind in STOPS} | {(kind, "world") for kind in WORLD_FAULTS}
    assert expected - report.struck.keys() == set()


@pytest.mark.parametrize("seed", PINNED)
def test_a_pinned_seed_still_meets_its_bug(seed: int) -> None:
    assert play_until_wrong([seed], PINNED[seed]).failure is not None, (
        "pin another: the histories have changed"
    )


def fingerprint(seed: int) -> str:
    """Of all that a history left in the topics and showed in MongoDB."""
    with simulated():
        world = play(seed).world
    records = [
        (source, slot.offset, slot.record and (slot.record.key, slot.record.value))
        for source, partition in world.broker.partitions.items()
        if source.topic
        != "snacks-dead-letters"  # a letter tells by the clock on the wall when it was set aside
        for slot in partition.slots
    ]
    return sha256(repr((records, world.seen, world.net.struck)).encode()).hexdigest()


def test_a_seed_gives_the_same_history_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    seeds = range(1, 40)
    with workers() as other:
        assert list(other.map(fingerprint, seeds)) == [fingerprint(seed) for seed in seeds]


@pytest.fixture(scope="module")
def searches(pool: ProcessPoolExecutor, report: Report) -> dict[str, Future[Report]]:
    """All at once, on all cores; after the histories, which have a time to keep."""
    return {bug: pool.submit(play_until_wrong, range(1, ENOUGH), bug) for bug in PLANTED}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(bug: str, searches: dict[str, Future[Report]]) -> None:
    assert searches[bug].result().failure is not None, f"{bug}: not caught in {ENOUGH} histories"
