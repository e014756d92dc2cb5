"""Dead letters and explained orders as an HTTP client meets them, over a real broker, MySQL and MongoDB."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.di import Provide
from tests.folding import POISON, actors, fold_until, listed, produce, total
from tests.given import EPOCH, item, payment, place, value
from tests.sql import sql
from tests.waiting import until

from snacks.config import Settings
from snacks.documents import Documents
from snacks.explain import explain as explained
from snacks.http import errors, explain, letters, openapi, pages
from snacks.letters import Letters
from snacks.tables import Tables

ID = "item_detail-0-0"


def _given(part: Any) -> Provide:
    return Provide(lambda: part, sync_to_thread=False)


@pytest.fixture
async def http(given: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with Documents(given.mongo, given.mongo_database) as documents:
        read = Letters(given)
        parts = {
            "letters": read,
            "letter_counts": letters.LetterCounts(read, keep=0.0),
            "explainer": explain.Explainer(given, documents, read),
        }
        app = Litestar(
            [letters.router, explain.router, pages.router, pages.static],
            plugins=[openapi.MoneySchema()],
            openapi_config=openapi.config(),
            dependencies={name: _given(part) for name, part in parts.items()},
            exception_handlers=errors.HANDLERS,
            logging_config=None,
        )
        asgi: Any = app  # typed more narrowly than httpx asks for
        transport = httpx.ASGITransport(asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            yield client


async def test_letters_are_listed_counted_shown_and_dropped(given: Settings, http: httpx.AsyncClient) -> None:
    await produce(given, *[POISON] * 3, (POISON[0], None, b"[]"))
    await fold_until(given, dead_letters=4)
    await listed(given, 4)
    assert (await http.get("/api/dead-letters/counts")).json() == {
        "total": 4,
        "reasons": {"not-json": 3, "not-an-object": 1},
    }
    shown = (await http.get("/api/dead-letters", params={"reason": "not-json", "limit": 2})).json()
    assert [one["id"] for one in shown] == ["item_detail-0-2", "item_detail-0-1"]
    one = (await http.get(f"/api/dead-letters/{ID}")).json()
    assert one["status"] == "open"
    assert one["letter"]["orderId"] == "kit-1"
    assert one["letter"]["masked"] == ["value"]
    assert (await http.delete(f"/api/dead-letters/{ID}")).json()["status"] == "dropped"
    assert (await http.get("/api/dead-letters/counts")).json()["total"] == 3
    assert len((await http.get("/api/dead-letters")).json()) == 3
    assert len((await http.get("/api/dead-letters", params={"closed": True})).json()) == 4


async def test_what_is_left_out_of_a_list_that_is_too_large_is_had_by_its_id(
    given: Settings, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await produce(given, *[POISON] * 3)
    await fold_until(given, dead_letters=3)
    await listed(given, 3)
    one = (await http.get(f"/api/dead-letters/{ID}")).json()
    size = len(one["letter"]["key"]) + len(one["letter"]["value"])
    monkeypatch.setattr("snacks.letters.store.LONGEST_LIST", 2 * size)
    shown = (await http.get("/api/dead-letters")).json()
    assert [(one["id"][-1], one["omitted"]) for one in shown] == [("2", False), ("1", False), ("0", True)]
    assert (shown[2]["letter"]["key"], shown[2]["letter"]["value"]) == (None, None)
    assert (await http.get(f"/api/dead-letters/{ID}")).json() == one


async def test_a_replayed_letter_is_folded(given: Settings, http: httpx.AsyncClient) -> None:
    await produce(given, value(item(item_status="EATEN")), value(place()))
    async with actors(given) as host:
        await until(lambda: total(host, "dead_letters") == 1)
        await listed(given, 1)
        body = (await http.get(f"/api/dead-letters/{ID}")).json()["letter"]["value"]
        edited = {"value": body.replace("EATEN", "REQUESTED")}
        answer = await http.post(f"/api/dead-letters/{ID}/replay", json=edited)
        assert (answer.status_code, answer.json()["status"]) == (200, "replayed")
        await until(lambda: total(host, "folded") == 2)


async def test_a_letter_that_is_not_there_and_a_question_that_is_none(http: httpx.AsyncClient) -> None:
    for method, path in (("GET", ""), ("POST", "/replay"), ("DELETE", "")):
        answer = await http.request(method, f"/api/dead-letters/payment-0-7{path}")
        assert answer.status_code == 404
        assert answer.json()["message"] == "there is no dead letter payment-0-7"
    assert (await http.get("/api/dead-letters/payment")).status_code == 404
    assert (await http.get("/api/dead-letters", params={"limit": 0})).status_code == 400
    assert (await http.post(f"/api/dead-letters/{ID}/replay", json={"values": "x"})).status_code == 400


async def test_a_letter_without_its_key_is_a_conflict(given: Settings, http: httpx.AsyncClient) -> None:
    await produce(given, (POISON[0], b"4929381332664295", b"x"))
    await fold_until(given, dead_letters=1)
    await listed(given, 1)
    answer = await http.post(f"/api/dead-letters/{ID}/replay")
    assert answer.status_code == 409
    assert "give the key" in answer.json()["message"]


async def test_without_a_broker_it_is_503_and_says_when_to_come_again(given: Settings) -> None:
    away = Letters(msgspec.structs.replace(given, kafka_bootstrap="127.0.0.1:9"))
    app = Litestar(
        [letters.router],
        dependencies={"letters": _given(away), "letter_counts": _given(letters.LetterCounts(away))},
        exception_handlers=errors.HANDLERS,
        logging_config=None,
    )
    asgi: Any = app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://test") as client:
        answer = await client.get("/api/dead-letters")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"


# ── explain ───────────────────────────────────────────────────────────────────────────────────────


async def rows(settings: Settings, order_id: str) -> None:
    """The rows of `item(quantity=3, item_status=FULFILLED)` and `place()`, in MySQL."""
    tables = Tables(settings)
    await tables.open()
    await tables.close()
    await sql(settings, "DELETE FROM item_detail WHERE order_id = %s", order_id)
    item = "REPLACE INTO item_detail VALUES (%s, '1', 'Apple Rings', 'FULFILLED', 1.25, 'USD', 3)"
    await sql(settings, item, order_id)
    place = "REPLACE INTO shipping_location VALUES (%s, 'Ada K', '9 Quay St', '00501', 1.5, -2.5)"
    await sql(settings, place, order_id)


async def test_an_order_is_explained_with_what_each_record_did_and_that_all_agrees(
    given: Settings, http: httpx.AsyncClient
) -> None:
    order = "kit/1 é"
    await rows(given, order)
    first = value(item(order), at=EPOCH, position=10)
    newer = value(item(order, quantity=3, item_status="FULFILLED"), at=EPOCH + 5, position=50)
    older = value(item(order, quantity=7), at=EPOCH + 1, position=20)
    back = value(item(order, quantity=9), at=EPOCH + 9, position=90)
    bad = value(item(order, item_status="EATEN"), at=EPOCH + 10, position=99)
    records = (first, newer, newer, older, back, bad, value(place(order)), value(item("kit-2")))
    await produce(given, *records, partition=4)
    async with actors(given) as host:
        await until(lambda: total(host, "folded") + total(host, "repeated") == 7)
        await listed(given, 1)
    found = (await http.get(f"/api/explain/{quote(order, safe='')}")).json()
    assert [one["did"] for one in found["records"]] == [
        "folded", "folded", "repeated", "older", "stepped back", "set aside", "folded",
    ]  # fmt: skip
    assert found["partitions"] == [4]
    assert found["rows"]["item_detail"]["1"]["quantity"] == 3
    assert found["rows"]["item_detail"]["1"]["price"] == 1.25
    assert found["published"]["headers"]["revision"] == str(found["state"]["revision"])
    assert found["stored"]["revision"] == found["state"]["revision"]
    assert [one["id"] for one in found["letters"]] == ["item_detail-4-5"]
    assert (found["problems"], found["agree"]) == ([], True), found["agreements"]


async def test_what_differs_is_named(given: Settings, http: httpx.AsyncClient) -> None:
    await rows(given, "kit-5")
    await produce(given, value(item("kit-5", quantity=2)), value(place("kit-5")), value(payment("kit-5")))
    await fold_until(given, folded=3)
    async with Documents(given.mongo, given.mongo_database) as documents:
        collection = documents.model.get_pymongo_collection()
        await collection.update_one({"_id": "kit-5"}, {"$set": {"customerOrder.orderStatus": "SHIPPED"}})
    found = (await http.get("/api/explain/kit-5")).json()
    assert found["agree"] is False
    differing = {one["what"]: one["detail"] for one in found["agreements"] if not one["ok"]}
    assert differing == {
        "MySQL and the actor's state": "they differ in items, orderStatus, payment",
        "the actor's state and MongoDB": "they differ in orderStatus",
    }


async def test_an_order_of_which_only_dead_letters_are_known_is_found(
    given: Settings, http: httpx.AsyncClient
) -> None:
    bad = value(item("kit-6", item_status="EATEN"))
    await produce(given, bad, partition=3)
    await fold_until(given, dead_letters=1)
    await listed(given, 1)
    found = (await http.get("/api/explain/kit-6")).json()
    assert (found["partitions"], found["state"], found["stored"]) == ([3], None, None)
    assert len(found["letters"]) == 1
    assert (await http.get("/api/explain/kit-7")).status_code == 404


async def test_what_cannot_be_read_is_said_and_the_rest_is_told(given: Settings) -> None:
    away = msgspec.structs.replace(given, mysql_port=9)
    async with Documents(given.mongo, given.mongo_database) as documents:
        found = await explained(away, "kit-1", documents, Letters(given))
    assert len(found.problems) == 1
    assert found.problems[0].startswith("MySQL")
    assert found.agree is None


async def test_the_page_loads_only_our_own_files(http: httpx.AsyncClient) -> None:
    for path in ("/explain", "/explain/kit%2F1"):
        answer = await http.get(path)
        assert answer.status_code == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text
    assert (await http.get("/static/explain.js")).status_code == 200
    paths = (await http.get("/schema/openapi.json")).json()["paths"]
    assert {"/api/dead-letters", "/api/explain/{orderId}"} <= set(paths)
    assert "EATEN" not in json.dumps(paths)
