"""A real browser for the tests of the pages: one process, a window (a context of its own) per visitor."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect
from tests.e2e import chromium

from snacks.config import Settings
from snacks.platform import PlatformError

PHONE, DESK = (390, 844), (1400, 900)
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
TIMEOUT = 20_000
"""Milliseconds that the browser waits for a state."""
expect.set_options(timeout=TIMEOUT)


@asynccontextmanager
async def browsing(settings: Settings) -> AsyncIterator[Browser]:
    """A browser. Without one the tests are skipped, but not in CI."""
    try:
        found = chromium.find(settings)
    except PlatformError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=found.program, args=chromium.FLAGS, env={**os.environ, **found.variables}
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(
    browser: Browser, base: str, *, size: tuple[int, int] = DESK, calm: bool = False
) -> AsyncIterator[Page]:
    """A window on the server at `base`. An uncaught error of its scripts fails the test.

    `calm`: its user wants no animations, so that what is looked at stands still.
    """
    context = await browser.new_context(
        base_url=base,
        viewport={"width": size[0], "height": size[1]},
        reduced_motion="reduce" if calm else "no-preference",
    )
    context.set_default_timeout(TIMEOUT)
    errors: list[str] = []
    try:
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None,
        )
        yield page
        assert not errors, errors
    finally:
        await context.close()


async def watching(page: Page) -> None:
    """Wait until the board follows the stream and has the present state."""
    await page.wait_for_selector("body[data-stream=live]")
    await expect(page.locator("#lane-PAID .none")).not_to_have_text("Reading …")


async def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page as it is now, light and dark."""
    wrong = []
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        found: list[dict[str, Any]] = (await Axe().run(page)).response["violations"]
        wrong += [
            f"{scheme} {one['id']}: {one['help']}: {node['html'][:160]}"
            for one in found
            for node in one["nodes"]
        ]
    return wrong
