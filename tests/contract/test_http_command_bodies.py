"""Bodies that the command side must refuse: fields out of their limits, and bytes that are no command."""

import json
from collections.abc import AsyncIterator

import pytest
from tests.commanding import (
    ITEM,
    JSON,
    NOTHING,
    PAYMENT,
    PLACE,
    bring,
    message_of,
    rows,
    send,
)

# ── fields out of their limits ───────────────────────────────────────────────────────────────────

MONEY = "money below 1,000,000,000: a number or a decimal string with at most two decimal places"
PRICES = [
    '"NaN"', '"Infinity"', '"-Infinity"', '"1E+999999"', "0.005", '"0.005"', "1e400", "1E+999999", "-0.01",
    "0", "-0", "0.00", '"0"', '"0x1"', "1000000000", '"1000000000"', "999999999.995", '"1_000"', '"1e2"',
    '" 1"', '"1 "', '"+1"', '".5"', '"5."', '"\\u0661"', '"\\uff11"', '""', "true", "null", "[]", "{}",
    "1e1000000", "-1e1000000", "1e-1000000", "1e99999999999999999999", "1e-99999999999999999999",
    "1.001", '"1.001"', '"1.000"', "1e-3", "9" * 26, "12345678901234567890.5",
    f'"{"9" * 60_000}"', "9" * 60_000, f"0.{'0' * 60_000}1",
]  # fmt: skip
QUANTITIES = '0 -1 1.0 1.5 1e0 "1" true null 2147483648 9223372036854775808 99999999999999999999999 [1]'


@pytest.mark.parametrize("price", PRICES, ids=lambda price: price[:30])
async def test_a_price_that_is_not_positive_money_is_refused_by_name(client, database, order_id, price):
    good = json.dumps(ITEM)
    body = (
        f'{{"orderId":"$id","items":[{good},{{"itemId":"2","itemName":"x","price":{price},"quantity":1}}]}}'
    )
    answer = await send(client, "POST item-details", body, order_id)
    assert (answer.status_code, message_of(answer)) == (400, f"price of item 2 must be positive {MONEY}")
    assert await rows(database, order_id) == NOTHING


@pytest.mark.parametrize("quantity", QUANTITIES.split())
async def test_a_quantity_is_a_positive_whole_number(client, database, order_id, quantity):
    item = f'{{"itemId":"1","itemName":"x","price":1,"quantity":{quantity}}}'
    answer = await send(client, "POST item-details", f'{{"orderId":"$id","items":[{item}]}}', order_id)
    rule = "quantity of item 1 must be a whole number from 1 to 2147483647"
    assert (answer.status_code, message_of(answer)) == (400, rule)
    assert await rows(database, order_id) == NOTHING


@pytest.mark.parametrize("amount", ['"NaN"', "1e400", "0.005", '"1E2"', "true", "null", "1000000000"])
async def test_an_amount_that_is_not_money_is_refused_by_name(client, order_id, amount):
    await bring(client, order_id, "order")
    body = json.dumps({"orderId": order_id, **PAYMENT, "amount": "AMOUNT"}).replace('"AMOUNT"', amount)
    answer = await send(client, "POST payment", body)
    assert (answer.status_code, message_of(answer)) == (400, f"amount must be {MONEY}")


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        ("POST item-details itemId", 64),
        ("POST item-details itemName", 255),
        ("POST shipping-location customerName", 255),
        ("POST shipping-location customerAddress", 255),
        ("POST shipping-location zipCode", 32),
        ("POST payment paymentType", 64),
        ("POST payment creditCardType", 64),
    ],
)
async def test_text_may_be_as_long_as_its_column_and_no_longer(client, database, order_id, command, limit):
    request, field = command.rsplit(" ", 1)
    creates = "item-details" in request
    if not creates:
        await bring(client, order_id, "order")
    before = await rows(database, order_id)
    for length, status in ((limit + 1, 400), (limit, 200)):
        given = {**ITEM, **PLACE, **PAYMENT, field: "🍭" * length}
        answer = await send(client, request, {"items": [given]} if creates else given, order_id)
        assert answer.status_code == status, answer.text
        if status == 400:
            assert field in message_of(answer)
            assert await rows(database, order_id) == before
    assert await rows(database, order_id) != before


