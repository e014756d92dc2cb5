"""`snacks demo`: plays the story against the running system and shows what each hop took."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
from aiokafka.errors import KafkaError
from msgspec import Struct
from rich.console import Console
from rich.live import Live
from rich.table import Table

from snacks import config, platform
from snacks.config import Settings
from snacks.platform import compose, process
from snacks.sightings import Sightings
from snacks.story import CHAPTERS, STATUSES, Chapter, Refusal, Teller

STEP_TIMEOUT = 30.0
READY_TIMEOUT = 90.0
APP_GRACE = 15.0
HOPS = ("MySQL", "Debezium", "MongoDB", "topic")
NARRATION = {
    "PENDING": "Brady, Oakley and Rylan order snacks, and somebody makes a wish.",
    "PAID": "The cards are charged.",
    "FULFILLED": "Sam the Wizard fulfils what is paid.",
    "SHIPPED": "The Minions ship what is fulfilled.",
}


class StoryError(Exception):
    """The story did not end as it must; the message says where it got stuck."""


class Hops(Struct):
    """Seconds from the command's first byte to each hop, as far as they are known."""

    status: str
    seconds: dict[str, float] = {}


async def run(settings: Settings, console: Console, *, once: bool, docker: bool | None = None) -> None:
    """The whole demo: servers, app, story; then stay up until cancelled, unless `once`.

    The servers run in containers if `docker` says so, or if it says nothing and a Docker engine answers.

    Raises:
        PlatformError: the servers cannot be fetched or started.
        StoryError: the app or an order of the story did not get where it must.
    """
    with_docker, why = compose.chosen(settings, asked=docker)
    console.print(f"[green]✓[/] {'in containers' if with_docker else 'without Docker'}: {why}")
    servers = _containers(config.given("engine")) if with_docker else _processes(settings, console)
    async with servers as reached:
        await play(reached, console)
        console.print("[green]✓[/] every order is SHIPPED in MongoDB and readable over HTTP")
        where_to_look(reached, console, docker=with_docker)
        if not once:
            console.print(
                "\nUp until Ctrl-C. `./snacks platform status` in another terminal shows what runs."
            )
            with suppress(asyncio.CancelledError):  # Ctrl-C is the way to end it, no error
                await asyncio.Event().wait()


@asynccontextmanager
async def _containers(engine: str) -> AsyncIterator[Settings]:
    """Redpanda, the other servers and the app in containers, and how the host reaches them.

    Those that ran before stay; else the containers are removed at the end, and their data kept.
    """
    ran = await asyncio.to_thread(compose.running)
    try:
        await asyncio.to_thread(compose.up, "redpanda", engine)
        yield compose.settings_on_host(compose.read_env())
    finally:
        if not ran:
            await asyncio.shield(asyncio.to_thread(compose.stop, "redpanda"))


@asynccontextmanager
async def _processes(settings: Settings, console: Console) -> AsyncIterator[Settings]:
    """The servers and the app as processes, for as long as this context."""
    began = time.perf_counter()
    async with platform.running(settings, console) as servers:
        console.print(
            f"[green]✓[/] the servers of {settings.state_dir} answer"
            + (" (they were running)" if servers.attached else f" ({servers.seconds:.1f} s)")
        )
        async with _app(settings, console):
            console.print(
                f"[green]✓[/] the app is ready ({time.perf_counter() - began:.1f} s since the start)\n"
            )
            yield settings


@asynccontextmanager
async def _app(settings: Settings, console: Console) -> AsyncIterator[None]:
    """The app that runs on these ports already, else one of our own for as long as this context."""
    if await _live(settings):
        console.print("[green]✓[/] the app that runs already is used")
        await _until_ready(settings, console, lambda: True)
        yield
        return
    log = platform.log_path(settings, "app")
    environment = config.environment(settings) | {"SNACKS_LOG_FORMAT": "json"}
    child = process.spawn([sys.executable, "-m", "snacks", "serve"], log=log, env=environment)
    try:
        await _until_ready(settings, console, lambda: child.poll() is None)
        yield
    finally:
        await asyncio.shield(process.stop(child, APP_GRACE))


async def _until_ready(settings: Settings, console: Console, alive: Callable[[], bool]) -> None:
    url = f"{base_urls(settings)[0]}/health/ready"
    deadline = time.monotonic() + READY_TIMEOUT
    missing = "it does not answer"
    with console.status("the app comes up") as shown:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while time.monotonic() < deadline and alive():
                with suppress(httpx.HTTPError, ValueError):
                    report = (await client.get(url)).json()
                    if report["ready"]:
                        return
                    missing = "; ".join(
                        f"{check['name']}: {check['detail']}" for check in report["checks"] if not check["ok"]
                    )
                    shown.update(f"the app comes up ({missing})")
                await asyncio.sleep(0.1)
    what = f"is not ready after {READY_TIMEOUT:.0f} s" if alive() else "ended"
    raise StoryError(
        f"the app {what}: {missing}\nThe end of its log (./snacks logs app):\n"
        + platform.log_tail(platform.log_path(settings, "app"))
    )


async def _live(settings: Settings) -> bool:
    with suppress(httpx.HTTPError):
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            return (await client.get(f"{base_urls(settings)[0]}/health/live")).status_code == httpx.codes.OK
    return False


def base_urls(settings: Settings) -> tuple[str, str, str, str]:
    """Where commands, processor, queries and pages are: all ports serve the same."""
    ports = (*settings.http_ports, *settings.http_ports[:1] * 4)
    one, two, three, four = (f"http://{settings.host}:{port}" for port in ports[:4])
    return one, two, three, four


