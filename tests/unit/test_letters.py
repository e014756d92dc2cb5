"""Dead letters: card numbers hidden wherever they hide, reason codes, cutting, sending again."""

import base64
import html
import json
import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.given import EPOCH, PREFIX, Log

from snacks.actors.dead_letters import LONGEST_VALUE, DeadLetter, code_of, dead_letter
from snacks.cdc import Undecodable, decode
from snacks.domain.cards import WITHHELD, conceal
from snacks.letters.sending import NoSuchLetter, NotReplayable, id_of, identity, sendable

CARD = "4929381332664295"
MASKED = "****-****-****-4295"
TOPIC = f"{PREFIX}payment"


def escaped(text: str, form: str = "\\u{:04x}") -> str:
    return "".join(form.format(ord(char)) for char in text)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WIDE = "".join(chr(0xFF10 + int(digit)) for digit in CARD)
ARABIC = "".join(chr(0x0660 + int(digit)) for digit in CARD)


@pytest.mark.parametrize(
    "hidden",
    [
        CARD,
        "4929-3813-3266-4295",
        "4929 3813 3266 4295",
        "4929  3813\t3266\n4295",
        "4929.3813.3266.4295",
        "4929\u00a03813\u20113266\u20144295",
        "\u200b".join(CARD),
        WIDE,
        ARABIC,
        escaped(CARD),
        escaped(WIDE),
        escaped(CARD).replace("\\", "\\\\"),
        escaped(CARD).replace("\\", "\\\\\\\\"),
        "4929" + escaped("3813") + "32664295",
        "4929\\u002d3813\\u00203266\\n4295",
        escaped(CARD, "%{:02x}"),
        escaped(CARD, "&#{};"),
        escaped(CARD, "&#x{:x};"),
        "\x00".join(CARD),
        f"{CARD}.00",
    ],
)
def test_a_card_number_is_hidden_in_every_form_of_its_digits(hidden: str) -> None:
    for around in ("{}", "card {} paid", '{{"x":"{}"}}', '{{"{}":1}}'):
        shown = conceal(around.format(hidden))
        assert shown.count("4295") == 1
        assert MASKED in shown
        assert "4929" not in shown
        assert conceal(shown) == shown


def test_numbers_stay_json_and_are_hidden_also_as_floats_and_in_nested_json() -> None:
    card = int(CARD)
    for value in ([card], [1, card, 2], {"a": {"b": card}}):
        assert MASKED in str(json.loads(conceal(json.dumps(value))))
    nested = json.dumps({"p": json.dumps({"q": json.dumps({"n": card})})})
    inner = json.loads(json.loads(json.loads(conceal(nested))["p"])["q"])
    assert inner == {"n": MASKED}
    assert json.loads(conceal('{"n": 4.929381332664295E15}')) == {"n": MASKED}


@pytest.mark.parametrize("hidden", [CARD, f"card {CARD}", f"\x00\x01{CARD}\xff", escaped(CARD), WIDE])
def test_base64_is_opened_masked_and_closed_again(hidden: str) -> None:
    for layers in (1, 2, 3):
        text = hidden
        for _ in range(layers):
            text = encoded(text)
        shown = conceal(f'{{"x":"{text}"}}')
        for _ in range(layers):
            assert CARD not in shown
            shown = base64.b64decode(shown.removeprefix('{"x":"').removesuffix('"}')).decode(
                "utf-8", "replace"
            )
        assert "4295" in shown
        assert "492938" not in shown


def test_what_cannot_be_cut_out_withholds_everything() -> None:
    assert conceal(base64.encodebytes(b"y" * 52 + CARD.encode()).decode()) == WITHHELD
    assert conceal(html.escape("&")) != WITHHELD


@pytest.mark.parametrize(
    "innocent",
    [
        '{"__source_ts_ms":1767225600000,"micros":1767225600123456}',
        "8f14e45f-ceea-467f-8d2c-4d0f2b1a9c33",
        "11111111-1111-1111-1111-111111111111",
        "1.2500000000000002",
        '"latitude":44.9374829167,"longitude":-93.1893875758',
        "2026-01-01T00:00:00.000000Z",
        MASKED,
        "fQ==",
        "binlog.000001",
        TOPIC,
        "5000000000000000.0E-3",
    ],
)
def test_other_numbers_are_left_alone(innocent: str) -> None:
    assert conceal(innocent) == innocent or "5000" in innocent


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_whole_card_number_survives_wherever_it_stands(before: str, after: str) -> None:
    assume(not re.search(r"\d\.\d*$", before))  # digits behind a decimal point are a fraction's
    assert CARD not in conceal(before + CARD + after)


