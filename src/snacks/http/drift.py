"""Do the orders agree with MySQL? What the sampled check found last."""

from litestar import Router, get
from litestar.di import NamedDependency

from snacks.repair.sample import Drift, DriftStatus


@get(
    "/drift",
    operation_id="drift",
    summary="Do the orders agree with MySQL?",
    description="What the last sampled check found. `snacks reconcile` compares all orders, and repairs.",
)
async def drift(drift: NamedDependency[Drift]) -> DriftStatus:
    """The last result; asks nobody."""
    return drift.status


router = Router("/api", route_handlers=[drift], tags=["Operations"])
"""Needs the dependency `drift: Drift`."""
