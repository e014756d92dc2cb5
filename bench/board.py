"""Does the board stay smooth with many orders? Frames of a real browser while the orders change.

Needs a broker (`./snacks up`); makes a topic of its own. Run it as
`PYTHONPATH=src:. python bench/board.py [--orders 2000] [--seconds 10] [--rates 20 200 1000]`.

The server has the app's pages, stream and feed, but no topology to ask. A frame is smooth if it came within
50 ms of the one before; the browser has no GPU here, and shares the cores with server, broker and producer.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from playwright.async_api import CDPSession, Page
from tests.e2e.browser import browsing, watching, window

from bench.stream import ORDER, answering, free_port, publish
from snacks import config
from snacks.config import Settings

SMOOTH_MS = 50
COUNTS = (
    "[...document.querySelectorAll('.lane .count')].reduce((sum, one) => sum + Number(one.textContent), 0)"
)
RECORD = """
window.gaps = []; window.long = []; window.last = performance.now();
if (!window.recording) {
  window.recording = true;
  const frame = (now) => { gaps.push(now - last); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => long.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask" });
}
"""
OPEN = """async () => {
  const began = performance.now();
  document.querySelector(".card .open").click();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const took = performance.now() - began;
  document.querySelector("#order-close").click();
  return took;
}"""


async def fill(settings: Settings, topic: str, ids: list[str]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
        for order_id in ids:
            body = (ORDER % (order_id, "PENDING")).encode()
            await producer.send(topic, body, order_id.encode(), headers=[("revision", b"0")])


async def metrics(cdp: CDPSession) -> dict[str, float]:
    """What the page's thread has done so far, in seconds."""
    told = (await cdp.send("Performance.getMetrics"))["metrics"]
    return {one["name"]: one["value"] for one in told}


async def frames(page: Page, rate: float, changing: "asyncio.Task[int] | None", seconds: float) -> None:
    """Record the frames of some seconds, and open an order twice a second meanwhile."""
    cdp = await page.context.new_cdp_session(page)
    await cdp.send("Performance.enable")
    before = await metrics(cdp)
    await page.evaluate(RECORD)
    opened, began = [], time.perf_counter()
    while time.perf_counter() - began < seconds:
        opened.append(await page.evaluate(OPEN))
        await asyncio.sleep(0.5)
    if changing is not None:
        await changing
    seen: dict[str, list[float]] = await page.evaluate("({ gaps, long })")
    after = await metrics(cdp)
    await cdp.detach()
    wall = after["Timestamp"] - before["Timestamp"]
    busy, script, layout, style = (
        (after[f"{name}Duration"] - before[f"{name}Duration"]) / wall
        for name in ("Task", "Script", "Layout", "RecalcStyle")
    )
    gaps, opened = sorted(seen["gaps"]), sorted(opened)
    took = sum(gaps) / 1000
    smooth = sum(gap for gap in gaps if gap <= SMOOTH_MS) / sum(gaps)
    print(
        f"{rate:>6.0f} changes/s: {len(gaps) / took:4.0f} frames/s, gap p50 {gaps[len(gaps) // 2]:.0f} ms, "
        f"p99 {gaps[len(gaps) * 99 // 100]:.0f} ms, max {gaps[-1]:.0f} ms; smooth {smooth:.0%} of the time; "
        f"{len(seen['long'])} tasks over 50 ms; the page's thread is busy {busy:.0%} (script {script:.0%}, "
        f"layout {layout + style:.0%}); an order opens in p50 {opened[len(opened) // 2]:.0f} ms, "
        f"max {opened[-1]:.0f} ms",
        flush=True,
    )


async def measure(settings: Settings, options: argparse.Namespace) -> None:
    topic, port = f"bench-{uuid4().hex[:8]}", free_port()
    ids = [f"order-{number}" for number in range(options.orders)]
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, settings.partitions, 1)])
    serve = [
        sys.executable,
        str(Path(__file__).with_name("stream.py")),
        "--serve",
        topic,
        "--port",
        str(port),
    ]
    server = subprocess.Popen(serve, env=os.environ)  # noqa: ASYNC220
    try:
        await answering(port)
        await fill(settings, topic, ids)
        async with browsing(settings) as browser, window(browser, f"http://127.0.0.1:{port}") as page:
            began = time.perf_counter()
            await page.goto("/")
            await watching(page)
            await page.wait_for_function(f"{COUNTS} === {options.orders}")
            print(f"{options.orders} orders are shown {time.perf_counter() - began:.1f} s after the start")
            await frames(page, 0, None, options.seconds)
            revision = 0
            for rate in options.rates:
                change: Any = publish(settings, topic, ids, rate, options.seconds, revision=revision)
                await frames(page, rate, asyncio.create_task(change), options.seconds)
                revision += int(rate * options.seconds) + 1
    finally:
        server.terminate()
        await asyncio.to_thread(server.wait, 20)
        await admin.delete_topics([topic])
        await admin.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rates", type=float, nargs="+", default=[20, 200, 1000], help="changes a second")
    asyncio.run(measure(config.load(), parser.parse_args()))


if __name__ == "__main__":
    main()
