"""The system under test: real servers, two `snacks` processes, and a proxy on every link between them."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
from aiokafka import ConsumerRecord
from msgspec.structs import replace
from tests.chaos.real.proxy import Link
from tests.e2e.app_process import App, environment
from tests.waiting import until

from snacks.config import Settings
from snacks.platform import Platform, PlatformError, process, running, servers, supervisor
from snacks.platform.servers import Server

NAMES = ("a", "b")
SERVERS = ("kafka", "database", "mongod", "connect")
SESSION = 6.0
"""Seconds until the group takes a silent process for dead; the broker allows no less."""
START = 300.0
LISTENERS = (*NAMES, "c")
"""Who has a listener of the broker's, behind a proxy: both processes, and Connect with Debezium."""
Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


class Member(App):
    """A `snacks serve` of the test's, started through `inside.py`."""

    def __init__(self, name: str, settings: Settings, state: Path, plant: str = "") -> None:
        super().__init__(settings)
        self.name = name
        self.log = state / "logs" / f"app-{name}.log"
        self.tasks_file = state / f"tasks-{name}"
        self._plant = plant

    def launch(self, more: Mapping[str, str] = MappingProxyType({})) -> None:
        """Start it, with `more` variables; do not wait."""
        argv = [sys.executable, "-m", "tests.chaos.real.inside", "serve"]
        env = environment(self.settings)
        root = Path(__file__).parents[3]
        env |= {"PYTHONPATH": f"{root / 'src'}:{root}", "CHAOS_TASKS": str(self.tasks_file)}
        env |= {"CHAOS_PLANT": self._plant, **more}
        self.child = process.spawn(argv, log=self.log, env=env, cwd=root)

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def send(self, what: signal.Signals) -> None:
        """A signal; none if it is gone."""
        assert self.child is not None
        self.child.send_signal(what)

    async def running_shards(self) -> int:
        """How many shards it runs; -1 while it does not answer."""
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.get(f"{self.url(1)}/api/topology", params={"format": "json"})
            return sum(shard["state"] == "running" for shard in answer.json()["shards"])
        except (httpx.HTTPError, ValueError, KeyError):
            return -1


class World:
    """What the faults act on, and what the checkers look at past the proxies."""

    def __init__(
        self, settings: Settings, platform: Platform, links: dict[str, Link], members: list[Member]
    ) -> None:
        self.settings = settings
        """Of the servers themselves: who uses these goes past the proxies."""
        self.platform = platform
        self.links = links
        self.kept: dict[Place, ConsumerRecord] = {}
        """Records that the CDC topics had and lost after they were folded."""
        self.lost: set[Place] = set()
        """Those that they lost before they were folded."""
        self.members = members

    def other(self, member: Member) -> Member:
        return next(one for one in self.members if one is not member)

    def member(self, name: str) -> Member:
        return next(one for one in self.members if one.name == name)


@asynccontextmanager
async def world(settings: Settings, plant: str = "") -> AsyncIterator[World]:
    """All of it, ready; all of it stopped at the end, however that comes. The state folder begins empty."""
    state = settings.state_dir
    shutil.rmtree(state, ignore_errors=True)
    (state / "logs").mkdir(parents=True)
    settings = replace(settings, session_timeout=SESSION, reconcile_every=0)
    async with AsyncExitStack() as stack:
        links = await _links(settings, stack)
        with _behind(settings, links):
            platform = await stack.enter_async_context(running(settings))
        members = [
            Member(name, _seen_by(name, number, settings, links), state, plant)
            for number, name in enumerate(NAMES)
        ]
        for member in members:
            stack.push_async_callback(member.stop)
            member.launch()
        await asyncio.gather(*(_ready(member) for member in members))
        yield World(settings, platform, links, members)


async def _ready(member: Member) -> None:
    try:
        await until(member.ready, within=START, every=0.2)
    except AssertionError:
        tail = process.log_tail(member.log)
        raise PlatformError(f"process {member.name} was not ready in {START:.0f} s:\n{tail}") from None


def _listener(settings: Settings, who: str) -> int:
    return settings.kafka_port + 10 + LISTENERS.index(who)


async def _links(settings: Settings, stack: AsyncExitStack) -> dict[str, Link]:
    targets = {f"{who}-kafka": _listener(settings, who) for who in LISTENERS}
    targets["c-mysql"] = settings.mysql_port
    for name in NAMES:
        targets |= {
            f"{name}-mysql": settings.mysql_port,
            f"{name}-mongo": settings.mongo_port,
            f"{name}-connect": settings.connect_port,
        }
    links = {}
    for name, target in targets.items():
        links[name] = link = Link(name, target)
        await link.start()
        stack.push_async_callback(link.close)
    return links


def _seen_by(name: str, number: int, settings: Settings, links: dict[str, Link]) -> Settings:
    """The settings of a process: its own ports, and every server behind a proxy."""
    return replace(
        settings,
        http_ports=tuple(port + 40 * number for port in settings.http_ports),
        kafka_bootstrap=f"127.0.0.1:{links[f'{name}-kafka'].port}",
        mysql_port=links[f"{name}-mysql"].port,
        mongo_url=f"mongodb://127.0.0.1:{links[f'{name}-mongo'].port}/?directConnection=true",
        connect_url=f"http://127.0.0.1:{links[f'{name}-connect'].port}",
        cdc_mysql_host="127.0.0.1",
        cdc_mysql_port=links["c-mysql"].port,
        cdc_kafka_bootstrap=f"127.0.0.1:{links['c-kafka'].port}",
    )


@contextmanager
def _behind(settings: Settings, links: dict[str, Link]) -> Iterator[None]:
    """Servers as always, but the broker tells each client the address of its own proxy."""
    plain = servers.servers
    run = settings.state_dir / "run"
    names = {who: f"PROXY{who.upper()}" for who in LISTENERS}
    inner = [f"{title}://127.0.0.1:{_listener(settings, who)}" for who, title in names.items()]
    outer = [f"{title}://127.0.0.1:{links[f'{who}-kafka'].port}" for who, title in names.items()]
    listeners = {"listeners": inner, "advertised.listeners": outer}
    listeners["listener.security.protocol.map"] = [f"{title}:PLAINTEXT" for title in names.values()]

    def kafka() -> None:
        path = run / "kafka.properties"
        lines = path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            name, _, value = line.partition("=")
            if name in listeners:
                lines[number] = f"{name}={','.join([value, *listeners[name]])}"
        path.write_text(
            "\n".join([*lines, "group.min.session.timeout.ms=1000", "log.cleaner.backoff.ms=1000"]), "utf-8"
        )

    def connect() -> None:
        path = run / "connect.properties"
        address = f"127.0.0.1:{links['c-kafka'].port}"
        text = path.read_text("utf-8").replace(f"127.0.0.1:{settings.kafka_port}", address)
        path.write_text(text, "utf-8")

    def patched(server: Server) -> Server:
        more = {"kafka": kafka, "connect": connect}.get(server.name)
        if more is None:
            return server

        def prepare() -> None:
            server.prepare()
            more()

        return replace(server, prepare=prepare)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "servers", lambda *given: [patched(server) for server in plain(*given)])
        yield
