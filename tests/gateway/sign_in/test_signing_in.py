"""From the sign-in page to a session and back out, with providers that behave and with ones that do not."""

import asyncio

import pytest

from gateway.settings import GatewaySettings
from state.kinds.access_policy import Rule
from state.kinds.account import Account, Decision
from tests.gateway.providers.github_stand_in import GitHubStandIn, Person
from tests.gateway.providers.oidc_stand_in import OidcStandIn, signed_with_escapes
from tests.gateway.rig import container, gateway
from tests.gateway.sign_in.browser import Browser
from tests.gateway.sign_in.conftest import ANN_USER, BOB_USER, Place, oidc_settings, settings_of


async def account_of(place: Place, user: str) -> Account | None:
    accounts = await place.rig.read(lambda tx: tx.list(Account))
    return next((one for one in accounts if one.spec.user == user), None)


async def test_somebody_new_goes_from_the_address_bar_to_their_account(place: Place) -> None:
    browser = Browser(place.rig)
    seen = await browser.visit("/")
    assert seen.url.endswith("/signin")
    assert "Continue with GitHub" in seen.text
    assert "Continue with Example ID" in seen.text
    assert "terminal" not in seen.text, "no link where a provider is configured"
    seen = await browser.submit(seen, "/signin", provider="github")
    assert (seen.status, seen.url) == (200, f"{place.rig.origin}/")
    assert ANN_USER in seen.text
    account = await account_of(place, ANN_USER)
    assert account is not None
    assert account.spec.claims.emails == ("ann@example.com",)
    assert account.spec.claims.organizations is None, "nobody asked"


async def test_an_oidc_subject_is_another_account_than_a_github_id(place: Place) -> None:
    place.oidc.subject = "583231"
    browser = Browser(place.rig)
    seen = await browser.sign_in("oidc")
    assert "oidc:583231" in seen.text
    assert await account_of(place, "oidc:583231") is not None
    assert await account_of(place, ANN_USER) is None


@pytest.mark.negative(33)
async def test_the_same_address_at_another_provider_is_a_separate_account(place: Place) -> None:
    place.oidc.claims = {"email": "ann@example.com", "email_verified": True}
    for provider in ("github", "oidc"):
        await Browser(place.rig).sign_in(provider)
    accounts = await place.rig.read(lambda tx: tx.list(Account))
    assert len({one.spec.user for one in accounts}) == 2
    assert {one.spec.claims.emails for one in accounts} == {("ann@example.com",)}


@pytest.mark.negative(33)
async def test_an_unverified_address_says_nothing(strict: Place) -> None:
    await strict.rig.add_policy(Rule(provider="oidc", email="ann@example.com"))
    strict.oidc.claims = {"email": "ann@example.com", "email_verified": False}
    seen = await Browser(strict.rig).sign_in("oidc")
    assert seen.status == 403
    strict.oidc.claims = {"email": "ann@example.com", "email_verified": True}
    seen = await Browser(strict.rig).sign_in("oidc")
    assert (seen.status, seen.url) == (200, f"{strict.rig.origin}/")


async def test_an_admin_by_one_providers_word_is_none_by_anothers(
    github: GitHubStandIn, oidc: OidcStandIn
) -> None:
    oidc.claims = {"email": "ann@example.com", "email_verified": True}
    async with gateway(**settings_of(github, oidc), admin_emails=("oidc:ann@example.com",)) as rig:
        await rig.add_template()
        await rig.applied()
        assert (await Browser(rig).sign_in("github")).status == 403, "whose word it is not"
        assert (await Browser(rig).sign_in("oidc")).status == 200


@pytest.mark.negative(20)
async def test_what_one_browser_began_another_cannot_end(place: Place) -> None:
    attacker, victim = Browser(place.rig), Browser(place.rig)
    left = await attacker.depart(await attacker.visit("/signin"), "/signin", provider="github")
    seen = await victim.visit(left.headers["Location"])
    assert (seen.status, "OtherBrowser" in seen.text) == (403, True)
    assert not any(name == "mcpgw" for jar in victim.cookies.values() for name in jar)
    seen = await attacker.visit(left.headers["Location"])
    assert seen.status == 200, "the one who began it is not hindered"


