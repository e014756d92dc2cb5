"""The drain: a backlog of many orders, from its first record until every final aggregate is committed.

All contestants read the same topics, one after the other, round by round. A run begins with the first
record that a contestant takes (starting a JVM or Python is not counted) and ends with the last commit to
`customer-order-aggregate`; then the topic is read, and each order's last aggregate must be the final one.
With MongoDB, every document must be there too: it is written before the commit.

`for CPU` is what a second of processor time of the contestant's own processes gets done: on a machine that
others use too (`others`), it says more than the clock. The broker's and MongoDB's time is not in it.
"""

import argparse
import asyncio
import time

import msgspec
from msgspec import Struct
from rich.console import Console

from bench import contestants, generator, servers
from bench.contestants import CONTESTANTS, Contestant, Race
from bench.report import Result, begin
from snacks.cdc.topics import AGGREGATES
from snacks.config import Settings
from snacks.platform import PlatformError

STILL = 3.0
"""Seconds without a commit after which a run is looked at."""
LONGEST = 900.0
POLL = 0.02

DEFAULT = "snacks,streams-eos,snacks-mongodb,streams"


class _Item(Struct):
    pass


class _Order(Struct, rename="camel"):
    order_status: str
    items: list[_Item]
    payment: dict[str, object] | None


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--orders", type=int, default=50_000)
    parser.add_argument("--form", choices=("flat", "schemas", "both"), default="both")
    parser.add_argument(
        "--only", default=DEFAULT, help=f"who runs, by comma, in this order: {', '.join(CONTESTANTS)}"
    )
    parser.add_argument("--seed", type=int, default=1)


async def run(chosen: argparse.Namespace, console: Console) -> Result:
    settings = servers.settings()
    field = [CONTESTANTS[name] for name in chosen.only.split(",")]
    result = begin(
        "drain",
        f"Drain of {chosen.orders:,} orders",
        {
            "rate": "records/s",
            "time": "s",
            "CPU": "s",
            "for CPU": "records/s of CPU",
            "memory": "MB",
            "aggregates": "written",
            "others": "% of machine",
        },
        "rate",
    )
    async with servers.platform(settings, console, "kafka", "mongod"):
        for form in ("flat", "schemas") if chosen.form == "both" else (chosen.form,):
            await servers.clear(settings, sources=True)
            backlog = await generator.write(settings, chosen.orders, form, chosen.seed)
            console.print(
                f"{form}: {backlog.records:,} records, {backlog.bytes / backlog.records:.0f} bytes each"
            )
            for number in range(chosen.runs):
                for contestant in field:
                    figures = await lap(settings, contestant, backlog)
                    result.add(f"{contestant.name}, {form}", **figures)
                    console.print(
                        f"  run {number + 1}: {contestant.name}: {figures['rate']:,.0f} records/s, "
                        f"{figures['CPU']:.1f} s of processor time"
                    )
            _ratios(result, field, form)
    return result


def _ratios(result: Result, field: list[Contestant], form: str) -> None:
    mine = [one for one in field if one.name.startswith("Snacks")]
    for own in mine:
        for other in field:
            if other not in mine:
                clock, cpu = (
                    result.median(f"{own.name}, {form}", column)
                    / result.median(f"{other.name}, {form}", column)
                    for column in ("rate", "for CPU")
                )
                result.notes.append(
                    f"{form}: {own.name} is {clock:.1f} times {other.name} by the clock, "
                    f"{cpu:.1f} times for the same processor time"
                )


async def lap(settings: Settings, contestant: Contestant, backlog: generator.Backlog) -> dict[str, float]:
    """One run of one contestant, from a clean state.

    Raises:
        PlatformError: it ended, or did not come to the right result.
    """
    await servers.clear(settings, sources=False)
    await servers.make_topics(settings, contestant.topics)
    await servers.clear_documents(settings)
    async with Race(contestant, settings) as race:
        broker = contestants.servers_cpu(settings)
        started = await race.start()
        busy, known, clock = contestants.busy(), broker(), time.time()
        ended, written = started, 0
        while not written:
            ended = await _settled(settings, race, ended)
            cpu, took = race.cpu_since_start, time.time() - clock
            foreign = contestants.busy() - busy - (broker() - known) - cpu
            written, wrong = await _aggregates(settings, backlog)
            if wrong:
                if time.time() - started > LONGEST:
                    raise PlatformError(
                        f"{contestant.name}: {wrong} orders are not final after {LONGEST:.0f} s"
                    )
                written = 0
        if contestant.documents:
            await _verify_documents(settings, backlog)
        return {
            "rate": backlog.records / (ended - started),
            "time": ended - started,
            "CPU": cpu,
            "for CPU": backlog.records / cpu,
            "memory": race.peak,
            "aggregates": written,
            "others": max(0.0, 100 * foreign / took / contestants.cores()),
        }


async def _settled(settings: Settings, race: Race, since: float) -> float:
    """When the last commit came (seconds since 1970), once none has come for a while."""
    sources = servers.partitions(settings, AGGREGATES)
    async with servers.reader(settings) as reader:
        ends, ended = 0, since
        while True:
            race.check()
            found = sum((await reader.end_offsets(sources)).values())
            now = time.time()
            if found != ends:
                ends, ended = found, now
            elif ends and now - ended > STILL:
                return ended
            if now - ended > LONGEST:
                raise PlatformError(f"{race.contestant.name} has committed nothing for {LONGEST:.0f} s")
            await asyncio.sleep(POLL)


async def _aggregates(settings: Settings, backlog: generator.Backlog) -> tuple[int, int]:
    """Read all aggregates: how many there are, and how many orders' last one is not the final one."""
    decode = msgspec.json.Decoder(_Order).decode
    last: dict[bytes, bytes] = {}
    count = 0
    async with servers.reader(settings) as reader:
        for source in servers.partitions(settings, AGGREGATES):
            reader.assign([source])
            end = (await reader.end_offsets([source]))[source]
            await reader.seek_to_beginning(source)
            while await reader.position(source) < end:
                for record in (await reader.getmany(source, timeout_ms=500)).get(source, ()):
                    count += 1
                    last[record.key] = record.value
    wrong = 0
    for order_id, items in backlog.orders.items():
        value = last.get(order_id.encode())
        order = decode(value) if value else None
        wrong += (
            order is None
            or order.order_status != "SHIPPED"
            or len(order.items) != items
            or order.payment is None
        )
    return count, wrong


async def _verify_documents(settings: Settings, backlog: generator.Backlog) -> None:
    async with servers.mongo(settings) as client:
        collection = client[settings.mongo_database]["customerOrder"]
        found = await collection.count_documents({"customerOrder.orderStatus": "SHIPPED"})
    if found != len(backlog.orders):
        raise PlatformError(f"{found} of {len(backlog.orders)} documents are SHIPPED.")
