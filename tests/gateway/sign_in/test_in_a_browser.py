"""Every page of signing in and of the account, in Chromium: by keyboard, under its policy, in a picture."""

import pytest

from state.kinds.access_policy import Role, Rule
from state.kinds.account import Claims, Decision
from tests.e2e.browser import Tab, tab
from tests.gateway.providers.github_stand_in import GitHubStandIn
from tests.gateway.providers.oidc_stand_in import OidcStandIn
from tests.gateway.rig import gateway
from tests.gateway.sign_in.browser import program
from tests.gateway.sign_in.conftest import ANN_USER, BOB_USER, Place, settings_of

PHONE_PX = 375


@pytest.fixture
async def one(strict: Place) -> Place:
    """Of one worker; Ann and the issuer's people may come in."""
    await strict.rig.add_policy(Rule(provider="github"), Rule(provider="oidc"))
    await strict.rig.add_user("ann", ANN_USER)
    await strict.rig.route("ann", strict.ann)
    await strict.rig.applied()
    return strict


async def press(seen: Tab, name: str) -> None:
    """Reach a button by the keyboard alone, and press it."""
    button = seen.page.get_by_role("button", name=name, exact=True)
    await button.wait_for()
    for _ in range(60):
        await seen.page.keyboard.press("Tab")
        if await button.evaluate("node => node === document.activeElement"):
            await seen.page.keyboard.press("Enter")
            return
    raise AssertionError(f"no Tab leads to {name}")


async def test_somebody_signs_in_by_keyboard_and_sees_their_account(one: Place) -> None:
    async with tab() as seen:
        await seen.page.goto(one.rig.origin)
        await seen.keep("signin")
        await seen.assert_readable()
        await press(seen, "Continue with GitHub")
        await seen.page.get_by_text("Sign out everywhere").wait_for()
        await seen.page.get_by_text("Claude Code", exact=True).click()
        await seen.keep("account")
        await seen.assert_readable()
        await seen.page.get_by_text("Make a token for a client without sign-in").click()
        await seen.page.get_by_label("Name").fill("backup script")
        await press(seen, "Make a token")
        await seen.page.get_by_text("Copy it now").wait_for()
        await seen.keep("token")
        await seen.assert_readable()
        await seen.page.get_by_role("link", name="Back to your account").click()
        await seen.page.get_by_text("Not used yet").wait_for()
        for name, width_px in (("account-with-token", 1100), ("phone-account-with-token", PHONE_PX)):
            await seen.page.set_viewport_size({"width": width_px, "height": 800})
            await seen.keep(name)
            await seen.assert_readable()
            box = await seen.page.get_by_role("button", name="Revoke backup script").bounding_box()
            assert box is not None and box["x"] + box["width"] <= width_px, "nobody scrolls sideways for it"
        await seen.page.get_by_role("button", name="Revoke backup script").click()
        await seen.page.get_by_text("None yet").wait_for()
        await seen.page.get_by_text("Delete this account").click()
        await seen.page.get_by_label("Type delete").fill("delete")
        await press(seen, "Delete my account")
        await seen.page.get_by_role("heading", name="Sign in").wait_for()
        assert seen.complaints == []


async def test_a_program_is_allowed_by_keyboard_on_the_way_through_a_provider(one: Place) -> None:
    asking = await program(one.rig, "Claude")
    async with tab() as seen:
        await seen.page.goto(one.rig.origin + asking.url())
        await seen.page.get_by_role("heading", name="Allow").wait_for()
        await seen.keep("consent-signed-out")
        await seen.assert_readable()
        async with seen.page.expect_request(lambda request: "127.0.0.1:9/callback" in request.url) as caught:
            await press(seen, "Allow, and sign in with Example ID")
        assert "code=" in (await caught.value).url
    async with tab() as seen:
        await seen.page.goto(one.rig.origin)
        await press(seen, "Continue with GitHub")
        await seen.page.get_by_text("Sign out everywhere").wait_for()
        await seen.page.goto(one.rig.origin + asking.url())
        await seen.page.get_by_role("button", name="Allow", exact=True).wait_for()
        await seen.keep("consent-signed-in")
        await seen.assert_readable()
        async with seen.page.expect_request(lambda request: "127.0.0.1:9/callback" in request.url) as caught:
            await press(seen, "Allow")
        assert "code=" in (await caught.value).url
        assert [said for said in seen.complaints if "ERR_UNSAFE_PORT" not in said] == []


