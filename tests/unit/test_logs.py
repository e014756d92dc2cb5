"""Logs: one format for everybody's lines, and no card number in any of them."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from snacks import logs
from snacks.config import Settings

CARD = "4242-4242-4242-4242"


def fail(message: str) -> None:
    raise ValueError(message)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The logging of the test run comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: one.level for name, one in root.manager.loggerDict.items() if isinstance(one, logging.Logger)
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, one in root.manager.loggerDict.items():
        if isinstance(one, logging.Logger):
            one.setLevel(levels.get(name, logging.NOTSET))
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_where_no_terminal_is_each_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(Settings())
    structlog.get_logger("snacks.shop").info("order\nplaced", order_id="kit-1")
    (line,) = lines(capsys)
    assert line["event"] == "order\nplaced"
    assert line["order_id"] == "kit-1"
    assert line["level"] == "info"
    assert line["logger"] == "snacks.shop"
    assert str(line["timestamp"]).endswith("Z")


def test_libraries_log_in_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(Settings())
    logging.getLogger("a.library").warning("%s of %s", 1, 2)
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("1 of 2", "warning", "a.library")


def test_people_get_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(Settings(log_format="console"))
    structlog.get_logger("snacks.shop").info("order placed", order_id="kit-1")
    text = capsys.readouterr().err
    assert "order placed" in text
    assert "order_id=kit-1" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_card_number_passes_whoever_logs_it_and_wherever(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    logs.setup(Settings(log_format=log_format))  # type: ignore[arg-type]
    log = structlog.get_logger("snacks.shop")
    log.info("paid with %s", CARD)
    log.info("paid", card=CARD, body={"creditCardNumber": CARD.replace("-", "")})
    logging.getLogger("a.library").warning("paid with %s", CARD.replace("-", " "))
    try:
        fail(f"not a card: {CARD}")
    except ValueError:
        log.exception("refused")
    text = capsys.readouterr().err
    assert text.count("****-****-****-4242") >= 5
    assert "4242-4242" not in text
    assert "42424242" not in text
    assert "4242 4242" not in text


def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(Settings(log_format="console"))
    secret_of_a_customer = "x" * 60 + CARD
    try:
        fail(str(len(secret_of_a_customer)))
    except ValueError:
        structlog.get_logger("snacks.shop").exception("refused")
    assert "locals" not in capsys.readouterr().err


def test_an_exception_is_part_of_its_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(Settings())
    try:
        fail("odd")
    except ValueError:
        structlog.get_logger("snacks.shop").exception("refused")
    (line,) = lines(capsys)
    assert "ValueError: odd" in str(line["exception"])


@pytest.mark.parametrize(("level", "heard"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_less_than_the_level_is_not_logged(
    capsys: pytest.CaptureFixture[str], level: str, heard: int
) -> None:
    logs.setup(Settings(log_level=level))  # type: ignore[arg-type]
    log = structlog.get_logger("snacks.shop")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert len(lines(capsys)) == heard


def test_chatty_libraries_are_heard_only_when_they_warn(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(Settings(log_level="debug"))
    for name in ("aiokafka.consumer", "pymongo.command", "httpx", "uvicorn.access"):
        logging.getLogger(name).info("chatter")
    logging.getLogger("aiokafka.consumer").warning("trouble")
    assert [line["event"] for line in lines(capsys)] == ["trouble"]
