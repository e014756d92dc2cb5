"""Card numbers: the mask of one, and the one rule that hides them in any text: logs, answers, dead letters.

The text may be a stranger's: the digits may be escaped, spaced, full-width, percent- or base64-encoded, or
inside JSON that is itself a JSON string.
"""

import base64
import binascii
import re
import unicodedata
from decimal import Decimal
from urllib.parse import unquote

MASKED = re.compile(r"\*{4}-\*{4}-\*{4}-(?:[0-9]{4}|\*{4})")
MASK = "****-****-****-"
CARD_DIGITS = 13
"""Card numbers have 13 to 19 digits (ISO/IEC 7812)."""
LONGEST_CARD = 19
WITHHELD = f"{MASK}****"
"""Stands for a whole text that hides a card number which cannot be cut out."""
DEEPEST = 6
"""How many base64 encodings inside each other are looked into; a longer nest is withheld."""

# A digit: itself in any script, or a JSON escape (however often its backslash was escaped again), a
# percent escape, an HTML entity.
_DIGIT = (
    r"(?:\d|[\u00b2\u00b3\u00b9\u2070-\u2089\u2460-\u2468]"
    r"|(?<!\\)\\++u(?:003|[fF][fF]1|066|06[fF])\d|%3\d|&#(?:4[89]|5[0-7]);|&#[xX]3\d;)"
)
# What may stand between two digits: white space, dashes, controls (UTF-16 has a NUL), plain or escaped.
_GAP = (
    r"(?:[\s\x00-\x1f_\u00ad\u2000-\u2015\u202f\u2060\u2212\ufeff\uff0d-]|%20|%2[dD]|&nbsp;"
    r"|(?<!\\)\\++(?:[tnr]|u00(?:0\d|0[a-fA-F]|20|2[dD]|5[fF]|[aA]0|[aA][dD])|u20[01][0-9a-fA-F]|ufeff))"
)
_RUN = re.compile(rf"(?<!\d)(?<!\d\.){_DIGIT}(?:{_GAP}{{0,3}}{_DIGIT}){{{CARD_DIGITS - 1},}}")
_DOTTED = re.compile(
    r"(?<![\d.])\d{4}\.\d{4}\.\d{4}\.\d{1,7}(?![\d.])|(?<![\d.])\d{4}\.\d{6}\.\d{4,5}(?![\d.])"
)
_UNIT = re.compile(_DIGIT)
# What holds as many digits and is no card number: a UUID, milli-, micro- or nanoseconds since 1970.
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CLOCK = re.compile(r"1[5-9]\d{11}(?:\d{3}){0,2}", re.ASCII)
_FLOAT = re.compile(r"(?<![\w.])(\d{1,19}(?:\.\d{1,19})?)[eE]\+?(\d{1,2})(?![\w.])", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{18,}={0,2}")
_ESCAPE = re.compile(r"(?<!\\)\\++u([0-9a-fA-F]{4})")
_WHITE = re.compile(r"\s|(?<!\\)\\++[nrt]")
_NAMED = re.compile(r'(\\*)"\s*:\s*$')
_URL = str.maketrans("-_", "+/")


def mask_card(number: str) -> str:
    """The mask of a card number, `****-****-****-1111`; a mask stays as it is.

    The last four digits show only if there are at least 13 digits (PCI DSS 3.4.1 allows at most the
    first six and last four of a whole number).
    """
    if MASKED.fullmatch(number):
        return number
    digits = [str(unicodedata.digit(char)) for char in number if char.isdigit()]
    return MASK + ("".join(digits[-4:]) if len(digits) >= CARD_DIGITS else "****")


def mask_cards(text: str) -> str:
    """The text without card numbers; at most their last four digits are left.

    A bare number of JSON becomes a JSON string, so that the text stays JSON. Where a card number cannot
    be cut out, because it is spread over lines of base64 or encoded too often, all of it is WITHHELD.
    """
    shown = _masked(text, 0)
    plain = unicodedata.normalize("NFKC", unquote(_ESCAPE.sub(_character, shown)))
    if plain != shown and _masked(plain, 0) != plain:
        return WITHHELD
    squeezed = _WHITE.sub("", shown)
    runs = () if squeezed == shown else _BASE64.finditer(squeezed)
    if any(_unpacked(run[0], 0) != run[0] for run in runs):
        return WITHHELD
    return shown


def _masked(text: str, depth: int) -> str:
    text = _FLOAT.sub(_float, text)
    uuids = [match.span() for match in _UUID.finditer(text)]

    def run(match: re.Match[str]) -> str:
        found = match[0]
        if _CLOCK.fullmatch(found) or any(a <= match.start() and match.end() <= b for a, b in uuids):
            return found
        units = _UNIT.findall(found)[-LONGEST_CARD:]
        return _in_json(match, mask_card("".join(map(_digit, units))))

    text = _RUN.sub(run, text)
    text = _DOTTED.sub(lambda match: _in_json(match, mask_card(match[0])), text)
    return _BASE64.sub(lambda match: _unpacked(match[0], depth), text)


def _digit(unit: str) -> str:
    """The ASCII digit that a unit stands for."""
    if len(unit) == 1:
        return str(unicodedata.digit(unit))
    if unit.startswith("&#") and unit[2] not in "xX":
        return chr(int(unit[2:-1]))
    return unit.rstrip(";")[-1]


def _float(match: re.Match[str]) -> str:
    """A card number as a float, `4.111111111111111E15`; other floats stay."""
    number = Decimal(match[1]).scaleb(int(match[2]))
    digits = f"{number:f}"
    if "." in digits and number == number.to_integral_value():
        digits = digits.partition(".")[0]
    if not digits.isdecimal() or not CARD_DIGITS <= len(digits) <= LONGEST_CARD:
        return match[0]
    # 1E+15 is a round number, not a card's.
    return match[0] if len(digits.rstrip("0")) <= CARD_DIGITS // 2 else _in_json(match, mask_card(digits))


def _in_json(match: re.Match[str], mask: str) -> str:
    """The mask, quoted where a bare number of JSON stood."""
    before = match.string[max(0, match.start() - 24) : match.start()]
    after = match.string[match.end() : match.end() + 24].lstrip()[:1]
    last = before.rstrip()[-1:]
    named = _NAMED.search(before)
    if after not in ("}", "]", ",") or not (named or (last and last in "[,")):
        return mask
    quote = (named[1] if named else "") + '"'
    return f"{quote}{mask}{quote}"


def _unpacked(found: str, depth: int) -> str:
    """A run of base64 with the card numbers inside masked. Where it begins is not known: four tries."""
    for skip in range(4):
        body = found[skip:].rstrip("=").translate(_URL)
        body = body[: len(body) - (len(body) % 4 == 1)]
        try:
            decoded = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        except binascii.Error:
            continue
        inner = decoded.decode("utf-8", "surrogateescape")
        if not _worth_a_look(decoded) and not _BASE64.search(inner):
            continue
        shown = _masked(inner, depth + 1) if depth < DEEPEST else (WITHHELD if _RUN.search(inner) else inner)
        if shown != inner:
            return found[:skip] + base64.b64encode(shown.encode("utf-8", "surrogateescape")).decode()
    return found


def _worth_a_look(decoded: bytes) -> bool:
    """Enough digits for a card number, or the first bytes of full-width ones: most base64 has neither."""
    return sum(map(decoded.count, b"0123456789")) >= CARD_DIGITS or b"\xef\xbc" in decoded


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16))
