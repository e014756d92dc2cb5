"""The topology: drawn from facts, and telling when a fact is missing."""

import asyncio
import re
from typing import Any

import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.testing import AsyncTestClient
from msgspec.structs import replace

from snacks.actors.status import GroupStatus, HostStatus, MemberStatus, ShardStatus
from snacks.cdc.topics import AGGREGATES, CDC_TOPICS, CHECKPOINTS, DEAD_LETTERS
from snacks.feed import FeedStatus
from snacks.flink import FlinkStatus
from snacks.flink.job import Job
from snacks.http import pages, topology
from snacks.http.topology import Facts, Node, Observer, Topology, build

SHARDS = [ShardStatus(n, "running", "", 10, 1, 0, 0, 30, 0, 20, 0, 5) for n in range(2)]
HOST = HostStatus("snacks-order-actors", "member-1", ready=True, reason="", shards=SHARDS)
GROUP = GroupStatus(
    HOST.group_id,
    "Stable",
    [MemberStatus("member-1", "10.0.0.1", {0: 9, 1: 9}), MemberStatus("member-2", "10.0.0.2", {2: 5})],
    {0: 9, 1: 9, 2: 5},
)
ROWS = {"item_detail": 8, "shipping_location": 4, "payment": 3}
RECORDS = dict.fromkeys([*CDC_TOPICS, AGGREGATES, CHECKPOINTS, DEAD_LETTERS], 7)
FACTS = Facts(
    rows=ROWS,
    connector="RUNNING",
    records=RECORDS,
    orders={"PAID": 3},
    actors=HOST,
    group=GROUP,
    feed=FeedStatus("", 20, 4),
)
AWAY = OSError("connection refused")


FLINK = FlinkStatus(Job(id="1", state="RUNNING", running=6, tasks=6), "RUNNING", "")


def node(drawn: Topology, name: str) -> Node:
    return next(one for one in drawn.nodes if one.id == name)


def test_all_is_well_if_every_fact_is_there() -> None:
    drawn = build(FACTS)
    assert drawn.problems == []
    assert {one.health for one in drawn.nodes} == {"ok"}
    assert drawn.shards == SHARDS


def test_every_edge_joins_two_nodes_and_leads_away_from_the_commands() -> None:
    drawn = build(FACTS)
    stages = {one.id: one.stage for one in drawn.nodes}
    assert len(stages) == len(drawn.nodes)
    assert all(stages[edge.source] < stages[edge.target] for edge in drawn.edges)
    assert {edge.source for edge in drawn.edges} | {edge.target for edge in drawn.edges} == set(stages)


def test_nodes_show_what_was_counted() -> None:
    drawn = build(FACTS)
    assert node(drawn, "mysql").counts == ROWS
    assert node(drawn, "payment").counts == {"records": 7}
    assert node(drawn, "aggregates").counts == {"records": 7}
    assert node(drawn, "mongodb").counts == {"PENDING": 0, "PAID": 3, "FULFILLED": 0, "SHIPPED": 0}
    assert node(drawn, "stream").counts == {"orders": 20, "subscribers": 4}
    assert node(drawn, "actors").counts == {
        "shards": 2, "orders": 20, "to fold": 2 + 5, "folded": 60, "published": 40,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (replace(FACTS, rows=AWAY), "MySQL: OSError: connection refused"),
        (replace(FACTS, connector=AWAY), "Debezium: OSError: connection refused"),
        (replace(FACTS, connector="PAUSED"), "Debezium: PAUSED"),
        (replace(FACTS, orders=TimeoutError("no answer within 2 s")), "MongoDB: no answer within 2 s"),
        (replace(FACTS, feed=FeedStatus("no broker", 0, 0)), "Stream: no broker"),
        (replace(FACTS, actors=replace(HOST, ready=False)), "Order actors: starting"),
        (replace(FACTS, actors=replace(HOST, ready=False, reason="no group")), "Order actors: no group"),
    ],
)
def test_what_does_not_work_is_a_problem_with_its_reason(facts: Facts, problem: str) -> None:
    assert problem in build(facts).problems


def test_commands_and_queries_are_as_well_as_the_database_they_need() -> None:
    assert "Commands: need MySQL" in build(replace(FACTS, rows=AWAY)).problems
    assert "Queries: need MongoDB" in build(replace(FACTS, orders=AWAY)).problems


def test_topics_that_cannot_be_counted_are_unknown_and_not_empty() -> None:
    drawn = build(replace(FACTS, records=AWAY))
    assert {node(drawn, name).health for name in ("payment", "aggregates")} == {"unknown"}
    assert node(drawn, "payment").counts == {}


def test_a_topic_is_found_whatever_its_prefix_and_never_by_half_a_name() -> None:
    drawn = build(replace(FACTS, records={"a.b.payment": 5, "a.b._payment_gho": 9}))
    assert node(drawn, "payment").counts == {"records": 5}
    drawn = build(replace(FACTS, records={"a.b.old_payment": 5}))
    assert node(drawn, "payment").detail == "no such topic yet"


