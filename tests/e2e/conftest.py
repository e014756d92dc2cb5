"""The app beside the tests, as a process, and a real browser."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser
from tests.e2e.app_process import App, serving
from tests.e2e.browser import browsing

from snacks.config import Settings
from snacks.platform import Platform


@pytest.fixture(scope="module")
async def app(platform: Platform) -> AsyncIterator[App]:
    async with serving(platform.settings) as running:
        yield running


@pytest.fixture(scope="module")
async def browser(settings: Settings) -> AsyncIterator[Browser]:
    async with browsing(settings) as one:
        yield one