async def play(settings: Settings, console: Console) -> None:
    """Play the story; each order goes PENDING, PAID, FULFILLED, SHIPPED before the next step begins.

    Raises:
        StoryError: the broker or the app does not answer, a command was refused, or an order did not get
            where it must within 30 seconds.
    """
    commands, _, queries, _ = base_urls(settings)
    sightings = Sightings(settings)
    try:
        await sightings.start()
    except KafkaError as error:
        raise StoryError(
            f"the topics cannot be followed at {settings.kafka}: {error}\n"
            "See `./snacks status`, and run the demo again."
        ) from error
    watching = asyncio.create_task(sightings.run())
    table: dict[str, list[Hops]] = {chapter.name: [] for chapter in CHAPTERS}
    ids: dict[str, str] = {}
    try:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            teller = Teller(client, commands)
            with Live(_render(table, ids), console=console, auto_refresh=False) as live:
                for status in STATUSES:
                    live.console.print(f"[bold]{status:<10}[/] {NARRATION[status]}")
                    for chapter in CHAPTERS:
                        step = _Step(client, queries, sightings, teller, status)
                        show = lambda: live.update(_render(table, ids), refresh=True)  # noqa: E731  (called in place)
                        await step.take(chapter, ids, table[chapter.name], show)
            if not console.is_terminal:  # Live leaves the last line open then
                console.line()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


class _Step:
    """One command of the story and the wait until everybody can read what it did."""

    def __init__(
        self, client: httpx.AsyncClient, queries: str, sightings: Sightings, teller: Teller, status: str
    ) -> None:
        self._client, self._queries, self._sightings = client, queries, sightings
        self._teller, self._status = teller, status

    async def take(
        self, chapter: Chapter, ids: dict[str, str], steps: list[Hops], show: Callable[[], None]
    ) -> None:
        hops = Hops(self._status)
        steps.append(hops)
        started = time.perf_counter()
        try:
            if self._status == STATUSES[0]:
                ids[chapter.name] = await self._teller.order(chapter)
            else:
                await self._teller.step(self._status, ids[chapter.name], chapter)()
        except Refusal as error:
            raise self._stuck(chapter, str(error)) from error
        except httpx.HTTPError as error:
            raise self._stuck(chapter, f"{error.request.method} {error.request.url}: {error!r}") from error
        order_id = ids[chapter.name]
        hops.seconds["MySQL"] = time.perf_counter() - started
        show()
        read = asyncio.create_task(self._readable(order_id))
        try:
            async with asyncio.timeout(STEP_TIMEOUT):
                hops.seconds["topic"] = await self._sightings.wait_published(order_id, self._status) - started
                hops.seconds["Debezium"] = self._sightings.captured.get(order_id, started) - started
                hops.seconds["MongoDB"] = await read - started
        except TimeoutError:
            seen = await self._current(order_id)
            raise StoryError(
                f"{chapter.name}'s order {order_id} is {seen or 'not readable'}, not {self._status}, after "
                f"{STEP_TIMEOUT:.0f} s: see `./snacks status` and {self._queries}/health/ready"
            ) from None
        finally:
            read.cancel()
        show()

    def _stuck(self, chapter: Chapter, reason: str) -> StoryError:
        return StoryError(
            f"{chapter.name}'s order could not become {self._status}: {reason}\n"
            f"See `./snacks status` and {self._queries}/health/ready, and run the demo again."
        )

    async def _readable(self, order_id: str) -> float:
        """When the query side first answered with the status."""
        while await self._current(order_id) != self._status:
            await asyncio.sleep(0.01)
        return time.perf_counter()

    async def _current(self, order_id: str) -> str | None:
        with suppress(httpx.HTTPError):  # asked again, until the step's time is over
            answer = await self._client.get(f"{self._queries}/api/orders/{order_id}")
            if answer.status_code == httpx.codes.OK:
                status: str | None = answer.json().get("orderStatus")
                return status
        return None


def _render(table: dict[str, list[Hops]], ids: dict[str, str]) -> Table:
    shown = Table(title="From the command to each hop, in milliseconds", title_justify="left")
    shown.add_column("order")
    shown.add_column("status")
    for hop in HOPS:
        shown.add_column(hop, justify="right")
    for name, steps in table.items():
        for number, hops in enumerate(steps):
            cells = [f"{hops.seconds[hop] * 1000:.0f}" if hop in hops.seconds else "…" for hop in HOPS]
            shown.add_row(
                name if number == 0 else ids.get(name, "")[:8] if number == 1 else "", hops.status, *cells
            )
    return shown


def where_to_look(settings: Settings, console: Console, *, docker: bool = False) -> None:
    """Say what can be opened now."""
    commands, processor, queries, page = base_urls(settings)
    console.print(
        f"\n[bold]Where to look[/]\n"
        f"  board        {page}/                  (orders as they move)\n"
        f"  promotion    {page}/promotion\n"
        f"  API          {commands}/schema        (with examples)\n"
        f"  topology     {processor}/api/topology  (what flows)\n"
        f"  orders       {queries}/api/orders?status=SHIPPED\n"
        f"  health       {queries}/health/ready"
    )
    if docker:
        console.print(
            "  Console      http://127.0.0.1:8080   (topics, groups, connectors)\n"
            "  Adminer      http://127.0.0.1:8180   (MySQL; passwords: .env)\n"
            "  Mongo        http://127.0.0.1:8181   (MongoDB)"
        )
