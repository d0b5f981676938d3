"""People at a real browser: what the pages' own scripts do, under the policies that the pages carry."""

from collections.abc import Iterator

import pytest

from mcpgw.testing.house import House
from mcpgw.testing.workload import demo_template
from tests.e2e.browser import tab
from tests.e2e.conftest import opened
from tests.e2e.person import sign_in_link
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

STARTUP_DELAY_S = 4  # so that there is something to wait for
UNREADY = "the server responded with a status of 503"  # the browser's own note of the waiting page


# On Docker alone: what a page's script shows comes from conditions, which no engine writes.
@pytest.fixture(scope="module")
def slow_house(docker_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(docker_engine, tmp_path_factory.mktemp("browser"), begin="nothing") as house:
        env = {"DEMO_STARTUP_DELAY_S": str(STARTUP_DELAY_S)}
        house.write_manifest("demo.yaml", demo_template(house.image, env=env))
        house.start()
        yield house


async def test_somebody_signs_in_waits_and_is_taken_to_their_container_by_the_page_itself(
    slow_house: House,
) -> None:
    async with tab() as browser:
        page = browser.page
        await page.goto(await sign_in_link(slow_house))
        async with page.expect_navigation():
            await page.get_by_role("button", name="Open").first.click()
        await page.get_by_text("Your container is on its way").wait_for()
        home = page.url
        await page.get_by_role("heading", name="Demo workload").wait_for()  # nobody reloads but the page
        assert page.url == home
        await page.get_by_text("echoed: hello").wait_for()
        await page.get_by_text("answered by").wait_for()
        assert [said for said in browser.complaints if UNREADY not in said] == []


async def test_the_account_page_shows_by_itself_what_happens_to_the_container(slow_house: House) -> None:
    async with tab() as browser:
        page = browser.page
        await page.goto(await sign_in_link(slow_house))
        await page.get_by_text("Ready", exact=True).first.wait_for()
        await page.get_by_role("button", name="Restart").first.click()
        await page.get_by_text("Starting", exact=True).first.wait_for()
        await page.locator('[aria-current="step"]', has_text="Answer").wait_for()
        await page.get_by_text("Ready", exact=True).first.wait_for()
        assert await page.get_by_role("progressbar").count() == 0
        assert browser.complaints == []
