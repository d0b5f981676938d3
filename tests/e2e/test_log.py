"""People at a real browser look at the log of their own container while it goes on."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Page

from mcpgw.testing.house import House
from mcpgw.testing.waiting import seen
from mcpgw.testing.workload import demo_template
from tests.e2e.browser import Tab, chromium, tab
from tests.e2e.conftest import opened
from tests.e2e.hand import Hand
from tests.e2e.person import sign_in_link
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

RELOAD_MS = 30_000  # the page's own reload, generously


@pytest.fixture(scope="module")
def house_with_logs(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    workers = {"GATEWAY_WORKERS": "2"}
    with opened(real_engine, tmp_path_factory.mktemp("log"), workers, begin="nothing") as house:
        house.write_manifest("demo.yaml", demo_template(house.image))
        house.start()
        yield house


async def at_the_log(browser: Tab, house: House) -> Page:
    """The developer, by the account page's link, once their container is there."""
    page = browser.page
    await page.goto(await sign_in_link(house))
    await page.get_by_text("Ready", exact=True).first.wait_for()
    await page.get_by_role("link", name="Log").first.click()
    await page.get_by_role("heading", name="Log of demo").wait_for()
    return page


def container(hand: Hand, house: House) -> str:
    [one] = hand.containers(house)
    return str(one["Id"])


async def test_a_line_that_the_workload_prints_is_there_without_a_reload(
    house_with_logs: House, hand: Hand
) -> None:
    async with tab() as browser:
        page = await at_the_log(browser, house_with_logs)
        log = page.locator("#log")
        await page.get_by_text("Ready", exact=True).wait_for()
        hostile = "</pre><img src=x onerror=alert(1)> \x1b[31mred\x1b[0m"
        hand.say(container(hand, house_with_logs), hostile)
        await log.get_by_text("</pre><img src=x onerror=alert(1)> red").wait_for()
        assert await page.locator("img").count() == 0
        await page.get_by_text("Read at").wait_for()
        hand.say(container(hand, house_with_logs), "\n".join(f"line {n} of the log" for n in range(100)))
        await log.get_by_text("line 99 of the log").wait_for()
        assert await _is_at_end(page), "who looks at the end goes along with it"
        await browser.keep("log")
        await log.evaluate("node => node.scrollTop = 0")
        hand.say(container(hand, house_with_logs), "one more")
        await log.get_by_text("one more").wait_for()
        assert await log.evaluate("node => node.scrollTop") == 0, "who looks at something else is left there"
        await page.set_viewport_size({"width": 375, "height": 700})
        await browser.keep("phone-log")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.complaints == []


async def test_it_goes_on_with_the_next_container_and_can_be_used_by_keyboard(
    house_with_logs: House, hand: Hand
) -> None:
    async with tab() as browser:
        page = await at_the_log(browser, house_with_logs)
        first = container(hand, house_with_logs)
        hand.say(first, "of the first")
        await page.locator("#log").get_by_text("of the first").wait_for()
        hand.remove(first)

        async def another() -> list[str]:
            return [one["Id"] for one in hand.containers(house_with_logs) if one["State"] == "running"]

        [second] = await seen(another, lambda ids: bool(ids) and first not in ids, "there is another one")
        hand.say(second, "of the second")
        await page.locator("#log").get_by_text("of the second").wait_for()
        assert await page.locator("#log").get_by_text("of the first").count() == 0
        for _ in range(10):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.id") == "log":
                break
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="demo").first.wait_for()
        assert page.url == f"{house_with_logs.origin}/"
        assert browser.complaints == []


async def test_without_scripts_the_page_reloads_itself(house_with_logs: House, hand: Hand) -> None:
    async with chromium() as browser:
        context = await browser.new_context(java_script_enabled=False)
        page = await context.new_page()
        await page.goto(await sign_in_link(house_with_logs))
        await page.goto(f"{house_with_logs.origin}/")
        name = await page.get_by_role("link", name="Log").first.get_attribute("href")
        await page.goto(f"{house_with_logs.origin}{name}")
        hand.say(container(hand, house_with_logs), "said later")
        await page.locator("#log").get_by_text("said later").wait_for(timeout=RELOAD_MS)


async def _is_at_end(page: Page) -> bool:
    measured = "node => node.scrollHeight - node.scrollTop - node.clientHeight < 8"
    return bool(await page.locator("#log").evaluate(measured))
