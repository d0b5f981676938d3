"""A real browser: Debian's Chromium without a screen, driven by Playwright."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from mcpgw.bootstrap.testing import ensure_chromium

PATIENCE_MS = 60_000
# Root has no sandbox to give away, and nothing but the page is to be fetched.
SWITCHES = ["--no-sandbox", "--disable-background-networking"]


SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
"""Every page that a test looked at, to be looked at by people."""


# What text stands on: its own background, or the nearest one behind it. Source: WCAG 2.2, 1.4.3.
_FAINT = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((c) => linear(c / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const texts = [...node.childNodes].filter((child) => child.nodeType === 3 && child.data.trim());
    const says = texts.length > 0 || node.matches("input, textarea, select");
    if (!says || !node.checkVisibility() || node.closest(".unseen")) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""


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

    async def assert_readable(self) -> None:
        """Nothing is wider than the screen, and no text is too faint on its ground, in light and in dark."""
        wide = await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "nothing is wider than the screen"
        for scheme in ("dark", "light"):
            await self.page.emulate_media(color_scheme=scheme)
            assert await self.page.evaluate(_FAINT) == [], scheme


@asynccontextmanager
async def chromium(*switches: str) -> AsyncIterator[Browser]:
    """The browser itself, for tests whose people need more than one tab."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(ensure_chromium()), args=[*SWITCHES, *switches]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def tab(width_px: int = 1100) -> AsyncIterator[Tab]:
    async with chromium() as browser:
        context = await browser.new_context(viewport={"width": width_px, "height": 800})
        context.set_default_timeout(PATIENCE_MS)
        yield Tab(await context.new_page())
