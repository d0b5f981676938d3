"""The account page's containers in Chromium: every state in a picture, live, by keyboard, without scripts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from state.kinds.request import Request, Verb
from state.kinds.resource import Condition, ConditionType, Truth
from state.kinds.template import Input, Route
from state.kinds.user_container import Power, Termination, UserContainer
from state.kinds.user_inputs import INPUT_MISSING
from tests.e2e.browser import PATIENCE_MS, Tab, chromium
from tests.gateway.conftest import ALICE_HOME
from tests.gateway.rig import ROUTES, Container, Rig, container, gateway

ALICE = "app:shop.alice"
PHONE_PX = 375
DESK_PX = 1100
NOW = datetime(2026, 11, 26, tzinfo=UTC)
LONG = "a-name-without-any-place-to-break-it-at/" * 6
MANY_PAGES = tuple(Route(path=f"/page-{n:02}") for n in range(14))
LONGEST_PAGE = Route(path="/" + "a-path-as-long-as-one-may-be/" * 8 + "end")

_STOP = """() => {
  const at = document.activeElement;
  const style = getComputedStyle(at);
  const name = at === document.body ? "BODY" : at.id || at.textContent.trim();
  return [name, `${style.outlineStyle} ${parseFloat(style.outlineWidth)}`];
}"""


def condition(of: ConditionType, reason: str, message: str = "", truth: Truth = Truth.TRUE) -> Condition:
    return Condition(type=of, status=truth, reason=reason, message=message, since=NOW)


def starting(reason: str, message: str = "", ready: str = "NotRunning") -> tuple[Condition, ...]:
    return (
        condition(ConditionType.PROGRESSING, reason, message),
        condition(ConditionType.READY, ready, message, Truth.FALSE),
    )


CRASHED: dict[str, Any] = {
    "conditions": (
        condition(ConditionType.DEGRADED, "CrashLoop", f"it ended 4 times in a row; next try soon: {LONG}"),
        condition(ConditionType.READY, "CrashLoop", LONG, Truth.FALSE),
    ),
    "restart_count": 4,
    "last_termination": Termination(
        reason="Error", exit_code=3, at=NOW, log_tail=f"Traceback {LONG}\n" + "a line\n" * 40
    ),
}
STATES: dict[str, dict[str, Any]] = {
    "ready": {},
    "unknown": {"endpoint": None},
    "starting": {
        "endpoint": None,
        "conditions": starting("FetchingImage", "registry.example.com/team/app:1.2 is being fetched"),
    },
    "started": {"endpoint": None, "conditions": starting("Starting", "connection refused", "Starting")},
    "asleep": {"endpoint": None, "asleep_since": NOW},
    "in-trouble": {"endpoint": None, **CRASHED},
    "wants-a-value": {
        "endpoint": None,
        "conditions": (
            condition(
                ConditionType.READY,
                INPUT_MISSING,
                "The value “Key of the weather service” is required; fill it in on the account page.",
                Truth.FALSE,
            ),
        ),
    },
}


@pytest.fixture
async def alice() -> AsyncIterator[Container]:
    async with container("alice") as alice:
        yield alice


@pytest.fixture
async def rig(alice: Container) -> AsyncIterator[Rig]:
    """Alice has a container with more pages than fit into a row, a value to fill in, and its own address."""
    async with gateway() as rig:
        template = await rig.add_template("demo", (*ROUTES, *MANY_PAGES, LONGEST_PAGE))
        inputs = (Input(name="WEATHER_KEY", title="Key of the weather service", required=True),)
        spec = template.spec.model_copy(update={"inputs": inputs})
        await rig.write(lambda tx: tx.update_spec(template.replaced(spec=spec)))
        await rig.add_app("shop")
        await rig.add_user("alice", ALICE)
        await rig.give_home("alice", ALICE_HOME)
        await up(rig, alice)
        yield rig


async def up(rig: Rig, alice: Container) -> None:
    await rig.route("alice", alice, ALICE_HOME)
    await rig.status("alice", conditions=(condition(ConditionType.READY, "Answers"),), asleep_since=None)
    await rig.applied()


@asynccontextmanager
async def signed_in(rig: Rig, *, scripts: bool = True, reduced: bool = False) -> AsyncIterator[Tab]:
    """Alice at her account page."""
    name, _, value = (await rig.session(ALICE)).partition("=")
    async with chromium() as browser:
        context = await browser.new_context(
            viewport={"width": DESK_PX, "height": 800},
            java_script_enabled=scripts,
            reduced_motion="reduce" if reduced else "no-preference",
        )
        context.set_default_timeout(PATIENCE_MS)
        await context.add_cookies([{"name": name, "value": value, "url": rig.origin}])
        seen = Tab(await context.new_page())
        await seen.page.goto(rig.origin)
        yield seen


@pytest.mark.parametrize("state", STATES)
async def test_every_state_is_shown_readably_on_every_screen(rig: Rig, state: str) -> None:
    async with signed_in(rig) as seen:
        await rig.status("alice", **STATES[state])
        await rig.applied()
        await seen.page.reload()
        await seen.page.get_by_role("heading", name="demo", exact=True).wait_for()
        if state == "ready":
            await seen.page.get_by_text("Other pages (").click()
        for name, width_px in (("account-", DESK_PX), ("phone-account-", PHONE_PX)):
            await seen.page.set_viewport_size({"width": width_px, "height": 800})
            await seen.keep(name + state)
            await seen.assert_readable()
        assert seen.complaints == []


async def phase(seen: Tab, word: str) -> None:
    """Until the container's phase is that."""
    await seen.page.locator("#phase-alice", has_text=word).wait_for()