@pytest.mark.parametrize(
    "unit", ["a", "1", " ", "\\", "1 ", "\\u0031", "%3", "MTEx", "1.1 ", "4e", '"\\', "aaaaaaaa-"]
)
def test_a_megabyte_of_anything_is_looked_through_in_time(unit: str) -> None:
    began = time.process_time()
    conceal(unit * (1_000_000 // len(unit)))
    assert time.process_time() - began < 5


# ── letters ───────────────────────────────────────────────────────────────────────────────────────


def letter_of(key: bytes | None, value: bytes | None, reason: str = "value: not JSON") -> DeadLetter:
    _, body, _ = dead_letter(Log().record(TOPIC, key, value), reason)
    return msgspec.json.decode(body, type=DeadLetter)


def test_a_letter_says_what_is_not_the_originals_and_whose_record_it_is() -> None:
    plain = letter_of(b'{"order_id":"kit-1"}', b"x")
    assert (plain.masked, plain.order_id, plain.value_bytes, plain.timestamp) == ((), "kit-1", 1, EPOCH)
    assert letter_of(None, CARD.encode()).masked == ("value",)
    assert letter_of(CARD.encode(), None).masked == ("key",)
    assert letter_of(CARD.encode(), None).value is None
    assert letter_of(b"kit-2", b"{}").order_id == "kit-2"
    assert letter_of(None, b'{"order_id": "k\\u0069t-3"}').order_id == "kit-3"
    assert letter_of(None, b"{}").order_id is None


def test_bytes_that_are_not_utf8_are_kept_as_base64_with_cards_hidden() -> None:
    one = letter_of(b"\xff", b"\xfe" + CARD.encode() + WIDE.encode())
    assert one.base64
    assert base64.b64decode(one.key or "") == b"\xff"
    value = base64.b64decode(one.value or "")
    assert value.startswith(b"\xfe****")
    assert CARD.encode() not in value


def test_a_value_that_is_too_long_is_cut_with_its_size_said_and_never_within_a_card() -> None:
    filler = b"x" * (LONGEST_VALUE - 8)
    one = letter_of(None, filler + CARD.encode() + b"tail")
    assert one.truncated
    assert one.value_bytes == len(filler) + 20
    assert (one.value or "").strip("x") == ""
    with pytest.raises(NotReplayable, match="beginning"):
        sendable(one)
    assert sendable(one, b"{}") == (None, b"{}")


def test_the_worst_record_still_fits_the_topic() -> None:
    _, body, _ = dead_letter(Log().record(TOPIC, b"\x00" * 70_000, b"\x00" * 2_000_000), "value: not JSON")
    assert len(body) < 8_388_608


def test_a_letter_is_sent_again_as_it_was_or_edited_and_always_masked() -> None:
    one = letter_of(b"kit-1", b"\xff\x00")
    assert sendable(one) == (b"kit-1", b"\xff\x00")
    assert sendable(one, CARD.encode()) == (b"kit-1", MASKED.encode())
    masked = letter_of(CARD.encode(), b"{}")
    with pytest.raises(NotReplayable, match="key"):
        sendable(masked)
    assert sendable(masked, None, b"kit-9") == (b"kit-9", b"{}")


def test_an_id_names_one_record() -> None:
    one = letter_of(None, b"x")
    assert id_of(one) == "payment-0-0"
    assert identity("payment-0-0") == f"{TOPIC}/0/0"
    for wrong in ("", "payment", "payment-0", "payment-0-x", "payment-0--1", "0"):
        with pytest.raises(NoSuchLetter):
            identity(wrong)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (None, b"", "empty"),
        (None, b"not json", "not-json"),
        (None, b"\xff", "not-json"),
        (None, b"[" * 100_000, "not-json"),
        (None, b"[]", "not-an-object"),
        (None, b"{}", "no-id"),
        (b"[]", {}, "bad-key"),
        (b"other", {}, "key-mismatch"),
        (None, {"order_id": True}, "bad-id"),
        (None, b'{"order_id":"a","order_id":"b"}', "repeated-id"),
        (None, {"amount": "x"}, "bad-amount"),
        (None, {"currency": "EUR"}, "bad-currency"),
        (None, {"__source_ts_ms": "x"}, "bad-source"),
        (None, {"__deleted": "x"}, "bad-envelope"),
        (None, b'{"op":"x","after":{}}', "bad-envelope"),
    ],
)
def test_a_reason_has_a_short_stable_code(key: bytes | None, value: Any, code: str) -> None:
    row = {"order_id": "kit-1", "payment_type": "a", "credit_card_type": "b", "credit_card_number": "1"}
    row |= {"amount": "1.00", "currency": "USD"}
    body = value if isinstance(value, bytes) else json.dumps(row | value).encode()
    with pytest.raises(Undecodable) as refused:
        decode("payment", key, body, EPOCH)
    assert code_of(str(refused.value)) == code


def test_reasons_of_the_fold_have_codes_too() -> None:
    assert code_of("payment lacks amount and no earlier row is known") == "partial-row"
    assert (
        code_of("order kit-1 lives in partition 2, but this record came in partition 1") == "wrong-partition"
    )
    assert code_of("something new") == "other"
