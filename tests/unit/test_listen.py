"""A port that cannot be listened on is told in one plain line."""

import socket

import pytest

from snacks.app import AppError, _listen


def test_a_taken_port_is_told_once_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AppError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: [^:]*in use\. Free it"):
            _listen("127.0.0.1", port)


def test_a_host_that_is_none_is_told_by_its_reason() -> None:
    with pytest.raises(
        AppError, match=r"cannot listen on nowhere\.invalid:0: .*(not known|address|resolution)"
    ):
        _listen("nowhere.invalid", 0)