async def test_a_start_is_followed_step_by_step(rig: Rig, alice: Container) -> None:
    bar, step = "#progress-alice progress", '#progress-alice [aria-current="step"]'
    async with signed_in(rig, reduced=True) as seen:
        await phase(seen, "Ready")
        assert await seen.page.locator(bar).count() == 0
        await rig.unroute("alice")
        for reason, ready, done, at in (
            ("Claiming", "NotRunning", 0, "Place"),
            ("FetchingImage", "NotRunning", 1, "Image"),
            ("Creating", "NotRunning", 2, "Container"),
            ("Starting", "NotRunning", 3, "Start"),
            ("Starting", "Starting", 4, "Answer"),
        ):
            await rig.status("alice", conditions=starting(reason, "so", ready))
            await seen.page.locator(step, has_text=at).wait_for()
            assert await seen.page.locator(bar).evaluate("bar => [bar.value, bar.max]") == [done, 5]
        await up(rig, alice)
        await phase(seen, "Ready")
        assert await seen.page.locator(bar).count() == 0
        assert seen.complaints == []


async def test_what_a_person_has_open_and_typed_stays_while_the_page_is_redrawn(rig: Rig) -> None:
    await rig.write(_made_by_the_gateway)
    await rig.applied()
    async with signed_in(rig) as seen:
        page = seen.page
        await page.get_by_text("Begin anew, without its data").click()
        await page.get_by_text("Why it is so").click()
        typed = page.get_by_label("Type reset")
        await typed.fill("res")
        await typed.evaluate("field => field.setSelectionRange(1, 2)")
        await rig.unroute("alice")
        await rig.status("alice", **CRASHED)
        await phase(seen, "In trouble")
        log = page.locator("pre.log")
        await log.evaluate("log => (log.scrollTop = 40)")
        await rig.status("alice", restart_count=5)
        await page.get_by_text("5 restarts since").wait_for()
        assert await typed.input_value() == "res"
        assert await typed.evaluate(
            "field => [document.activeElement === field, field.selectionStart, field.selectionEnd]"
        ) == [True, 1, 2]
        assert await log.evaluate("log => log.scrollTop") == 40
        await page.keyboard.type("se")  # over what is selected, as if nothing had happened
        assert await typed.input_value() == "rses"
        assert seen.complaints == []


async def test_what_a_person_closed_stays_closed_and_trouble_opens_its_reasons(rig: Rig) -> None:
    async with signed_in(rig) as seen:
        page, why = seen.page, seen.page.locator("#why-alice")
        assert not await why.evaluate("why => why.open")
        await rig.unroute("alice")
        await rig.status("alice", **CRASHED)
        await phase(seen, "In trouble")
        assert await why.evaluate("why => why.open"), "the trouble is new"
        await page.get_by_text("Why it is so").click()
        await rig.status("alice", restart_count=6, conditions=CRASHED["conditions"][:1])
        await page.locator("#why-alice", has_text="6 restarts since").wait_for(state="attached")
        assert not await why.evaluate("why => why.open"), "she has seen it"


async def test_the_keyboard_goes_on_in_the_card_whose_button_went_away(rig: Rig) -> None:
    async with signed_in(rig) as seen:
        await seen.page.get_by_role("button", name="Put to sleep").focus()
        await rig.status("alice", endpoint=None, asleep_since=NOW)
        await seen.page.get_by_role("button", name="Wake").wait_for()
        assert await seen.page.evaluate("document.activeElement.id") == "title-alice"
        copied = seen.page.locator("#copy-alice-1")
        assert await copied.is_visible(), "it was shown by the script, and stays so"


