"""Two processes are restarted one after the other while orders come in."""

import asyncio
from functools import partial

import pytest
from tests.e2e.app_process import App
from tests.e2e.lives import assert_all_shipped_and_nothing_stepped_back, assert_mongodb_equals_mysql, live
from tests.e2e.test_hand_over import has, pair, shares
from tests.waiting import until

from snacks.story import CHAPTERS

__all__ = ["pair"]  # the fixture


@pytest.mark.timeout(300)
async def test_a_rolling_restart_loses_no_order_and_every_shard_gets_its_owner_back(
    pair: tuple[App, App],
) -> None:
    lives = []
    for app in pair:
        other = pair[1 - pair.index(app)]
        lives += [asyncio.create_task(live(other.url(0), CHAPTERS[n % 4])) for n in range(10)]
        await app.stop()
        await until(partial(has, other, 6), within=60, every=0.1)
        await app.start()
        await until(partial(shares, *pair, 3), within=60, every=0.1)
    ids = await asyncio.gather(*lives)
    await assert_mongodb_equals_mysql(pair[0].settings)
    await assert_all_shipped_and_nothing_stepped_back(pair[0].settings, ids)
