"""What flows from a command to a query, with live counts: JSON for programs, a page for people."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from litestar import Response, Router, get
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.exceptions import ClientException
from litestar.params import QueryParameter
from msgspec import Struct
from msgspec.structs import replace

from snacks.actors.status import GroupStatus, HostStatus, ShardStatus
from snacks.cdc.topics import AGGREGATES, CHECKPOINTS, DEAD_LETTERS
from snacks.domain.cards import mask_cards
from snacks.domain.order import ROWS
from snacks.domain.values import OrderStatus
from snacks.feed import FeedStatus
from snacks.flink import FlinkStatus
from snacks.http.errors import HttpRequest, documented
from snacks.http.pages import page
from snacks.http.recent import Recent, within

Health = Literal["ok", "trouble", "unknown"]
Counts = Mapping[str, int]

TIMEOUT = 2.0
STORED = 5
"""The stage of what the engine writes."""


class Node(Struct, frozen=True):
    """A part of the system. `stage` is how far it is from the client: 0 commands, 6 queries."""

    id: str
    stage: int
    title: str
    kind: str
    health: Health = "ok"
    detail: str = ""
    counts: dict[str, int] = {}


class Edge(Struct, frozen=True):
    """Data flows from one node to another, by their ids."""

    source: str
    target: str


class Topology(Struct, frozen=True):
    """The parts, what flows between them, and who has which shard. `time` is UTC, ISO 8601.

    `role`: what this process does, `all`, `http` (folds nothing) or `actors` (only folds). `shards`: those of
    this process, with all their counts. `group`: every process that folds; None if the broker does not tell.
    `member`: the client id of this process in it, empty if it folds nothing.
    """

    time: str
    role: str
    problems: list[str]
    nodes: list[Node]
    edges: list[Edge]
    shards: list[ShardStatus]
    group: GroupStatus | None
    member: str


class Facts(Struct, frozen=True, kw_only=True):
    """What the servers said; an exception stands where one did not answer.

    `rows`: rows per MySQL table. `records`: records per topic, by its full name. `connector`: the state
    of the Debezium connector and its task, `RUNNING` if all is well, else state and reason.
    `orders`: MongoDB documents per order status. `actors`: None if this process folds nothing.
    `group`: all processes that fold. `feed`: of this process; None if it only folds. `flink`: job and sink
    connector of that engine; None if the actors fold.
    """

    role: str = "all"
    rows: Counts | BaseException
    connector: str | BaseException
    records: Counts | BaseException
    orders: Counts | BaseException
    actors: HostStatus | None
    group: GroupStatus | BaseException
    feed: FeedStatus | None
    flink: FlinkStatus | BaseException | None = None


def build(facts: Facts) -> Topology:
    """The topology that these facts describe. Pure, except that it is stamped with the time."""
    tables = list(ROWS)
    records = facts.records
    nodes = [
        _http(Node("commands", 0, "Commands", "HTTP", detail="POST, PUT /api/…"), "MySQL", facts.rows),
        _counted(Node("mysql", 1, "MySQL", "command tables"), facts.rows, tables),
        _connector(Node("debezium", 2, "Debezium", "Kafka Connect"), facts.connector),
        *(_topic(Node(table, 3, table, "CDC topic"), records, table) for table in tables),
        _engine(facts),
        _counted(Node("mongodb", STORED, "MongoDB", "customer orders"), facts.orders, list(OrderStatus)),
        _topic(Node("aggregates", STORED, "aggregates", "compacted topic"), records, AGGREGATES),
        *([] if facts.flink else _kept_by_actors(records)),
        _http(Node("queries", 6, "Queries", "HTTP", detail="GET /api/orders"), "MongoDB", facts.orders),
        _stream(Node("stream", 6, "Stream", "WebSocket, events"), facts.feed),
    ]
    pairs = [
        ("commands", "mysql"),
        ("mysql", "debezium"),
        *(("debezium", table) for table in tables),
        *((table, "actors") for table in tables),
        *(("actors", node.id) for node in nodes if node.stage == STORED),
        ("mongodb", "queries"),
        ("aggregates", "stream"),
    ]
    return Topology(
        datetime.now(UTC).isoformat(timespec="milliseconds"),
        facts.role,
        [f"{node.title}: {node.detail}" for node in nodes if node.health == "trouble"],
        nodes,
        [Edge(source, target) for source, target in pairs],
        facts.actors.shards if facts.actors else [],
        facts.group if isinstance(facts.group, GroupStatus) else None,
        facts.actors.member_id if facts.actors else "",
    )


def _engine(facts: Facts) -> Node:
    """What folds; in the picture it is the same place, whichever engine it is."""
    if facts.flink is None:
        return _actors(Node("actors", 4, "Order actors", "one per order"), facts.actors, facts.group)
    blank = Node("actors", 4, "Flink SQL", "one job, and MongoDB's sink connector")
    if isinstance(facts.flink, BaseException):
        return replace(blank, health="trouble", detail=_said(facts.flink))
    counts = {"tasks running": facts.flink.job.running}
    problem = mask_cards(facts.flink.problem)[:300]
    return replace(blank, health="trouble" if problem else "ok", detail=problem, counts=counts)


def _kept_by_actors(records: Counts | BaseException) -> list[Node]:
    return [
        _topic(Node("checkpoints", STORED, "checkpoints", "compacted topic"), records, CHECKPOINTS),
        _topic(Node("dead-letters", STORED, "dead letters", "topic"), records, DEAD_LETTERS),
    ]


def _said(error: BaseException) -> str:
    said = isinstance(error, TimeoutError) and str(error)
    return mask_cards(said or f"{type(error).__name__}: {error}")[:300]


def _http(blank: Node, needs: str, answer: Counts | BaseException) -> Node:
    away = isinstance(answer, BaseException)
    return replace(blank, health="trouble", detail=f"need {needs}") if away else blank


def _counted(blank: Node, counted: Counts | BaseException, keys: list[str]) -> Node:
    if isinstance(counted, BaseException):
        return replace(blank, health="trouble", detail=_said(counted))
    # Every key, in its order, also those that nothing was counted for.
    return replace(blank, counts={key: counted.get(key, 0) for key in keys})


def _topic(blank: Node, records: Counts | BaseException, topic: str) -> Node:
    """`topic`: the full name, or how it ends (the names of CDC topics begin with a prefix)."""
    if isinstance(records, BaseException):
        return replace(blank, health="unknown", detail=_said(records))
    for name, count in records.items():
        if name == topic or name.endswith(f".{topic}"):
            return replace(blank, counts={"records": count})
    return replace(blank, health="unknown", detail="no such topic yet")


def _connector(blank: Node, state: str | BaseException) -> Node:
    if isinstance(state, BaseException):
        return replace(blank, health="trouble", detail=_said(state))
    return replace(blank, health="ok" if state == "RUNNING" else "trouble", detail=mask_cards(state)[:300])


def _actors(blank: Node, host: HostStatus | None, group: GroupStatus | BaseException) -> Node:
    """Counts are of this process, but `to fold` is of all shards: a process may have none of them."""
    lags = {} if isinstance(group, BaseException) else dict(group.lags)
    if host is None:
        return _elsewhere(blank, group, lags)
    lags |= {shard.partition: shard.lag for shard in host.shards}  # the group's is up to a second old
    counts = {
        "shards": len(host.shards),
        "orders": sum(shard.orders for shard in host.shards),
        "to fold": sum(lags.values()),
        "folded": sum(shard.folded for shard in host.shards),
        "published": sum(shard.published for shard in host.shards),
    }
    reasons = [f"shard {s.partition} {s.state}: {s.reason}" for s in host.shards if s.reason]
    reasons += [] if isinstance(group, BaseException) or reasons else _unowned(group)
    detail = "; ".join([*filter(None, [host.reason]), *reasons]) or ("" if host.ready else "starting")
    return replace(blank, health="trouble" if detail else "ok", detail=detail, counts=counts)


def _elsewhere(blank: Node, group: GroupStatus | BaseException, lags: dict[int, int]) -> Node:
    if isinstance(group, BaseException):
        return replace(blank, health="unknown", detail=_said(group))
    counts = {"to fold": sum(lags.values())}
    if missing := _unowned(group):
        return replace(blank, health="trouble", detail="; ".join(missing), counts=counts)
    return replace(blank, detail="in other processes", counts=counts)


def _unowned(group: GroupStatus) -> list[str]:
    """The shards that nobody folds; while the group hands them over, none counts as such."""
    if group.state.endswith("Rebalance"):
        return []
    missing = sorted(group.lags.keys() - {n for member in group.members for n in member.shards})
    if missing and len(missing) == len(group.lags):
        return ["no process folds: start one with `snacks serve`"]
    return [f"no process has shard {', '.join(map(str, missing))}"] if missing else []


def _stream(blank: Node, feed: FeedStatus | None) -> Node:
    if feed is None:
        return replace(blank, detail="in other processes")
    counts = {"orders": feed.orders, "subscribers": feed.subscribers}
    return replace(blank, health="trouble" if feed.problem else "ok", detail=feed.problem, counts=counts)


class Observer:
    """Asks every server at once and builds the topology; asked at most once per `keep` seconds."""

    def __init__(
        self,
        *,
        role: str,
        rows: Callable[[], Awaitable[Counts]],
        connector: Callable[[], Awaitable[str]],
        records: Callable[[], Awaitable[Counts]],
        orders: Callable[[], Awaitable[Counts]],
        actors: Callable[[], HostStatus | None],
        group: Callable[[], Awaitable[GroupStatus]],
        feed: Callable[[], FeedStatus | None],
        flink: Callable[[], Awaitable[FlinkStatus | None]],
        keep: float = 1.0,
    ) -> None:
        self._asks = (rows, connector, records, orders, group, flink)
        self._role, self._here = role, (actors, feed)
        self.topology = Recent(self._observe, keep)

    async def _observe(self) -> Topology:
        asked: list[Any] = [within(TIMEOUT, ask) for ask in self._asks]
        actors, feed = self._here
        rows, connector, records, orders, group, flink = await asyncio.gather(*asked, return_exceptions=True)
        return build(
            Facts(
                role=self._role,
                rows=rows,
                connector=connector,
                records=records,
                orders=orders,
                actors=actors(),
                group=group,
                feed=feed(),
                flink=flink,
            )
        )


@get(
    "/api/topology",
    operation_id="topology",
    summary="The processing topology, with live counts",
    description="A page for a browser (`Accept: text/html`), JSON for everybody else or with `format=json`.",
    responses={400: documented("Another format", "format must be json or html")},
    tags=["Operations"],
)
async def get_topology(
    request: HttpRequest,
    observer: NamedDependency[Observer],
    form: Annotated[
        str, QueryParameter(name="format", schema_extra={"enum": ["json", "html"], "default": None})
    ] = "",
) -> Response[Topology]:
    """The page, or what it is drawn from."""
    if form not in {"", "json", "html"}:
        raise ClientException("format must be json or html")
    if form == "html" or (not form and "text/html" in request.headers.get("accept", "")):
        return page("topology")  # type: ignore[return-value]  # for the schema: the JSON
    return Response(await observer.topology(), media_type=MediaType.JSON)


router = Router(
    "/",
    route_handlers=[get_topology],
    response_headers=[ResponseHeader(name="Vary", value="Accept")],
)
"""Needs the dependency `observer: Observer`."""
