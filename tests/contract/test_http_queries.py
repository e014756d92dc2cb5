"""The queries as an HTTP client meets them: a real server over a real MongoDB."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from litestar import Litestar
from litestar.di import Provide
from msgspec.structs import replace
from pymongo.errors import ServerSelectionTimeoutError

from snacks.config import Settings
from snacks.documents import Documents, Emission
from snacks.domain.order import decode_order
from snacks.domain.values import OrderStatus
from snacks.http import errors, openapi, pages, queries

ORDER = (
    b'{"orderId":"kit-1","orderStatus":"PAID","modifiedDate":"2026-01-01T00:00:00","items":[{"itemId":"1",'
    b'"itemName":"Apple Rings","itemStatus":"REQUESTED","price":{"price":1.20,"currency":"USD"},'
    b'"quantity":2}],"shippingLocation":{"customerName":"Ada K","customerAddress":"9 Quay St","zipCode":'
    b'"00501","geoLocation":{"latitude":1.5,"longitude":-2.5}},"payment":{"paymentType":"CREDIT",'
    b'"creditCardType":"Visa","creditCardNumber":"****-****-****-4242","amount":{"amount":2.40,"currency":"USD"}}}'
)
Opened = tuple[Documents, httpx.AsyncClient]
ODD_IDS = [
    "a.b", "$a", "a/b", "a%2Fb", "..", ".", "?status=PAID", "#1", "a b", "a+b", "a;b", "a//b", "a/", "/a",
    "/", "ключ", "kit-🍭", "caf\u00e9", "cafe\u0301", "snickers-promotion/", "SNICKERS-PROMOTION", "1" * 64,
]  # fmt: skip


def emission(order_id: str = "kit-1", **changes: Any) -> Emission:
    return Emission(order_id, 1, replace(decode_order(ORDER), order_id=order_id, **changes))


@asynccontextmanager
async def serving(documents: Documents) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a real server, since paths and cut connections are its business."""
    app = Litestar(
        [queries.router, pages.router, pages.static],
        plugins=[openapi.MoneySchema()],
        openapi_config=openapi.config(),
        dependencies={"documents": Provide(lambda: documents, sync_to_thread=False)},
        exception_handlers=errors.HANDLERS,
        logging_config=None,
    )
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, log_level="critical"))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.startup(sockets=[listening])
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, timeout=20, trust_env=False) as client:
            yield client
        await server.shutdown(sockets=[listening])


@pytest.fixture(scope="module")
async def opened(platform: object, settings: Settings) -> AsyncIterator[Opened]:
    async with Documents(settings.mongo, f"{settings.mongo_database}_queries") as documents:
        async with serving(documents) as client:
            yield documents, client
        await documents._client.drop_database(documents._database.name)


@pytest.fixture
async def documents(opened: Opened) -> Documents:
    await opened[0].model.get_pymongo_collection().delete_many({})
    return opened[0]


@pytest.fixture
async def http(documents: Documents, opened: Opened) -> httpx.AsyncClient:
    return opened[1]


async def test_an_order_is_answered_byte_for_byte_as_the_contract_says(
    documents: Documents, http: httpx.AsyncClient
) -> None:
    await documents.emit([emission()])
    answer = await http.get("/api/orders/kit-1")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == ORDER


async def test_an_unpaid_order_has_a_null_payment(documents: Documents, http: httpx.AsyncClient) -> None:
    await documents.emit([emission(payment=None, order_status=OrderStatus.PENDING)])
    assert (await http.get("/api/orders/kit-1")).json()["payment"] is None


async def test_money_stored_as_a_double_by_another_engine_is_answered_with_two_exact_digits(
    documents: Documents, http: httpx.AsyncClient
) -> None:
    stored = json.loads(ORDER)
    stored["items"][0]["price"]["price"] = 0.1 + 0.2
    await documents.model.get_pymongo_collection().insert_one({"_id": "kit-1", "customerOrder": stored})
    assert b'"price":{"price":0.30,' in (await http.get("/api/orders/kit-1")).content


