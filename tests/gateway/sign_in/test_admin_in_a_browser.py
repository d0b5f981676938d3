"""The admin's pages in Chromium: by keyboard, without a script, in light, in dark and on a phone."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from state.kinds.access_policy import Rule
from state.kinds.account import Claims
from state.kinds.report import ManifestFile, ManifestFileSpec, ManifestFileStatus
from state.kinds.resource import Condition, ConditionType, Metadata, Truth
from state.store.port import Tx
from tests.e2e.browser import Tab, tab
from tests.gateway.providers.github_stand_in import GitHubStandIn, Person
from tests.gateway.providers.oidc_stand_in import OidcStandIn
from tests.gateway.rig import Rig, gateway
from tests.gateway.sign_in.browser import Browser
from tests.gateway.sign_in.conftest import ANN_USER, BOB_USER, settings_of
from tests.gateway.sign_in.test_in_a_browser import PHONE_PX, press

LONG = "a-login-that-is-quite-as-long-as-anybody-could-want-it-to-be-on-a-small-screen"
PAGES = {
    "": "admin",
    "/people": "admin-people",
    "/containers": "admin-containers",
    "/manifests": "admin-manifests",
}


def person(number: int, login: str, address: str) -> Person:
    said = {"email": address, "verified": True, "primary": True, "visibility": None}
    return Person(id=number, login=login, emails=[said])


@pytest.fixture
async def rig(github: GitHubStandIn, oidc: OidcStandIn) -> AsyncIterator[Rig]:
    """The boss is at the browser; Bob has a container in trouble, and others wait."""
    github.add(person(1, "boss", "boss@example.com"))
    github.visitor = "boss"
    settings = {
        **settings_of(github, oidc),
        "unmatched_users": "pending",
        "admin_emails": ("boss@example.com",),
    }
    async with gateway(workers=2, **settings) as rig:
        await rig.add_template()
        await rig.add_policy(Rule(users=(BOB_USER,)))
        await rig.signed_in(ANN_USER, Claims(login="ann", emails=("ann@example.com",)))
        await rig.signed_in(BOB_USER, Claims(login="bob", emails=()))
        await rig.signed_in("oidc:" + "x" * 120, Claims(login=LONG, emails=(f"{LONG}@{LONG}.example",)))
        await rig.add_user("bob", BOB_USER)
        why = (
            "the image cannot be fetched: registry.example.com/"
            + "team/" * 20
            + "workload:latest: no such host"
        )
        await rig.condition("bob", ConditionType.DEGRADED, Truth.TRUE, "ImageUnavailable", why)
        await rig.write(refused_file)
        await rig.applied()
        yield rig


def refused_file(tx: Tx) -> None:
    file = tx.create(
        ManifestFile(metadata=Metadata(name="f-1"), spec=ManifestFileSpec(path="users/alice.yaml"))
    )
    message = 'users/alice.yaml:5:11: no such field "tempalte"; did you mean template?'
    refused = Condition(
        type=ConditionType.APPLIED,
        status=Truth.FALSE,
        reason="Refused",
        message=message,
        since=datetime.now(UTC),
    )
    tx.update_status(file.replaced(status=ManifestFileStatus(conditions=(refused,))))


async def follow_link(seen: Tab, name: str) -> None:
    """Reach a link by the keyboard alone, and follow it."""
    link = seen.page.get_by_role("link", name=name, exact=True).first
    await link.wait_for()
    for _ in range(60):
        await seen.page.keyboard.press("Tab")
        if await link.evaluate("node => node === document.activeElement"):
            await seen.page.keyboard.press("Enter")
            return
    raise AssertionError(f"no Tab leads to {name}")


async def test_an_admin_signs_in_approves_bans_and_restarts_by_keyboard(rig: Rig) -> None:
    async with tab() as seen:
        page = seen.page
        await page.goto(f"{rig.origin}/admin")
        await press(seen, "Continue with GitHub")
        await page.get_by_role("heading", name="Waiting for approval (2)").wait_for()
        assert page.url == f"{rig.origin}/admin"
        await seen.keep("admin")
        await seen.assert_readable()
        await press(seen, f"Approve ann ({ANN_USER})")
        await page.get_by_text(f"{ANN_USER} is approved; now: user, template demo (approved)").wait_for()
        await page.get_by_role("heading", name="Waiting for approval (1)").wait_for()
        await follow_link(seen, "People")
        await page.get_by_label("Find somebody").fill("ann@")
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="People (1)").wait_for()
        await press(seen, f"Ban ann ({ANN_USER})")
        await page.get_by_text(f"{ANN_USER} is banned; now: refused (banned)").wait_for()
        await press(seen, f"Unban ann ({ANN_USER})")
        await page.get_by_text(f"{ANN_USER} is no longer banned").wait_for()
        await page.goto(f"{rig.origin}/admin/people")
        await seen.keep("admin-people")
        await seen.assert_readable()
        await follow_link(seen, "Containers")
        await seen.keep("admin-containers")
        await seen.assert_readable()
        await follow_link(seen, "bob")
        await page.get_by_role("heading", name="Why it is so").wait_for()
        await press(seen, "Restart")
        await page.get_by_text("Asked of it last: Restart").wait_for()
        await seen.keep("admin-container")
        await seen.assert_readable()
        await follow_link(seen, "Manifests")
        await page.get_by_text("did you mean template?").wait_for()
        await seen.keep("admin-manifests")
        await seen.assert_readable()
        await follow_link(seen, "Your account")
        await follow_link(seen, "Admin")
        await page.get_by_role("heading", name="Waiting for approval (2)").wait_for()
        assert seen.complaints == []


async def test_a_phone_shows_all_of_it(rig: Rig) -> None:
    async with tab(PHONE_PX) as seen:
        await seen.page.goto(f"{rig.origin}/admin")
        await seen.page.get_by_role("button", name="Continue with GitHub").click()
        await seen.page.get_by_role("heading", name="Waiting for approval (2)").wait_for()
        for path, name in (*PAGES.items(), ("/container?name=bob", "admin-container")):
            await seen.page.goto(f"{rig.origin}/admin{path}")
            await seen.keep(f"phone-{name}")
            await seen.assert_readable()


async def test_a_sign_in_leads_back_to_the_admins_page_and_nowhere_else(rig: Rig) -> None:
    browser = Browser(rig)
    seen = await browser.visit("/admin")
    assert seen.url == f"{rig.origin}/signin?to=%2Fadmin"
    seen = await browser.submit(seen, "/signin", provider="github")
    assert (seen.status, seen.url) == (200, f"{rig.origin}/admin")
    for to in ("https://evil.example/", "//evil.example/", "/-/restart", "/admin/people"):
        other = Browser(rig)
        seen = await other.submit(await other.visit("/signin"), "/signin", provider="github", to=to)
        assert (seen.status, seen.url) == (200, f"{rig.origin}/")


async def test_somebody_who_is_no_admin_comes_back_to_a_page_that_says_so(
    rig: Rig, github: GitHubStandIn
) -> None:
    github.visitor = "bob"
    browser = Browser(rig)
    seen = await browser.submit(await browser.visit("/admin"), "/signin", provider="github")
    assert (seen.status, seen.url) == (403, f"{rig.origin}/admin")
    assert "NotAnAdmin" in seen.text
