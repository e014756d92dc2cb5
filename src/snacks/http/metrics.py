"""What the process knows of itself, for Prometheus: lag, folding, dead letters, drift."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from litestar import Response, Router, get
from litestar.di import NamedDependency
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from snacks.actors.status import HostStatus, ShardStatus
from snacks.http.letters import LetterCounts
from snacks.http.recent import within
from snacks.letters import LettersUnavailable
from snacks.repair.sample import Drift, DriftStatus

LETTERS_WAIT = 2.0
"""Seconds that the dead letters may take; without them the others are told all the same."""

Read = Callable[[ShardStatus], int]
GAUGES: dict[str, tuple[str, Read]] = {
    "running": ("1 while the shard folds records", lambda shard: int(shard.state == "running")),
    "lag": ("CDC records not yet folded", lambda shard: shard.lag),
    "orders": ("Orders that live in the shard", lambda shard: shard.orders),
    "restored": ("Checkpoint offsets read at the last restore", lambda shard: shard.restored),
    "restore": ("Checkpoint offsets to read at the last restore", lambda shard: shard.restore_total),
}
COUNTERS: dict[str, tuple[str, Read]] = {
    "folded": ("Records that changed an order, or were folded with one that did", lambda s: s.folded),
    "repeated": ("Records that said nothing new", lambda shard: shard.repeated),
    "published": ("Orders published", lambda shard: shard.published),
    "dead_letters": ("Records set aside", lambda shard: shard.dead_letters),
    "cycles": ("Commit cycles", lambda shard: shard.cycles),
}
"""Of each shard of this process, since it was assigned: a name, what it is, where it is read."""


class _Told(Collector):
    """Metrics that were read already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._metrics


def actors_metrics(host: HostStatus) -> list[Metric]:
    """Of the actors of this process."""
    ready = GaugeMetricFamily("snacks_actors_ready", "1 if this process is a member and all its shards run")
    ready.add_metric([], int(host.ready))
    gauges = {f"snacks_shard_{name}": one for name, one in GAUGES.items()}
    counters = {f"snacks_shard_{name}": one for name, one in COUNTERS.items()}
    found: list[Metric] = [ready]
    for made, families in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
        for name, (what, read) in families.items():
            family = made(name, what, labels=["shard"])
            for shard in host.shards:
                family.add_metric([str(shard.partition)], read(shard))
            found.append(family)
    return found


def drift_metrics(drift: DriftStatus) -> list[Metric]:
    """Of the sampled check."""
    return [
        GaugeMetricFamily(
            "snacks_orders_drifted", "Orders known to differ from MySQL", value=drift.orders_drifted
        ),
        GaugeMetricFamily(
            "snacks_orders_checked", "Orders that the last sampled check compared", value=drift.checked
        ),
        GaugeMetricFamily(
            "snacks_drift_check_failed", "1 if the last one could not be made", value=int(bool(drift.problem))
        ),
    ]


def letters_metrics(reasons: dict[str, int]) -> list[Metric]:
    """Of the dead letters of the cluster."""
    family = GaugeMetricFamily("snacks_dead_letters_open", "Dead letters to look at", labels=["reason"])
    for reason, count in reasons.items():
        family.add_metric([reason], count)
    return [family]


@get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics for Prometheus",
    description="Shards of this process, the sampled check, and the dead letters of the cluster by reason. "
    "Where the dead letters cannot be read, only these are left out.",
    media_type="text/plain",
)
async def metrics(
    actors: NamedDependency[Callable[[], HostStatus | None]],
    drift: NamedDependency[Drift | None],
    letter_counts: NamedDependency[LetterCounts],
) -> Response[bytes]:
    """All metrics, as they are now; the letters' are some seconds old."""
    host = actors()
    found = (actors_metrics(host) if host else []) + (drift_metrics(drift.status) if drift else [])
    with suppress(LettersUnavailable, TimeoutError):  # the broker is away: readiness says so
        found += letters_metrics((await within(LETTERS_WAIT, letter_counts.counts)).reasons)
    registry = CollectorRegistry()
    registry.register(_Told(found))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


router = Router("/", route_handlers=[metrics], tags=["Operations"])
"""Needs the dependencies `actors: () -> HostStatus | None`, `letter_counts: LetterCounts`, and
`drift: Drift | None`: None where no sample is taken, or zeros would say that all is well."""
