"""Pages of other sites follow nothing; programs and our own pages are let in."""

import pytest
from litestar.datastructures import Headers

from snacks.config import Settings
from snacks.http.admission import WRONG_ORIGIN, Admission

STRANGE = [
    "http://evil.example",
    "null",
    "x",
    "",
    "http://[",
    "http://[::1",
    "http://[x]",
    "http://localhost:1",
]


@pytest.mark.parametrize("origin", STRANGE)
def test_an_origin_that_is_not_ours_is_another_site_however_it_is_written(origin: str) -> None:
    admission = Admission.of(Settings())
    assert admission.problem(Headers({"host": "localhost:8800", "origin": origin})) == WRONG_ORIGIN


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:8800", "[::1]:8800", "kitchen.example"])
def test_the_page_of_each_address_of_ours_is_let_in(host: str) -> None:
    admission = Admission.of(Settings(allowed_hosts=("Kitchen.example",)))
    for scheme in ("http", "https"):
        assert admission.problem(Headers({"host": host, "origin": f"{scheme}://{host}"})) is None
