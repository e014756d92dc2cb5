"""The supervisor with a server that only sleeps: what happens when it cannot even be started."""

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from tests.waiting import until

from snacks.config import Settings
from snacks.platform import PlatformError, ports, process, supervisor
from snacks.platform.servers import Server
from snacks.platform.supervisor import Supervisor

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
BUSY = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


async def _ready(_settings: Settings) -> None:
    """At once."""


def failing(outcomes: Iterator[Exception | None], then: Callable[..., Any]) -> Callable[..., Any]:
    """`then`, but each call first takes an outcome; after the last all is well."""

    def call(*arguments: Any, **named: Any) -> Any:
        if error := next(outcomes, None):
            raise error
        return then(*arguments, **named)

    return call


@pytest.fixture
def supervise(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Supervisor]:
    def make(*, prepare: list[Exception | None], spawn: list[Exception | None]) -> Supervisor:
        server = Server(
            name="sleeper",
            title="The sleeper",
            argv=["sleep", "60"],
            port=0,
            ready=_ready,
            prepare=failing(iter(prepare), lambda: None),
        )
        monkeypatch.setattr(supervisor, "servers", lambda *_: [server])
        monkeypatch.setattr(process, "spawn", failing(iter(spawn), process.spawn))
        return Supervisor(settings, cast("Any", None))

    monkeypatch.setattr(ports, "check", lambda _settings: None)
    return make


@pytest.mark.parametrize(
    ("prepare", "spawn", "detail"),
    [([None, FULL], [], "No space left on device"), ([], [None, BUSY], "Resource temporarily unavailable")],
)
async def test_a_server_that_the_system_refuses_to_start_again_is_tried_again(
    supervise: Callable[..., Supervisor],
    monkeypatch: pytest.MonkeyPatch,
    prepare: list[Exception | None],
    spawn: list[Exception | None],
    detail: str,
) -> None:
    said = []
    told = Supervisor._set

    def tell(self: Supervisor, server: Server, to: Any, detail: str = "") -> None:
        said.append((to, detail))
        told(self, server, to, detail)

    monkeypatch.setattr(Supervisor, "_set", tell)
    kept = supervise(prepare=prepare, spawn=spawn)
    sleeper = kept.run.servers["sleeper"]
    try:
        await kept.start()
        first = sleeper.pid
        kept._processes["sleeper"].kill()
        await until(lambda: sleeper.state == "running" and sleeper.pid not in (0, first), within=10)
    finally:
        await kept.stop()
    assert sleeper.restarts == 2
    assert any(to == "restarting" and detail in why for to, why in said)


@pytest.mark.parametrize(("prepare", "spawn"), [([FULL], []), ([], [BUSY])])
async def test_a_server_that_the_system_refuses_to_start_at_all_is_an_error_that_names_it(
    supervise: Callable[..., Supervisor], prepare: list[Exception | None], spawn: list[Exception | None]
) -> None:
    kept = supervise(prepare=prepare, spawn=spawn)
    try:
        with pytest.raises(PlatformError, match=r"The sleeper .*(No space|temporarily)"):
            await kept.start()
    finally:
        await kept.stop()
