"""What Prometheus reads."""

from typing import Any

from litestar.di import Provide
from litestar.testing import create_test_client
from prometheus_client.parser import text_string_to_metric_families

from snacks import config
from snacks.actors.status import HostStatus, ShardStatus
from snacks.http import metrics
from snacks.http.letters import LetterCounts
from snacks.letters import LettersUnavailable
from snacks.repair.sample import Drift, DriftStatus

SHARD = ShardStatus(3, "restoring", "", 7, 40, 5, 9, 11, 12, 13, 14, 15)
HOST = HostStatus("g", "m", ready=False, reason="", shards=[SHARD])
Sample = tuple[str, str]


class Counted:
    """Letters that are counted, or cannot be."""

    def __init__(self, reasons: dict[str, int] | None) -> None:
        self._reasons = reasons

    async def counts(self) -> dict[str, int]:
        if self._reasons is None:
            raise LettersUnavailable("the broker is away")
        return self._reasons


def scraped(reasons: dict[str, int] | None, *, samples: bool = True) -> dict[Sample, float]:
    """All samples by name and label. `samples`: whether this process takes the sampled check."""
    check = Drift(config.load({})) if samples else None
    if check:
        check.status = DriftStatus(2, 200, problem="MySQL is away")
    letters: Any = Counted(reasons)
    counts = LetterCounts(letters)
    dependencies = {
        "actors": Provide(lambda: lambda: HOST, sync_to_thread=False),
        "drift": Provide(lambda: check, sync_to_thread=False),
        "letter_counts": Provide(lambda: counts, sync_to_thread=False),
    }
    with create_test_client([metrics.router], dependencies=dependencies) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_shards_drift_and_dead_letters_by_reason_are_told() -> None:
    found = scraped({"not-json": 4, "partial-row": 1})
    assert found == {
        ("snacks_actors_ready", ""): 0,
        ("snacks_shard_running", "3"): 0,
        ("snacks_shard_orders", "3"): 7,
        ("snacks_shard_lag", "3"): 40,
        ("snacks_shard_restored", "3"): 5,
        ("snacks_shard_restore", "3"): 9,
        ("snacks_shard_folded_total", "3"): 11,
        ("snacks_shard_repeated_total", "3"): 12,
        ("snacks_shard_published_total", "3"): 13,
        ("snacks_shard_dead_letters_total", "3"): 14,
        ("snacks_shard_cycles_total", "3"): 15,
        ("snacks_orders_drifted", ""): 2,
        ("snacks_orders_checked", ""): 200,
        ("snacks_drift_check_failed", ""): 1,
        ("snacks_dead_letters_open", "not-json"): 4,
        ("snacks_dead_letters_open", "partial-row"): 1,
    }


def test_without_a_broker_all_but_the_dead_letters_is_told() -> None:
    found = scraped(None)
    assert ("snacks_shard_lag", "3") in found
    assert not any(name == "snacks_dead_letters_open" for name, _ in found)


def test_a_process_that_takes_no_samples_tells_no_drift() -> None:
    names = {name for name, _ in scraped({"not-json": 4}, samples=False)}
    assert not names & {"snacks_orders_drifted", "snacks_orders_checked", "snacks_drift_check_failed"}
    assert {"snacks_shard_lag", "snacks_dead_letters_open"} <= names