@pytest.mark.negative(22)
async def test_a_state_is_good_once(place: Place) -> None:
    browser = Browser(place.rig)
    await browser.sign_in("github")
    callback = next(url for url in browser.visited if "/auth/callback" in url)
    seen = await browser.step(callback)
    assert (seen.status, "BadState" in seen.text) == (403, True)


@pytest.mark.negative(23)
async def test_a_state_is_good_for_ten_minutes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.auth.login.BROWSER_S", 0.0)
    seen = await Browser(place.rig).sign_in("github")
    assert (seen.status, "BadState" in seen.text) == (403, True)


@pytest.mark.negative(24)
@pytest.mark.parametrize("query", ["?code=x", "?code=x&state=", "?code=x&state=nonsense", ""])
async def test_an_answer_without_a_state_is_nobodys(place: Place, query: str) -> None:
    browser = Browser(place.rig)
    await browser.depart(await browser.visit("/signin"), "/signin", provider="github")
    seen = await browser.step(f"/auth/callback{query}")
    assert seen.status == 403


@pytest.mark.negative(27)
async def test_the_answer_of_another_provider_is_refused(place: Place) -> None:
    browser = Browser(place.rig)
    left = await browser.depart(await browser.visit("/signin"), "/signin", provider="oidc")
    state = next(part for part in left.headers["Location"].split("&") if part.startswith("state="))
    other = await browser.depart(await browser.visit("/signin"), "/signin", provider="github")
    back = await browser.step(other.headers["Location"])
    code = next(
        part for part in back.headers["Location"].split("?")[1].split("&") if part.startswith("code=")
    )
    seen = await browser.step(f"/auth/callback?{code}&{state}")
    assert seen.status == 403
    assert await account_of(place, "oidc:subject-1") is None


@pytest.mark.negative(32)
async def test_a_session_that_was_planted_is_not_the_one_that_is_opened(place: Place) -> None:
    browser = Browser(place.rig)
    planted = "A" * 43
    await browser.visit("/signin")
    browser.cookies[f"localhost:{place.rig.port}"]["mcpgw"] = planted
    await browser.sign_in("github")
    opened = browser.cookies[f"localhost:{place.rig.port}"]["mcpgw"]
    assert opened != planted
    other = Browser(place.rig)
    other.cookies[f"localhost:{place.rig.port}"] = {"mcpgw": planted}
    assert (await other.visit("/")).url.endswith("/signin")


async def test_a_sign_in_form_of_another_browser_is_refused(place: Place) -> None:
    page = await Browser(place.rig).visit("/signin")
    seen = await Browser(place.rig).submit(page, "/signin", provider="github")
    assert (seen.status, "BadCsrfToken" in seen.text) == (403, True)


async def test_a_browser_that_keeps_no_cookies_is_told_so_and_never_led_in_circles(place: Place) -> None:
    browser = Browser(place.rig, keeps_cookies=False)
    seen = await browser.sign_in("github")
    assert seen.status == 403
    assert "Allow cookies" in seen.text
    assert (await browser.visit("/")).url.endswith("/signin")


async def test_two_tabs_of_one_browser_do_not_end_each_other(place: Place) -> None:
    browser = Browser(place.rig)
    first = await browser.depart(await browser.visit("/signin"), "/signin", provider="github")
    second = await browser.depart(await browser.visit("/signin"), "/signin", provider="oidc")
    for left in (first, second):
        seen = await browser.visit(left.headers["Location"])
        assert (seen.status, seen.url) == (200, f"{place.rig.origin}/")


async def test_a_provider_that_does_not_exist_is_404(place: Place) -> None:
    browser = Browser(place.rig)
    seen = await browser.submit(await browser.visit("/signin"), "/signin", provider="evil")
    assert seen.status == 404


