"""The platform's ports, processes and run files, without its servers."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from snacks import config
from snacks.config import Settings
from snacks.platform import PlatformError, clients, ports, process, reset, state, status
from snacks.repair.rebuild import FILE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Ports.


def test_a_taken_port_names_the_server_the_holder_and_the_setting_that_moves_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        settings = config.load({"SNACKS_PORT_OFFSET": "25000", "SNACKS_KAFKA_PORT": str(port)})
        with pytest.raises(PlatformError) as error:
            ports.check(settings)
    for part in (str(port), "Kafka", f"process {os.getpid()}", "SNACKS_KAFKA_PORT=", "--port-offset"):
        assert part in str(error.value)


def test_free_ports_are_no_error() -> None:
    ports.check(config.load({f"SNACKS_{name.upper()}": str(free_port()) for name in ports.NEEDED}))


# Processes and run files.


def test_a_process_is_named_by_its_pid_and_its_start() -> None:
    child = subprocess.Popen(["sleep", "60"])
    ticks = process.start_ticks(child.pid)
    assert ticks
    assert process.alive(child.pid, ticks)
    assert not process.alive(child.pid, ticks + 1)
    child.kill()
    child.wait(10)
    assert not process.alive(child.pid, ticks)
    assert process.start_ticks(child.pid) is None


async def test_a_child_that_does_not_end_by_itself_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = process.spawn([sys.executable, "-c", stubborn], log=tmp_path / "log")
    async with asyncio.timeout(20):
        while not (tmp_path / "log").read_text():
            await asyncio.sleep(0.02)
    assert not await process.stop(child, 0.1)
    assert child.returncode == -9


async def test_a_program_that_is_not_there_says_so_in_its_log(tmp_path: Path) -> None:
    child = process.spawn([tmp_path / "nothing"], log=tmp_path / "log")
    await asyncio.to_thread(child.wait, 20)
    assert "No such file" in process.log_tail(tmp_path / "log")


def test_a_command_that_fails_shows_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 3.*the reason"):
        clients.run(["sh", "-c", "echo the reason; exit 3"], log=tmp_path / "log")


def test_only_one_supervisor_per_checkout(settings: Settings) -> None:
    first = state.acquire(settings)
    assert first
    assert state.acquire(settings) is None
    with pytest.raises(PlatformError, match="stop it first"):
        reset(settings)
    first.close()
    second = state.acquire(settings)
    assert second
    second.close()


def test_reset_leaves_nothing_of_any_order_and_the_results_of_measurements(settings: Settings) -> None:
    rebuild = [FILE, f"{FILE}-wal", f"{FILE}-shm"]  # as one that was killed leaves them
    orders = ["data/mysql/ibdata1", "logs/app.log", "run/flink/tmp/blob", "run/platform.json", *rebuild]
    kept = ["bench/results/drain.json", "chaos/logs/chaos.log", "run/kafka.jsa"]
    for name in (*orders, *kept):
        path = settings.state_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    reset(settings)
    left = [one.relative_to(settings.state_dir) for one in settings.state_dir.rglob("*") if one.is_file()]
    assert {str(one) for one in left} == {*kept, "run/lock"}


def test_a_run_whose_supervisor_is_gone_is_not_live(settings: Settings) -> None:
    run = state.Run(pid=os.getpid(), ticks=process.start_ticks(os.getpid()) or 0, state="running")
    run.servers["kafka"] = state.ServerRun("kafka", "Kafka", 9092, state="running", pid=2**22 - 1, ticks=1)
    state.write(settings, run)
    assert state.live(settings) == run
    run.ticks += 1  # the pid came again
    state.write(settings, run)
    assert state.live(settings) is None
    assert [(s.name, s.state, s.pid, s.rss) for s in status(settings)] == [("kafka", "stopped", 0, 0)]


def test_status_of_a_checkout_that_never_ran_is_empty(settings: Settings) -> None:
    assert status(settings) == []