async def test_every_stop_of_the_keyboard_is_seen(rig: Rig) -> None:
    async with signed_in(rig) as seen:
        stops: list[str] = []
        for _ in range(60):
            await seen.page.keyboard.press("Tab")
            name, outline = await seen.page.evaluate(_STOP)
            if name in stops or name == "BODY":
                break
            assert outline == "solid 3", name
            stops.append(name)
        assert {"open-alice", "restart-alice", "sleep-alice", "log-alice", "values-alice"} <= set(stops)
        assert stops.index("open-alice") < stops.index("restart-alice") < stops.index("Other pages (17)")


async def test_a_page_that_is_no_longer_followed_says_so(rig: Rig) -> None:
    async with signed_in(rig) as seen:
        await phase(seen, "Ready")
        assert not await seen.page.locator("#stale").is_visible()
        await seen.page.context.set_offline(True)
        rig.stop()
        await seen.page.get_by_text("does not follow your container at the moment").wait_for()


async def test_without_scripts_everything_can_be_done(rig: Rig, alice: Container) -> None:
    async with signed_in(rig, scripts=False) as seen:
        page = seen.page
        again = page.locator("noscript a")
        await page.get_by_role("button", name="Put to sleep").click()
        await asked_for(rig, Verb.SLEEP)
        await rig.status("alice", endpoint=None, asleep_since=NOW)
        await rig.applied()
        await again.click()
        await phase(seen, "Asleep")
        await page.get_by_role("button", name="Wake").click()
        await asked_for(rig, Verb.RESTART)
        await up(rig, alice)
        await again.click()
        await page.get_by_text("Other pages (").click()
        await page.get_by_role("button", name="Open /page-07").click()
        await page.get_by_text('"container": "alice"').wait_for()
        assert page.url == f"http://{ALICE_HOME}.localhost:{rig.port}/page-07"


async def asked_for(rig: Rig, verb: Verb) -> None:
    """Exactly that, and it is done with."""
    requests: list[Request] = await rig.read(lambda tx: tx.list(Request))
    assert [one.spec.verb for one in requests] == [verb]
    await rig.write(lambda tx: [tx.delete(one) for one in requests])


async def test_the_waiting_page_shows_how_far_it_is_and_opens_by_itself(rig: Rig, alice: Container) -> None:
    await rig.unroute("alice")
    await rig.status("alice", conditions=starting("FetchingImage", "demo is being fetched"))
    await rig.applied()
    async with signed_in(rig) as seen:
        page, bar = seen.page, seen.page.get_by_role("progressbar")
        await page.get_by_role("button", name="Open", exact=True).click()
        await page.get_by_role("heading", name="Your container is on its way").wait_for()
        assert await bar.evaluate("bar => bar.value") == 1
        await seen.keep("waiting")
        await rig.status("alice", conditions=starting("Starting", "connection refused", "Starting"))
        await page.get_by_text("connection refused").wait_for()
        assert await bar.evaluate("bar => bar.value") == 4
        await rig.status("alice", conditions=())
        await page.get_by_text("Nothing is known of it yet").wait_for()
        assert await bar.evaluate("bar => bar.position") == -1, "it goes on, nobody knows how far"
        await seen.keep("waiting-unknown")
        await seen.assert_readable()
        await up(rig, alice)
        await page.get_by_text('"container": "alice"').wait_for()


async def test_what_stands_still_offers_nothing_in_vain(rig: Rig) -> None:
    await rig.write(lambda tx: _powered(tx, Power.STOPPED))
    await rig.unroute("alice")
    await rig.applied()
    async with signed_in(rig) as seen:
        await seen.page.get_by_text("only they can start it again").wait_for()
        await seen.keep("account-stopped")
        for name in ("Open", "Restart", "Put to sleep", "Wake"):
            assert await seen.page.get_by_role("button", name=name, exact=True).count() == 0


async def test_a_wanting_value_leads_to_where_it_is_filled_in(rig: Rig) -> None:
    await rig.status("alice", **STATES["wants-a-value"])
    await rig.applied()
    async with signed_in(rig) as seen:
        await seen.page.get_by_text("“Key of the weather service” is required").first.wait_for()
        await seen.page.get_by_role("link", name="Fill it in").click()
        await seen.page.get_by_label("Key of the weather service").wait_for()


def _powered(tx: Any, power: Power) -> None:
    found = _alice(tx)
    tx.update_spec(found.replaced(spec=found.spec.model_copy(update={"power": power})))


def _made_by_the_gateway(tx: Any) -> None:
    found = _alice(tx)
    tx.update_spec(found.replaced(metadata=found.metadata.model_copy(update={"managed_by": "api"})))


def _alice(tx: Any) -> Any:
    return tx.get(UserContainer, "alice")