async def test_an_unknown_order_is_404_with_a_message(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/orders/nobody")
    assert answer.status_code == 404
    assert answer.json()["message"] == "No order nobody"
    assert set(answer.json()) == {"timestamp", "message"}


async def test_a_deleted_order_is_404(documents: Documents, http: httpx.AsyncClient) -> None:
    await documents.emit([emission()])
    await documents.emit([Emission("kit-1", 2, None)])
    assert (await http.get("/api/orders/kit-1")).status_code == 404


@pytest.mark.parametrize("order_id", ODD_IDS)
async def test_an_order_with_an_odd_id_is_found_when_it_is_url_encoded(
    documents: Documents, http: httpx.AsyncClient, order_id: str
) -> None:
    await documents.emit([emission(order_id)])
    encoded = quote(order_id, safe="").replace(".", "%2E")
    answer = await http.get(f"/api/orders/{encoded}")
    assert answer.status_code == 200
    assert answer.json()["orderId"] == order_id


async def test_an_id_is_never_taken_for_a_similar_one(documents: Documents, http: httpx.AsyncClient) -> None:
    await documents.emit([emission("a"), emission("a/b"), emission("caf\u00e9")])
    for other in ("A", "a%20", "a%2F", "%2Fa", "a%252Fb", "cafe%CC%81", "a%00"):
        assert (await http.get(f"/api/orders/{other}")).status_code == 404, other


async def test_an_id_that_is_not_utf_8_is_unknown(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/orders/%FF%FE")).status_code == 404


async def test_an_id_that_looks_like_a_card_number_is_masked_in_the_message(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/orders/4242424242424242")
    assert answer.status_code == 404
    assert "42424242" not in answer.text


async def test_a_list_has_the_orders_of_one_status_oldest_change_first(
    documents: Documents, http: httpx.AsyncClient
) -> None:
    await documents.emit([
        emission("c", modified_date="2026-01-01T00:00:01"),
        emission("b", modified_date="2026-01-01T00:00:02"),
        emission("d", modified_date="2026-01-01T00:00:02"),
        emission("a", modified_date="2026-01-01T00:00:03"),
        emission("e", order_status=OrderStatus.SHIPPED),
    ])  # fmt: skip
    answer = await http.get("/api/orders", params={"status": "PAID"})
    assert answer.headers["content-type"] == "application/json"
    assert [order["orderId"] for order in answer.json()] == ["c", "b", "d", "a"]
    assert b'"amount":2.40' in answer.content


async def test_a_list_of_no_orders_is_an_empty_array(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/orders?status=FULFILLED")
    assert (answer.status_code, answer.json()) == (200, [])


async def test_a_long_list_is_sent_in_parts_and_is_whole(
    documents: Documents, http: httpx.AsyncClient
) -> None:
    await documents.emit([emission(f"kit-{number:04}") for number in range(2000)])
    sizes = []
    async with http.stream("GET", "/api/orders?status=PAID") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        body = b""
        async for part in answer.aiter_raw():
            sizes.append(len(part))
            body += part
    assert [order["orderId"] for order in json.loads(body)] == [f"kit-{number:04}" for number in range(2000)]
    assert len(sizes) > 3


@pytest.mark.parametrize("query", ["", "?status=", "?status=paid", "?status=LOST", "?state=PAID"])
async def test_a_list_without_a_status_of_ours_is_400_and_names_them(
    http: httpx.AsyncClient, query: str
) -> None:
    answer = await http.get(f"/api/orders{query}")
    assert answer.status_code == 400
    assert answer.json()["message"] == "status must be one of PENDING, PAID, FULFILLED, SHIPPED"


async def test_the_promotion_lists_snickers_paid_with_the_magical_visa(
    documents: Documents, http: httpx.AsyncClient
) -> None:
    order = decode_order(ORDER)
    items = [replace(order.items[0], item_name="Snickers")]
    assert order.payment
    paid = replace(order.payment, credit_card_type="Magical Visa")
    wishes = [emission(f"wish-{n:02}", items=items, payment=paid) for n in range(30)]
    await documents.emit([emission("other"), *wishes])
    answer = await http.get("/api/orders/snickers-promotion")
    assert [order["orderId"] for order in answer.json()] == [f"wish-{n:02}" for n in range(20)]


async def test_answers_are_not_kept_by_caches(documents: Documents, http: httpx.AsyncClient) -> None:
    await documents.emit([emission()])
    for path in ("/kit-1", "?status=PAID", "/snickers-promotion"):
        assert (await http.get(f"/api/orders{path}")).headers["cache-control"] == "no-store"


class Failing(Documents):
    """A MongoDB that fails after some orders."""

    def __init__(self, orders: int = 0) -> None:
        self.orders = orders

    async def get(self, order_id: str) -> Mapping[str, Any] | None:  # noqa: ARG002
        raise ServerSelectionTimeoutError("no primary at mongo:27017")

    async def promotion(self) -> list[Mapping[str, Any]]:
        raise ServerSelectionTimeoutError("no primary at mongo:27017")

    async def by_status(self, status: OrderStatus) -> AsyncGenerator[Mapping[str, Any]]:  # noqa: ARG002
        for _ in range(self.orders):
            yield json.loads(ORDER)
        raise ServerSelectionTimeoutError("no primary at mongo:27017")


@pytest.mark.parametrize("path", ["/kit-1", "?status=PAID", "/snickers-promotion"])
async def test_a_mongodb_that_is_away_is_503_and_says_when_to_come_again(path: str) -> None:
    async with serving(Failing()) as http:
        answer = await http.get(f"/api/orders{path}")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert set(answer.json()) == {"timestamp", "message"}
    assert "27017" not in answer.text


async def test_a_list_that_fails_midway_cuts_the_connection_and_never_looks_whole() -> None:
    body = bytearray()

    async def read(http: httpx.AsyncClient) -> None:
        async with http.stream("GET", "/api/orders?status=PAID") as answer:
            assert answer.status_code == 200
            async for part in answer.aiter_raw():
                body.extend(part)

    async with serving(Failing(orders=1000)) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await read(http)
    assert body
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


class Endless(Documents):
    """More orders than a client wants to read."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def by_status(self, status: OrderStatus) -> AsyncGenerator[Mapping[str, Any]]:  # noqa: ARG002
        try:
            while True:
                await asyncio.sleep(0)  # as a real cursor lets others run
                yield json.loads(ORDER)
        finally:
            self.closed.set()


async def test_a_client_that_hangs_up_ends_the_reading() -> None:
    documents = Endless()
    async with serving(documents) as http:
        async with http.stream("GET", "/api/orders?status=PAID") as answer:
            await anext(answer.aiter_raw())
        await asyncio.wait_for(documents.closed.wait(), 10)


async def test_the_schema_says_money_is_a_number_and_shows_no_inner_routes(http: httpx.AsyncClient) -> None:
    schema = (await http.get("/schema/openapi.json")).json()
    assert schema["components"]["schemas"]["Price"]["properties"]["price"]["type"] == "number"
    assert schema["components"]["schemas"]["Amount"]["properties"]["amount"]["type"] == "number"
    assert set(schema["paths"]) == {"/api/orders/{orderId}", "/api/orders", "/api/orders/snickers-promotion"}
    ok = schema["paths"]["/api/orders/{orderId}"]["get"]["responses"]["200"]["content"]["application/json"]
    assert ok["schema"] == {"$ref": "#/components/schemas/CustomerOrder"}
    assert {tag["name"] for tag in schema["tags"]} == {"Commands", "Queries", "Operations"}


@pytest.mark.parametrize("path", ["/schema", "/", "/static/topology.html"])
async def test_a_page_loads_nothing_from_another_host(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    assert "//" not in answer.text.replace("<!doctype", "")
