"""One app, one browser and a window on the board, for all tests of the board."""

from collections.abc import AsyncIterator

import httpx
import pytest
from playwright.async_api import Browser, Page
from tests.e2e.app_process import App, serving
from tests.e2e.browser import browsing, watching, window

from snacks.config import Settings
from snacks.platform import Platform
from snacks.story import Teller


@pytest.fixture(scope="package")
async def app(platform: Platform) -> AsyncIterator[App]:
    async with serving(platform.settings) as running:
        yield running


@pytest.fixture(scope="package")
async def browser(settings: Settings) -> AsyncIterator[Browser]:
    async with browsing(settings) as one:
        yield one


@pytest.fixture
async def board(app: App, browser: Browser) -> AsyncIterator[Page]:
    async with window(browser, app.url(3)) as page:
        await page.goto("/")
        await watching(page)
        yield page


@pytest.fixture
async def teller(app: App) -> AsyncIterator[Teller]:
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        yield Teller(client, app.url(0))