async def test_an_admin_reads_whose_container_a_program_asks_for(strict: Place) -> None:
    await strict.rig.add_policy(Rule(users=(ANN_USER,), role=Role.ADMIN), Rule(provider="github"))
    await strict.rig.signed_in(BOB_USER, Claims(login="bob"))
    asking = await program(strict.rig, "Claude")
    async with tab(PHONE_PX) as seen:
        await seen.page.goto(strict.rig.origin)
        await press(seen, "Continue with GitHub")
        await seen.page.get_by_text("Sign out everywhere").wait_for()
        resource = f"{strict.rig.origin}/u/{BOB_USER}/mcp"
        await seen.page.goto(strict.rig.origin + asking.url(resource=resource))
        await seen.page.get_by_role("heading", name="the container of github:77, known as bob").wait_for()
        await seen.keep("phone-consent-to-anothers")
        await seen.assert_readable()


async def test_a_phone_shows_all_of_it(one: Place) -> None:
    asking = await program(one.rig, "A program with a name that is as long as anybody could reasonably want")
    async with tab(PHONE_PX) as seen:
        await seen.page.goto(one.rig.origin)
        await seen.keep("phone-signin")
        await seen.page.get_by_role("button", name="Continue with GitHub").click()
        await seen.page.get_by_text("Sign out everywhere").wait_for()
        await seen.page.get_by_text("Make a token for a client without sign-in").click()
        await seen.keep("phone-account")
        await seen.assert_readable()
        await seen.page.goto(one.rig.origin + asking.url())
        await seen.page.get_by_role("heading", name="Allow").wait_for()
        await seen.keep("phone-consent")
        await seen.assert_readable()


async def test_whoever_waits_for_an_admin_sees_that(github: GitHubStandIn, oidc: OidcStandIn) -> None:
    async with gateway(**settings_of(github, oidc), unmatched_users="pending") as rig, tab() as seen:
        await rig.add_template()
        await rig.applied()
        await seen.page.goto(rig.origin)
        await press(seen, "Continue with GitHub")
        await seen.page.get_by_text("You are waiting for approval").wait_for()
        await seen.keep("pending")
        await seen.assert_readable()
        await rig.workers[0]._desk.accounts.decide(ANN_USER, Decision.APPROVED, "test")
        await rig.applied()
        await seen.page.reload()
        await seen.page.get_by_text("Sign out everywhere").wait_for()


async def test_whom_a_program_asks_amiss_nobody_sends_away(one: Place) -> None:
    waits_at = "https://claude.ai/api/mcp/auth_callback"
    asking = await program(one.rig, "Claude", waits_at)
    async with tab(PHONE_PX) as seen:
        await seen.page.goto(
            one.rig.origin + asking.url(redirect_uri=waits_at, code_challenge_method="plain")
        )
        await seen.page.get_by_role("heading", name="This program cannot be connected").wait_for()
        assert await seen.page.get_by_role("link", name="Go to claude.ai").is_visible()
        assert seen.page.url.startswith(one.rig.origin)
        await seen.keep("phone-detour")
        await seen.assert_readable()


@pytest.mark.parametrize("path", ["/authorize", "/auth/callback?state=x", "/nothing"])
async def test_a_refusal_is_a_page_that_says_what_next(one: Place, path: str) -> None:
    async with tab() as seen:
        await seen.page.goto(one.rig.origin + path)
        await seen.page.get_by_role("link", name="Go to your account").wait_for()
        await seen.keep("refusal-" + path.strip("/").split("?")[0].replace("/", "-"))
        await seen.assert_readable()
