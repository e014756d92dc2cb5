"""tests/buglog.md says which test holds which case: every test that it names is there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MAP = (TESTS / "buglog.md").read_text("utf-8")
GROUPS = {
    "A": [*range(1, 16), 17, 18, 20, 21, *range(23, 31)],
    "B": [1, *range(3, 13)],
    "C": [7, 8, 10, 12],
    "H": [5],
}
CASES = [f"{group}{number}" for group, numbers in GROUPS.items() for number in numbers]
ROWS = dict(re.findall(r"^\| ([A-H]\d+) \| (.+) \|$", MAP, re.MULTILINE))
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def test_every_case_is_in_the_map_and_in_its_order() -> None:
    assert list(ROWS) == CASES


@pytest.mark.parametrize("case", CASES)
def test_every_test_that_a_case_names_is_there(case: str) -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+)(…?))?`(?: \((\w+)\))?", ROWS[case])
    assert named
    for file, name, more, number in named:
        text = (TESTS / file).read_text("utf-8")
        wanted = re.escape(name) + (r"\w*" if more else "") + r"\("
        found = re.findall(rf"^(?:async )?def {wanted}", text, re.MULTILINE) if name else [file]
        assert len(found) == NUMBERS.get(number, 1), (file, name, found)
