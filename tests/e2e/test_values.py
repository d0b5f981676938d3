"""What somebody fills in at a real browser: their container has it, and nothing else says it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.async_api import Page

from gateway.auth.local import local_user
from mcpgw.testing.house import House, until
from mcpgw.testing.workload import demo_template
from state.kinds.user_container import UserContainer
from tests.e2e.browser import tab
from tests.e2e.conftest import opened
from tests.e2e.hand import Hand
from tests.e2e.person import sign_in_link
from tests.e2e.statefile import state_file
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

SECRET = "sk-plain-text-of-a-real-secret"
INPUTS = (
    {
        "name": "DEMO_GREETING",
        "title": "Greeting",
        "description": "What your page says.",
        "pattern": "[^<>]*",
    },
    {"name": "DEMO_TOKEN", "title": "A token", "secret": True, "required": True},
)
REFUSED = "the server responded with a status of"  # the browser's own note of an error that a test wants


@pytest.fixture(scope="module")
def needy_house(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A workload that does not start before its user has filled something in."""
    with opened(real_engine, tmp_path_factory.mktemp("values"), begin="nothing") as house:
        house.write_manifest("demo.yaml", demo_template(house.image, inputs=INPUTS))
        house.start()
        yield house


def developer(house: House) -> UserContainer | None:
    users = house.read(lambda tx: tx.list(UserContainer))
    return next((one for one in users if one.spec.user == local_user()), None)


def container_of(house: House, hand: Hand) -> str:
    """The one container that there is; "" while there is none, or one that goes."""
    found = [one["Id"] for one in hand.containers(house) if one["State"] == "running"]
    return str(found[0]) if len(found) == 1 else ""


def environment(hand: Hand, container: str) -> dict[str, str]:
    pairs = (one.partition("=") for one in hand.inspect(container)["Config"]["Env"])
    return {name: value for name, _, value in pairs}


async def open_workload(page: Page, house: House) -> None:
    await page.goto(f"{house.origin}/")
    await page.get_by_text("Ready", exact=True).first.wait_for()
    await page.get_by_role("button", name="Open").first.click()
    await page.get_by_role("heading", name="Demo workload").wait_for()


async def test_somebody_fills_in_what_is_needed_and_their_container_has_it(
    needy_house: House, hand: Hand
) -> None:
    house = needy_house
    refused = await asyncio.to_thread(house.call, "alice", "whoami")
    assert (refused.status, refused.message["reason"]) == (503, "InputMissing")
    assert "“A token”" in refused.message["detail"]
    assert not hand.ids(house), "nothing is made without it"
    async with tab() as browser:
        page = browser.page
        await page.goto(await sign_in_link(house))
        await page.get_by_text("“A token” is needed first").first.wait_for()
        await page.get_by_role("link", name="Fill it in").first.click()
        await page.get_by_label("Greeting").fill("<b>Hi")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_text("Fill this in").wait_for()
        await page.get_by_text("It does not have the form that is asked for.").wait_for()
        assert await page.get_by_label("Greeting").input_value() == "<b>Hi"
        assert await page.evaluate("document.activeElement.id") == "value-DEMO_GREETING"
        await browser.keep("values-refused")
        await page.get_by_label("Greeting").fill("Good morning, Ada & all")
        await page.get_by_label("A token").fill(SECRET)
        await page.get_by_role("button", name="Save").click()
        await page.wait_for_url(f"{house.origin}/")
        await open_workload(page, house)
        assert await page.locator("#greeting").inner_text() == "Good morning, Ada & all"
        assert await page.locator("#token").inner_text() == f"{len(SECRET)} characters"
        assert [said for said in browser.complaints if REFUSED not in said] == []
    assert environment(hand, container_of(house, hand))["DEMO_TOKEN"] == SECRET


async def test_a_changed_value_makes_the_container_anew_and_the_secret_is_not_asked_for_again(
    needy_house: House, hand: Hand
) -> None:
    house, before = needy_house, container_of(needy_house, hand)
    async with tab(375) as browser:
        page = browser.page
        await page.goto(await sign_in_link(house))
        await page.get_by_role("link", name="Values").first.click()
        await page.get_by_text("leave it empty to keep it").wait_for()
        assert await page.get_by_label("A token").input_value() == ""
        assert SECRET not in await page.content()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
        await browser.keep("values-phone")
        await page.get_by_label("Greeting").fill("Good evening")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{house.origin}/")
        await asyncio.to_thread(
            until, lambda: container_of(house, hand) not in ("", before), "the container is another one"
        )
        await open_workload(page, house)
        assert await page.locator("#greeting").inner_text() == "Good evening"
        assert await page.locator("#token").inner_text() == f"{len(SECRET)} characters"
        assert browser.complaints == []


def test_nothing_that_is_kept_or_said_has_the_secret_in_it(needy_house: House) -> None:
    """Above all the store, the claim beside the data, the logs; written out by a restart, too."""
    house = needy_house
    owner = developer(house)
    assert owner is not None
    for words in (("status",), ("explain", owner.name)):
        assert SECRET not in house.mcpgw(*words).stdout
    house.stop()
    read = [path for path in house.folder.rglob("*") if holds(path, SECRET)]
    assert read == []
    assert any(holds(path, "Good evening") for path in house.homes.glob("*/claim.json")), "the search finds"
    house.start()


def holds(path: Path, text: str) -> bool:
    with suppress(OSError):
        return path.is_file() and text.encode() in path.read_bytes()
    return False


def test_a_lost_store_loses_no_value(needy_house: House, hand: Hand) -> None:
    house = needy_house
    owner, before = developer(house), until(lambda: container_of(house, hand), "it runs")
    assert owner is not None
    house.stop()
    for path in state_file(house).parent.glob("state.db*"):
        path.unlink()
    house.start()
    until(lambda: is_served(house), "it is served again")
    assert container_of(house, hand) == before, "the very container goes on"
    again = developer(house)
    assert again is not None
    restart = until(lambda: remove(hand, before), "somebody removes it")
    assert restart
    after = until(lambda: new_one(container_of(house, hand), before), "there is another")
    assert environment(hand, after)["DEMO_TOKEN"] == SECRET
    assert environment(hand, after)["DEMO_GREETING"] == "Good evening"


def is_served(house: House) -> bool:
    owner = developer(house)
    return owner is not None and owner.status.endpoint is not None


def remove(hand: Hand, container: str) -> bool:
    hand.remove(container)
    return True


def new_one(container: str, before: str) -> str:
    return container if container != before else ""
