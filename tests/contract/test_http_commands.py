"""The command side over HTTP, with its real handlers and a real MySQL: goldens, ids, card numbers."""

import json
import logging
import re
import tomllib
from pathlib import Path
from uuid import UUID

import pytest
from tests.commanding import (
    CARD,
    ITEM,
    NOTHING,
    PAYMENT,
    PLACE,
    bring,
    client_of,
    message_of,
    rows,
    send,
)

from snacks.http import errors
from snacks.tables import Tables

CASES = tomllib.loads(Path(__file__).with_name("http_commands.toml").read_text("utf-8"))["case"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["rule"].replace(" ", "-"))
async def test_the_contract_holds(client, database, order_id, case):
    await bring(client, order_id, case.get("given", ""))
    before = await rows(database, order_id)
    answer = await send(client, case["request"], case["body"], order_id)
    if "message" in case:
        assert (answer.status_code, message_of(answer)) == (400, case["message"])
        assert await rows(database, order_id) == before
    else:
        assert (answer.status_code, answer.text) == (200, case["answer"].replace("$id", order_id))
        assert answer.headers["content-type"] == "application/json"


# ── what is stored ───────────────────────────────────────────────────────────────────────────────


async def test_every_column_is_stored(client, database, order_id):
    await bring(client, order_id, "shipped")
    items, places, payments = await rows(database, order_id)
    assert [str(value) for value in items[0]] == [
        order_id, "1", "Apple Rings", "SHIPPED", "0.07", "USD", "3"
    ]  # fmt: skip
    assert places == ((order_id, "Ada", "9 Quay St", "1", 1.5, -2.5),)
    assert [str(value) for value in payments[0]] == [
        order_id, "CREDIT", "Visa", "****-****-****-1111", "0.21", "USD"
    ]  # fmt: skip


async def test_replacing_a_place_and_a_payment_leaves_one_row_of_each(client, database, order_id):
    await bring(client, order_id, "paid and placed")
    for request, body in (
        ("POST shipping-location", {**PLACE, "zipCode": "2"}),
        ("POST payment", {**PAYMENT, "creditCardType": "Magical Visa"}),
    ):
        assert (await send(client, request, body, order_id)).status_code == 200
    _, places, payments = await rows(database, order_id)
    assert [place[3] for place in places] == ["2"]
    assert [payment[2] for payment in payments] == ["Magical Visa"]


NAMES = [
    "O'Brien\\",
    "x'); DROP TABLE payment;-- ",
    "\\",
    '"',
    "%s %(a)s",
    "Ünïcorn 🦄",
    "cafe\u0301",
    "a\x00b",
]


@pytest.mark.parametrize("name", NAMES)
async def test_text_is_stored_as_it_is(client, database, order_id, name):
    place = {**PLACE, "customerName": name, "customerAddress": name, "zipCode": name}
    await bring(client, order_id, "order", {**ITEM, "itemName": name})
    answer = await send(client, "POST shipping-location", place, order_id)
    assert answer.json()["customerName"] == name
    items, places, _ = await rows(database, order_id)
    assert (items[0][2], places[0][1:4]) == (name, (name, name, name))


@pytest.mark.parametrize(
    ("item", "amount"),
    [
        ({"price": 0.07, "quantity": 3}, "0.21"),
        ({"price": 0.29, "quantity": 100}, "29.00"),
        ({"price": 0.1, "quantity": 3}, "0.3"),
        ({"price": 19.99, "quantity": 3}, '"59.97"'),
        ({"price": 999999999.99, "quantity": 1}, "999999999.99"),
    ],
)
async def test_the_right_amount_is_accepted_to_the_cent(client, order_id, item, amount):
    await bring(client, order_id, "order", {**ITEM, **item})
    body = json.dumps({"orderId": order_id, **PAYMENT, "amount": "AMOUNT"}).replace('"AMOUNT"', amount)
    answer = await send(client, "POST payment", body)
    assert answer.status_code == 200, answer.text


# ── order ids ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("given", ['"orderId":"",', '"orderId":null,', ""])
async def test_an_order_without_an_id_gets_a_new_one(client, database, given):
    answers = [
        await send(client, "POST item-details", f'{{{given}"items":[{json.dumps(ITEM)}]}}') for _ in "ab"
    ]
    one, other = (answer.json()["orderId"] for answer in answers)
    assert UUID(one) != UUID(other)
    assert len((await rows(database, one))[0]) == 1