@pytest.mark.parametrize(
    "third", [{"quantity": 0}, {"itemId": "1"}, {"itemName": "n" * 300}, {"price": 0}, {"itemStatus": "PAID"}]
)
async def test_no_half_an_order_is_written(client, database, order_id, third):
    items = [ITEM, {**ITEM, "itemId": "2"}, {**ITEM, "itemId": "3", **third}]
    answer = await send(client, "POST item-details", {"items": items}, order_id)
    assert answer.status_code == 400
    assert "of item 3" in message_of(answer)
    assert await rows(database, order_id) == NOTHING


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────

GOOD = json.dumps({"orderId": "$id", "items": [ITEM]})
ITEMS = b'"items":[{"itemId":"1","itemName":"x","price":1,"quantity":1}]'
BODIES: dict[str, bytes] = {
    "empty": b"",
    "space": b" ",
    "not JSON": b"not json",
    "bytes": b"\x00\xff\xfe",
    "cut": GOOD.encode()[:-1],
    "more behind it": GOOD.encode() + b"{}",
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "text": b'"x"',
    "byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "invalid UTF-8": b'{"items":[{"itemId":"1","itemName":"\xff","price":1,"quantity":1}]}',
    "overlong UTF-8": b'{"items":[{"itemId":"1","itemName":"\xc0\xaf","price":1,"quantity":1}]}',
    "surrogate as UTF-8": b'{"items":[{"itemId":"1","itemName":"\xed\xa0\x80","price":1,"quantity":1}]}',
    "lone surrogate": b'{"items":[{"itemId":"1","itemName":"\\ud800","price":1,"quantity":1}]}',
    "lone surrogate as id": b'{"orderId":"\\udc00",' + ITEMS + b"}",
    "NaN": b'{"items":[{"itemId":"1","itemName":"x","price":NaN,"quantity":1}]}',
    "Infinity": b"{" + ITEMS + b',"x":Infinity}',
    "a bare control character": b'{"items":[{"itemId":"1","itemName":"a\nb","price":1,"quantity":1}]}',
    "a field twice": b'{"orderId":"a","orderId":"b",' + ITEMS + b"}",
    "a field twice, escaped": b'{"orderId":"a","order\\u0049d":"b",' + ITEMS + b"}",
    "an unknown field twice": b'{"x":1,"x":2,' + ITEMS + b"}",
    "nested": b'{"x":[[[[[[[[]]]]]]]],' + ITEMS + b"}",
    "deep lists": b"[" * 60_000,
    "deep objects": b'{"a":' * 12_000,
    "deep in an unknown field": b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "open quotes": b'{"x":"' + b'\\"' * 32_000,
    "quotes": b'"' * 65_000,
    "a comment": b'/**/{"items":[]}',
    "orderId a number": b'{"orderId":5,' + ITEMS + b"}",
    "orderId a list": b'{"orderId":[],' + ITEMS + b"}",
}


@pytest.mark.parametrize(
    "request_", ["POST item-details", "PUT item-details", "POST payment", "POST shipping-location"]
)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_an_odd_body_is_refused(client, request_, body):
    answer = await send(client, request_, body)
    assert answer.status_code == 400
    assert message_of(answer)


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/msgpack", "application/jsonx", "application/problem+json", "a" * 5000, ";;;", "\xe9"],
)  # fmt: skip
async def test_only_json_is_accepted(client, database, order_id, content_type):
    headers = {} if content_type is None else {"content-type": content_type.encode("latin-1")}
    answer = await client.post(
        "item-details", content=GOOD.replace("$id", order_id).encode(), headers=headers
    )
    assert (answer.status_code, message_of(answer)) == (415, "the content type must be application/json")
    assert await rows(database, order_id) == NOTHING


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON ;x"])
async def test_parameters_and_case_of_the_content_type_do_not_matter(client, order_id, content_type):
    body = GOOD.replace("$id", order_id).encode()
    answer = await client.post("item-details", content=body, headers={"content-type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_may_have_64_kib_and_no_more(client, database, order_id, chunked):
    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    good = GOOD.replace("$id", order_id).encode()
    for size, status in ((64 * 1024 + 1, 413), (11_000_000, 413), (64 * 1024, 200)):
        body = good + b" " * (size - len(good))
        content = chunks(body) if chunked else body
        answer = await client.post("item-details", content=content, headers=JSON)
        assert answer.status_code == status
        if status != 200:
            assert message_of(answer) == "Request Entity Too Large"
            assert await rows(database, order_id) == NOTHING


async def test_a_path_that_is_not_there_and_a_wrong_method_have_the_same_shape(client):
    assert message_of(missing := await client.get("nothing"))
    assert message_of(wrong := await client.delete("payment"))
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert wrong.headers["allow"]
