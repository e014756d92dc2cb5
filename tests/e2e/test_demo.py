"""The demo as a new user runs it: everything from one command, here with MariaDB, and nothing left behind."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from tests import oracle
from tests.conftest import MARIADB_OFFSET, settings_for
from tests.e2e.app_process import ROOT, environment
from tests.waiting import until

from snacks.config import Settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_for(MARIADB_OFFSET, tmp_path_factory.mktemp("demo"), SNACKS_DB="mariadb")


class Demo:
    """A demo in a process of its own; its output goes to a file."""

    def __init__(self, settings: Settings, output: Path, *options: str) -> None:
        self.output = output
        argv = [sys.executable, "-m", "snacks", "demo", *options]
        with output.open("wb") as sink:
            self.child = subprocess.Popen(
                argv,
                env=environment(settings),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def told(self, text: str) -> bool:
        """Whether it has said this; fails if it has ended before."""
        said = self.output.read_text("utf-8")
        assert text in said or self.child.poll() is None, said
        return text in said

    async def ended(self) -> int:
        return await asyncio.to_thread(self.child.wait, 60)


@pytest.fixture
async def demo(settings: Settings, tmp_path: Path) -> AsyncIterator[Demo]:
    running = Demo(settings, tmp_path / "output")
    try:
        await until(lambda: running.told("Up until Ctrl-C"), within=90, every=0.1)
        yield running
    finally:
        if running.child.poll() is None:
            running.child.terminate()
            await running.ended()


def family(demo: Demo) -> list[psutil.Process]:
    """The servers and the app that the demo started."""
    started: list[psutil.Process] = psutil.Process(demo.child.pid).children(recursive=True)
    assert len(started) >= 5
    return started


async def assert_gone(processes: list[psutil.Process]) -> None:
    await until(lambda: not any(_alive(one) for one in processes), within=20)


def _alive(one: psutil.Process) -> bool:
    try:
        return bool(one.is_running()) and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.timeout(200)
async def test_the_story_on_mariadb_ends_in_the_documents_that_its_tables_say(
    demo: Demo, settings: Settings
) -> None:
    host, port = settings.mysql
    left = await oracle.expected(
        host, port, settings.mysql_user, settings.mysql_password, settings.mysql_database
    )
    right = await oracle.stored(settings.mongo, settings.mongo_database)
    assert len(left) == 4
    assert not oracle.differences(left, right)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_however_the_demo_ends_no_process_is_left(demo: Demo, sign: signal.Signals) -> None:
    started = family(demo)
    demo.child.send_signal(sign)
    assert await demo.ended() == (-sign if sign == signal.SIGKILL else 0)
    await assert_gone(started)


@pytest.mark.timeout(200)
async def test_the_demo_plays_again_on_the_data_of_earlier_runs(settings: Settings, tmp_path: Path) -> None:
    again = Demo(settings, tmp_path / "output", "--once")
    try:
        await until(lambda: again.child.poll() is not None, within=120, every=0.1)
    finally:
        if again.child.poll() is None:
            again.child.terminate()
            await again.ended()
    assert again.child.returncode == 0, again.output.read_text("utf-8")
    assert again.told("every order is SHIPPED")


async def test_a_port_that_is_taken_is_named_with_the_setting_that_moves_it(
    settings: Settings, tmp_path: Path
) -> None:
    port = settings.http_ports[1]
    blocker = await asyncio.start_server(lambda _reader, _writer: None, settings.host, port)
    async with blocker:
        argv = [sys.executable, "-m", "snacks", "serve"]
        done = await asyncio.to_thread(
            subprocess.run, argv, env=environment(settings), cwd=ROOT, capture_output=True, timeout=30
        )
    assert done.returncode == 1
    said = done.stderr.decode()
    assert all(part in said for part in (str(port), "SNACKS_HTTP_PORTS", "--port-offset"))
    assert "Traceback" not in said
