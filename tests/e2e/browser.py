"""A real browser: Debian's Chromium without a screen, driven by Playwright."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright

from mcpgw.bootstrap.testing import ensure_chromium

PATIENCE_MS = 60_000
# Root has no sandbox to give away, and nothing but the page is to be fetched.
SWITCHES = ["--no-sandbox", "--disable-background-networking"]


SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
"""Every page that a test looked at, to be looked at by people."""


class Tab:
    """One tab, and everything in it that went wrong: scripts' errors, refusals by a page's own policy."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    async def keep(self, name: str) -> None:
        """A picture of the page in light and in dark, whole."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for scheme in ("dark", "light"):
            await self.page.emulate_media(color_scheme=scheme)
            await self.page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}.png", full_page=True)


@asynccontextmanager
async def tab(width_px: int = 1100) -> AsyncIterator[Tab]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(ensure_chromium()), args=SWITCHES)
        try:
            context = await browser.new_context(viewport={"width": width_px, "height": 800})
            context.set_default_timeout(PATIENCE_MS)
            yield Tab(await context.new_page())
        finally:
            await browser.close()