@pytest.mark.parametrize(
    ("order_id", "message"),
    [
        ("   ", "orderId must not be blank"),
        ("x" * 65, "orderId must have at most 64 characters"),
        ("x" * 256, "orderId must have at most 64 characters"),
        ("a\u0000b", "orderId must not contain control characters"),
        ("a\tb", "orderId must not contain control characters"),
        ("@shard", "orderId must not begin with @"),
        ("snickers-promotion", "orderId snickers-promotion is reserved"),
        ("stream", "orderId stream is reserved"),
        ("stream/", "orderId stream/ is reserved"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("POST item-details", {"items": [ITEM]}),
        ("PUT item-details", {"itemStatus": "FULFILLED"}),
        ("POST shipping-location", PLACE),
        ("POST payment", PAYMENT),
    ],
)
async def test_an_id_that_cannot_be_one_is_refused_by_every_command(
    client, database, order_id, message, command
):
    request, body = command
    answer = await send(client, request, body, order_id)
    assert (answer.status_code, message_of(answer)) == (400, message)
    assert await rows(database, order_id) == NOTHING


async def test_odd_ids_are_their_own_orders(client, database, order_id):
    tail = order_id[-12:]
    ids = [f"kit-a{tail}", f"KIT-A{tail.upper()}", f"kit-a{tail} ", f" kit-a{tail}"]
    ids += [
        f"caf\u00e9-{tail}",
        f"cafe\u0301-{tail}",
        f"a.b{tail}",
        f"$a{tail}",
        f"a/b{tail}",
        f"a%2Fb{tail}",
    ]
    ids += [f"..{tail}", f"?status=PAID{tail}", f"ключ{tail}", f"🍭{tail}", "🍭" * 52 + tail]
    for one in ids:
        answer = await send(client, "POST item-details", {"items": [ITEM]}, one)
        assert (answer.status_code, answer.json()["orderId"]) == (200, one)
    for one in ids:
        assert [row[0] for row in (await rows(database, one))[0]] == [one]


# ── card numbers ─────────────────────────────────────────────────────────────────────────────────

PAN = "4242424242424242"
CARDS = {
    PAN: "4242",
    "4242 4242 4242 4242": "4242",
    "4242424242424242424": "2424",
    "378282246310005": "0005",
    "４２４２４２４２４２４２４２４２": "4242",  # noqa: RUF001  (full-width)
    "4242": "****",
    "12345": "****",
    "no digits": "****",
    "****-****-****-1111": "1111",
}


@pytest.mark.parametrize("number", CARDS)
async def test_at_most_the_last_four_digits_of_a_card_survive(client, database, order_id, number):
    await bring(client, order_id, "order")
    answer = await send(client, "POST payment", {**PAYMENT, "creditCardNumber": number}, order_id)
    mask = f"****-****-****-{CARDS[number]}"
    assert answer.json()["creditCardNumber"] == mask
    assert (await rows(database, order_id))[2][0][3] == mask


async def test_a_card_number_shows_nowhere_whatever_fails(client, settings, order_id, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    pay = {"orderId": order_id, **PAYMENT, "creditCardNumber": PAN}
    away = Tables(settings)  # never opened: MySQL is as good as down
    answers = [await send(client, "POST payment", pay)]  # no such order
    await bring(client, order_id, "order")
    for odd in (
        {"amount": 1},
        {"creditCardNumber": int(PAN)},
        {"creditCardNumber": [PAN]},
        {"creditCardNumber": PAN * 5},
        {"paymentType": PAN * 5},
        {"amount": PAN},
        {"amount": int(PAN)},
        {"orderId": PAN * 5},
        {PAN: {PAN: {PAN: {PAN: PAN}}}},
        {},
    ):
        answers += [await send(client, "POST payment", {**pay, **odd})]
    answers.append(await send(client, "POST payment", json.dumps(pay)[:-1]))
    answers.append(await send(client, "PUT item-details", {"itemStatus": PAN}, order_id))
    answers.append(await send(client, "POST payment", pay, headers={"content-type": PAN}))
    async with client_of(away) as nobody:
        answers.append(await send(nobody, "POST payment", pay))
    assert {answer.status_code for answer in answers} == {200, 400, 415, 503}
    seen = "".join(answer.text for answer in answers) + caplog.text + "".join(capfd.readouterr())
    assert "".join(seen.split()).count(PAN) == 0


# ── MySQL away, defects, documents ───────────────────────────────────────────────────────────────


async def test_without_mysql_a_command_is_told_to_come_again(settings):
    async with client_of(Tables(settings)) as nobody:
        answer = await send(nobody, "POST item-details", {"items": [ITEM]})
    assert (answer.status_code, message_of(answer)) == (503, errors.AWAY)
    assert answer.headers["retry-after"] == "2"


async def test_a_defect_is_a_plain_500_that_tells_nothing(capfd):
    class Broken:
        async def execute(self, command: object) -> None:
            raise ZeroDivisionError(f"secret {command}")

    async with client_of(Broken()) as broken:
        answer = await send(broken, "POST payment", PAYMENT, "a")
    assert (answer.status_code, message_of(answer)) == (500, errors.UNEXPECTED)
    assert CARD not in "".join(capfd.readouterr())


async def test_the_openapi_document_shows_each_command_with_its_examples_and_errors(client):
    document = (await client.get("http://test/schema/openapi.json")).json()
    operations = {"createOrder", "setStatus", "shipTo", "pay"}
    found = {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for operation in path.values()
        if operation["operationId"] in operations
    }
    assert set(found) == operations
    for operation in found.values():
        assert operation["summary"]
        body = operation["requestBody"]["content"]["application/json"]
        assert body["examples"]
        assert body["schema"]["properties"]["orderId"]["description"]
        assert set(operation["responses"]) == {"200", "400", "403", "413", "415", "503"}
        for answer in operation["responses"].values():
            assert answer["content"]["application/json"]["examples"]
    schemas = document["components"]["schemas"]
    assert schemas["StoredOrder"]["properties"]["totalPrice"]["type"] == "number"
    assert schemas["StoredPayment"]["properties"]["amount"]["type"] == "number"
    text = json.dumps(document)
    assert not re.search(r"\b[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}\b", text)