async def test_who_cancels_at_the_provider_is_told_what_next(place: Place) -> None:
    place.github.cancels = True
    seen = await Browser(place.rig).sign_in("github")
    assert seen.status == 403
    assert "GitHub" in seen.text


@pytest.mark.fault(41)
async def test_a_provider_that_is_down_is_a_page_and_the_others_work(
    github: GitHubStandIn, place: Place
) -> None:
    place.oidc.broken.answer("/token", b"<html>down</html>", status=502)
    seen = await Browser(place.rig).sign_in("oidc")
    assert seen.status == 503
    assert "Example ID" in seen.text
    assert "Traceback" not in seen.text
    assert (await Browser(place.rig).sign_in("github")).status == 200


@pytest.mark.fault(41)
@pytest.mark.parametrize("claim", ["sub", "email", "nonce", "name"])
async def test_half_a_character_in_a_signed_answer_is_a_page(strict: Place, claim: str) -> None:
    await strict.rig.add_policy(Rule(provider="oidc"))
    strict.oidc.sign, strict.oidc.lies = signed_with_escapes, {claim: "\ud800"}
    seen = await Browser(strict.rig).sign_in("oidc")
    assert (seen.status, "ProviderNonsense" in seen.text) == (503, True)
    assert "Example ID" in seen.text
    assert "Traceback" not in seen.text
    assert not await strict.rig.read(lambda tx: tx.list(Account))


@pytest.mark.parametrize("provider", ["github", "oidc"])
async def test_a_wrong_secret_starts_all_the_same_and_names_the_setting_at_sign_in(
    github: GitHubStandIn, oidc: OidcStandIn, provider: str
) -> None:
    setting = f"OAUTH_{provider.upper()}_CLIENT_SECRET"
    wrong = {**github.settings, **oidc_settings(oidc), setting: "not-the-secret"}
    async with gateway(**GatewaySettings.gathered(wrong)) as rig:
        seen = await Browser(rig).sign_in(provider)
        assert seen.status == 403
        assert setting in seen.text
        assert "not-the-secret" not in seen.text


@pytest.mark.fault(41)
@pytest.mark.parametrize("provider", ["github", "oidc"])
async def test_a_token_endpoint_that_sends_elsewhere_or_floods_is_a_page(place: Place, provider: str) -> None:
    """Who followed it would show the code, and the secret, to whoever is there."""
    broken, path = {
        "github": (place.github.broken, "/login/oauth/access_token"),
        "oidc": (place.oidc.broken, "/token"),
    }[provider]
    elsewhere = "/elsewhere"
    for status, body in ((307, b""), (302, b""), (200, b'{"access_token": "' + b"x" * (10 << 20) + b'"}')):
        broken.answer(path, body, status=status, Location=elsewhere)
        seen = await Browser(place.rig).sign_in(provider)
        assert (seen.status, "ProviderNonsense" in seen.text) == (503, True)
        assert "Traceback" not in seen.text
    assert elsewhere not in broken.asked


# Who may come in


async def test_by_default_nobody_may_come_in_but_the_admins(strict: Place) -> None:
    seen = await Browser(strict.rig).sign_in("github")
    assert (seen.status, "NotAdmitted" in seen.text) == (403, True)
    strict.oidc.claims = {"email": "Boss@Example.com", "email_verified": True}
    seen = await Browser(strict.rig).sign_in("oidc")
    assert (seen.status, seen.url) == (200, f"{strict.rig.origin}/")


async def test_a_changed_policy_acts_on_those_who_are_signed_in(place: Place) -> None:
    browser = Browser(place.rig)
    assert (await browser.sign_in("github")).status == 200
    await place.rig.add_policy(Rule(users=(ANN_USER,), allow=False), name="a-first")
    assert (await browser.visit("/")).status == 403
    place.github.visitor = "bob"
    assert BOB_USER in (await Browser(place.rig).sign_in("github")).text


