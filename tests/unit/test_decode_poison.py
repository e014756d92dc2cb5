"""Records that mean nothing are refused with their reason; and whatever comes, both lanes say the same."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cdc_records import DECIMAL, I1, KI, KS, NOW, ROW, envelope, raw, refusal, wrapped

from snacks.cdc import Undecodable, decode
from snacks.cdc.decode import careful


@pytest.mark.parametrize(
    "value",
    [b"not json", b"\x00\xff", b"[]", b"1", b"true", b'"x"', b"{}", b'{"schema":{}}', b'{"payload":{}}', b"{",
     b'{"foo":1}', b'{"op":"c","after":null}', b'{"op":null,"after":{}}', b'{"op":"x","after":{}}',
     b'{"op":"c","after":[],"before":1}', b'{"op":"c","source":1,"after":{}}', b'{"schema":', b'{"before":'],
)  # fmt: skip
def test_json_of_another_shape_is_refused(value):
    assert refusal(value)


@pytest.mark.parametrize("field", ["__source_ts_ms", "__source_pos"])
@pytest.mark.parametrize("value", [-1, 2**63, True, "1", 1.5, []])
def test_a_source_that_is_no_place_in_time_is_refused(field, value):
    assert refusal(I1 | {field: value}).startswith(field)


@pytest.mark.parametrize("body", [I1, wrapped(I1), envelope("c", None, I1)])
def test_a30_an_id_given_twice_is_refused(body):
    twice = (raw(body) or b"").replace(b'"order_id":"kit-1"', b'"order_id":"kit-2","order_id":"kit-1"')
    assert "order_id: given more than once" in refusal(twice)


def test_an_update_that_changes_the_primary_key_in_place_is_refused():
    assert "different rows" in refusal(envelope("u", I1 | {"item_id": "2"}, I1), KS)


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 100_000,
        b'{"x":' * 100_000,
        b'{"payload":' * 100_000,
        b'{"schema":{"fields":' + b"[" * 100_000,
        raw(I1 | {"item_name": "n" * 1_500_000}),
        raw(wrapped(I1 | {"item_name": "\\" * 700_000})),
        raw(I1 | {"quantity": 10**4000}),
    ],
)
@pytest.mark.timeout(30)
def test_a30_depth_and_size_are_refused(value):
    assert len(refusal(value)) < 300


def test_a30_a_text_too_long_is_refused_with_its_size():
    assert "1500000 characters" in refusal(I1 | {"item_name": "n" * 1_500_000})


@given(st.sampled_from(list(ROW)), st.none() | st.binary(), st.binary(), st.integers(-(2**63), 2**63 - 1))
def test_bytes_of_any_kind_are_a_change_nothing_or_undecodable(table, key, value, at):
    with suppress(Undecodable):
        decode(table, key, value, at)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
odd = (
    st.sampled_from(
        ["1.25", "fQ==", "1234", "1", "SHIPPED", "USD", "true", "__debezium_unavailable_value", 0, 1, 2.0]
    )
    | json_values
)


@st.composite
def records(draw):
    """A record of any legal shape, with a few of its values replaced by odd ones."""
    table = draw(st.sampled_from(list(ROW)))
    row = dict(ROW[table])
    for column in draw(st.lists(st.sampled_from(list(row)), max_size=2)):
        row[column] = draw(odd)
    for column in draw(st.lists(st.sampled_from([c for c in row if c not in KI]), max_size=1)):
        del row[column]
    shape = draw(st.sampled_from(["flat", "rewritten", "envelope"]))
    value: Any = row
    if shape == "rewritten":
        marks = {"__deleted": "false", "__op": "u", "__source_ts_ms": NOW, "__source_file": "binlog.000009"}
        value = row | marks | {"__source_pos": draw(st.integers(0, 10**10))}
        for mark in draw(st.lists(st.sampled_from(list(marks)), max_size=1)):
            value[mark] = draw(odd)
    elif shape == "envelope":
        before = draw(st.sampled_from([None, ROW[table], row]))
        value = envelope(draw(st.sampled_from("rcudtx")), before, draw(st.sampled_from([row, row, None])))
    names = [name for name in row if name in KI]
    key: Any = draw(st.sampled_from([None, KS, KI, {name: row[name] for name in names}]))
    if draw(st.booleans()):
        price = DECIMAL | {"field": draw(st.sampled_from(["price", "amount", "latitude"]))}
        inner = {"type": "struct", "field": "after", "fields": [price]}
        value = wrapped(value, inner if shape == "envelope" else price)
        key = key and wrapped(key)
    return table, raw(key), raw(value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records())
def test_both_lanes_say_the_same(record):
    def outcome(read: Any) -> Any:
        try:
            return read(*record, NOW)
        except Undecodable as refused:
            return str(refused)

    assert outcome(decode) == outcome(careful)