def test_every_process_that_folds_is_shown_and_which_of_them_this_one_is() -> None:
    drawn = build(FACTS)
    assert drawn.group == GROUP
    assert drawn.member == "member-1"


def test_a_process_that_folds_nothing_shows_who_does() -> None:
    drawn = build(replace(FACTS, actors=None))
    assert (drawn.problems, drawn.shards, drawn.member, drawn.group) == ([], [], "", GROUP)
    assert node(drawn, "actors").detail == "in other processes"
    assert node(drawn, "actors").counts == {"to fold": 23}


@pytest.mark.parametrize("actors", [None, HOST])
def test_shards_that_nobody_has_are_a_problem(actors: HostStatus | None) -> None:
    facts = replace(FACTS, actors=actors, group=replace(GROUP, members=GROUP.members[:1]))
    assert build(facts).problems == ["Order actors: no process has shard 2"]


def test_a_group_without_a_member_says_what_to_start() -> None:
    drawn = build(replace(FACTS, actors=None, group=replace(GROUP, state="Empty", members=[])))
    assert drawn.problems == ["Order actors: no process folds: start one with `snacks serve`"]


def test_shards_that_are_being_handed_over_are_no_problem() -> None:
    group = replace(GROUP, state="PreparingRebalance", members=[])
    assert build(replace(FACTS, actors=None, group=group)).problems == []


def test_a_group_that_is_not_told_of_hides_nothing_of_this_process() -> None:
    drawn = build(replace(FACTS, group=AWAY))
    assert (drawn.problems, drawn.shards, drawn.group) == ([], SHARDS, None)
    drawn = build(replace(FACTS, actors=None, group=AWAY))
    assert (node(drawn, "actors").health, node(drawn, "actors").detail) == (
        "unknown",
        "OSError: connection refused",
    )


def test_no_card_number_shows_in_a_reason() -> None:
    drawn = build(replace(FACTS, rows=OSError("4242 4242 4242 4242"), connector="FAILED 4242424242424242"))
    assert not re.search(r"4242\W?4242", " ".join(drawn.problems))


def client(**asks: Any) -> AsyncTestClient[Litestar]:
    async def rows() -> dict[str, int]:
        return ROWS

    async def connector() -> str:
        return "RUNNING"

    async def records() -> dict[str, int]:
        return RECORDS

    async def orders() -> dict[str, int]:
        return {"PAID": 3}

    async def group() -> GroupStatus:
        return GROUP

    async def flink() -> None:
        return None

    given = {
        "rows": rows,
        "connector": connector,
        "records": records,
        "orders": orders,
        "group": group,
        "flink": flink,
    } | asks
    observer = Observer(**given, role="all", actors=lambda: HOST, feed=lambda: FACTS.feed)
    dependencies = {"observer": Provide(lambda: observer, sync_to_thread=False)}
    return AsyncTestClient(Litestar([topology.router, pages.router, pages.static], dependencies=dependencies))


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
async def test_programs_get_json(accept: str) -> None:
    async with client() as http:
        response = await http.get("/api/topology", headers={"Accept": accept})
    assert response.json()["problems"] == []
    assert response.json()["shards"][0]["deadLetters"] == 0


async def test_browsers_get_a_page_and_json_if_they_ask_for_it() -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with client() as http:
        page = await http.get("/api/topology", headers=browser)
        asked = await http.get("/api/topology?format=json", headers=browser)
        script = await http.get("/static/topology.js")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert asked.headers["content-type"] == "application/json"
    assert "/static/topology.js" in page.text
    assert script.status_code == 200


async def test_another_format_is_refused() -> None:
    async with client() as http:
        response = await http.get("/api/topology?format=xml")
    assert response.status_code == 400
    assert "json or html" in response.text


async def test_a_server_that_fails_or_is_silent_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail() -> dict[str, int]:
        raise AWAY

    async def never() -> dict[str, int]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(topology, "TIMEOUT", 0.05)
    async with client(rows=fail, orders=never) as http:
        answer = (await http.get("/api/topology")).json()
    assert answer["problems"] == [
        "Commands: need MySQL",
        "MySQL: OSError: connection refused",
        "MongoDB: no answer within 0.05 s",
        "Queries: need MongoDB",
    ]
    assert next(one for one in answer["nodes"] if one["id"] == "payment")["counts"] == {"records": 7}


def test_the_flink_engine_stands_where_the_actors_would_and_keeps_no_topics_of_theirs() -> None:
    drawn = build(replace(FACTS, actors=None, flink=FLINK))
    assert (node(drawn, "actors").title, node(drawn, "actors").health) == ("Flink SQL", "ok")
    assert {edge.target for edge in drawn.edges if edge.source == "actors"} == {"mongodb", "aggregates"}
    failed = build(replace(FACTS, flink=replace(FLINK, problem="the Flink job: FAILED: java.lang.Boom")))
    assert "Flink SQL: the Flink job: FAILED: java.lang.Boom" in failed.problems
    assert node(build(replace(FACTS, flink=AWAY)), "actors").health == "trouble"