async def test_a_rule_that_needs_an_organization_makes_the_provider_ask_for_it(strict: Place) -> None:
    strict.github.people["carl"] = Person(id=5, login="carl", organizations=["Acme"])
    strict.github.visitor = "carl"
    assert (await Browser(strict.rig).sign_in("github")).status == 403
    await strict.rig.add_policy(Rule(provider="github", organization="acme"))
    seen = await Browser(strict.rig).sign_in("github")
    assert (seen.status, seen.url) == (200, f"{strict.rig.origin}/")
    strict.github.visitor = "ann"
    assert (await Browser(strict.rig).sign_in("github")).status == 403


async def test_who_matches_nothing_may_wait_for_an_admin(github: GitHubStandIn, place: Place) -> None:
    async with (
        gateway(**settings_of(github, place.oidc), unmatched_users="pending") as rig,
        container("ann"),
    ):
        await rig.add_template()
        await rig.applied()
        browser = Browser(rig)
        seen = await browser.sign_in("github")
        assert "waiting for approval" in seen.text
        assert ANN_USER in seen.text
        await rig.workers[0]._desk.accounts.decide(ANN_USER, Decision.APPROVED, "test")
        await rig.applied()
        seen = await browser.visit("/")
        assert (seen.status, "Sign out everywhere" in seen.text) == (200, True)


async def test_claims_that_are_too_old_mean_signing_in_again(strict: Place) -> None:
    await strict.rig.add_policy(Rule(provider="github"), reverify_after=1.0)
    browser = Browser(strict.rig)
    assert (await browser.sign_in("github")).url == f"{strict.rig.origin}/"
    await asyncio.sleep(1.2)
    assert (await browser.visit("/")).url.endswith("/signin"), "once, and not in circles"
    assert (await browser.sign_in("github")).url == f"{strict.rig.origin}/"


async def test_nothing_is_kept_of_a_stranger_whom_nobody_let_in(strict: Place) -> None:
    seen = await Browser(strict.rig).sign_in("github")
    assert (seen.status, ANN_USER in seen.text) == (403, True)
    assert await account_of(strict, ANN_USER) is None


async def test_pages_by_another_name_of_the_gateway_move_to_its_origin(place: Place) -> None:
    headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
    for name in ("127.0.0.1", "[::1]"):
        host = f"{name}:{place.rig.port}"
        async with place.rig.request("GET", "/signin?x=1", host=host, headers=headers) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, f"{place.rig.origin}/signin?x=1")
    async with place.rig.request("GET", "/health", host=f"127.0.0.1:{place.rig.port}") as answer:
        assert answer.status == 200


async def test_the_sign_in_page_says_why_somebody_has_to_sign_in_again(strict: Place) -> None:
    await strict.rig.add_policy(Rule(provider="oidc"))
    browser = Browser(strict.rig)
    await browser.sign_in("oidc")
    await strict.rig.add_policy(Rule(provider="github", organization="acme"), name="a-first")
    strict.github.people["ann"].organizations.append("acme")
    github = Browser(strict.rig)
    await github.sign_in("github")
    assert (await github.visit("/")).url == f"{strict.rig.origin}/"
    await strict.rig.add_policy(Rule(provider="github", team="acme/devs"), name="0-first")
    seen = await github.visit("/")
    assert seen.url.endswith("/signin")
    assert "Sign in again" in seen.text


async def test_an_account_page_follows_nothing_for_who_may_not_come_in_any_more(place: Place) -> None:
    browser = Browser(place.rig)
    await browser.sign_in("github")
    cookie = f"mcpgw={browser.cookies[f'localhost:{place.rig.port}']['mcpgw']}"
    async with place.rig.request("GET", "/-/events", headers={"Cookie": cookie}) as answer:
        assert await answer.content.readline() == b"event: state\n"
        await place.rig.add_policy(Rule(users=(ANN_USER,), allow=False), name="a-first")
        await place.rig.unroute("ann")
        seen = await asyncio.wait_for(answer.content.read(), 20)
        assert seen.count(b"event: state") <= 1
