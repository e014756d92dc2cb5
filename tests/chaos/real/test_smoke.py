"""L1: forty real faults on the real servers, and what must hold afterwards (docs/chaos.md)."""

import logging
import os
from pathlib import Path

import pytest
from tests.chaos.real.conductor import MONGODB, REBUILT, STEPS, TOPIC, play
from tests.chaos.real.faults import KINDS, Fault
from tests.chaos.real.plan import Round, at_least
from tests.conftest import settings_for

OFFSET = 3400
SEED = int(os.environ.get("CHAOS_SEED", "1"))
"""`CHAOS_SEED=7 ./snacks test tests/chaos/real/test_smoke.py` plays another plan."""
FAULTS = 40
LIMIT = 30.0
"""Seconds. What is slow on a busy machine is no failure here; `./snacks chaos` asks for 10."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """That the broker is away is wanted here."""
    caplog.set_level(logging.CRITICAL, "aiokafka")


@pytest.mark.timeout(900)
async def test_forty_faults_of_ten_kinds_lose_nothing_double_nothing_and_step_nothing_back(
    tmp_path: Path,
) -> None:
    plan = at_least(FAULTS, SEED, KINDS)
    report = await play(settings_for(OFFSET, tmp_path), SEED, plan, limit=LIMIT)
    told = {one.name: one.violations[:5] for one in report.invariants if not one.holds}
    assert report.holds, f"CHAOS_SEED={SEED}: {report.failed} {told}\n{report.notes}"
    assert sum(bool(one.evidence) for one in report.faults) >= FAULTS
    assert len({one.kind for one in report.faults}) >= 10


CAUGHT: dict[str, list[Round]] = {
    "restore forgets the states": [(Fault("kill process", name, 0.0),) for name in "ab"],
    "clock as modifiedDate": [],
}
"""Bugs of the model's, in both processes, and the rounds that must show them."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("bug", CAUGHT)
async def test_a_planted_bug_is_caught(bug: str, tmp_path: Path) -> None:
    report = await play(settings_for(OFFSET, tmp_path), SEED, CAUGHT[bug], limit=LIMIT, plant=bug)
    data = (MONGODB, TOPIC, STEPS, REBUILT)
    assert [one.name for one in report.invariants if one.violations and one.name in data], report.failed
