"""What a person sees of what they gave away, and how they take it back."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from gateway.pages.access import PERSONAL_TOKENS_MAX
from state.kinds.access_policy import Rule
from state.kinds.account import Account, Claims, Decision
from state.kinds.user_container import UserContainer
from state.kinds.user_inputs import InputValue, UserInputs, new_user_inputs
from state.store.errors import StoreError
from state.store.port import Tx
from tests.gateway.providers.github_stand_in import GitHubStandIn
from tests.gateway.providers.oidc_stand_in import OidcStandIn
from tests.gateway.rig import Rig, gateway
from tests.gateway.sign_in.browser import Browser, Seen
from tests.gateway.sign_in.conftest import ANN_USER, Place, settings_of
from tests.gateway.sign_in.test_consent import call, connected
from tests.gateway.sign_in.test_tokens import refused


async def make_token(place: Place, browser: Browser, path: str = "/mcp", **differs: str) -> Seen:
    page = await browser.visit("/")
    chosen = {"token_name": "cron", "resource": place.rig.origin + path, "days": "30", **differs}
    return await browser.submit(page, "/-/token", **chosen)


def token_in(seen: Seen) -> str:
    found = re.search(r'value="(mcpgw_pat_[\w-]+)"', seen.text)
    assert found is not None, seen.text
    return found[1]


@pytest.fixture
async def browser(place: Place) -> Browser:
    browser = Browser(place.rig)
    await browser.sign_in("github")
    return browser


async def test_a_personal_token_is_shown_once_and_reaches_the_container(
    place: Place, browser: Browser
) -> None:
    token = token_in(await make_token(place, browser))
    assert (await call(place, token))[1]["container"] == "ann"
    account = await browser.visit("/")
    assert "cron" in account.text
    assert token not in account.text
    kept = b"".join(path.read_bytes() for path in place.rig.folder.iterdir())
    assert token.encode() not in kept


async def test_a_personal_token_is_good_for_what_it_was_made_for(place: Place, browser: Browser) -> None:
    token = token_in(await make_token(place, browser, "/-/api/v1"))
    await refused(place, token)
    headers = {"Authorization": f"Bearer {token}"}
    async with place.rig.request("GET", "/-/api/v1/containers", headers=headers) as answer:
        assert answer.status == 200
    mcp = token_in(await make_token(place, browser))
    async with place.rig.request(
        "GET", "/-/api/v1/containers", headers={"Authorization": f"Bearer {mcp}"}
    ) as answer:
        assert answer.status == 401


async def written_use(place: Place) -> float:
    """What auth.db says of the only token's last use, once every worker has written what it noted."""
    for worker in place.rig.workers:
        await worker._desk.callers.write_uses()
    [grant] = await place.rig.auth.read(lambda tx: tx.grants.of_user(ANN_USER, tx.now))
    return grant.used_at


async def test_the_account_says_when_a_token_was_used(place: Place, browser: Browser) -> None:
    token = token_in(await make_token(place, browser))
    made_at = await written_use(place)
    assert "Not used yet" in (await browser.visit("/")).text
    await call(place, token)
    used_at = await written_use(place)
    assert used_at > made_at
    seen = (await browser.visit("/")).text
    assert "Not used yet" not in seen
    assert f"{datetime.fromtimestamp(used_at, UTC):%Y-%m-%d %H:%M}" in seen


async def test_the_use_of_a_token_is_written_once_in_an_hour_and_not_with_the_request(
    place: Place, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_in(await make_token(place, browser))
    await call(place, token)
    first = await written_use(place)
    for _ in range(6):  # at every worker, also where it is verified anew
        await place.rig.signed_in(ANN_USER, Claims(login="ann"))
        await call(place, token)
    assert await written_use(place) == first
    monkeypatch.setattr("gateway.auth.callers.USED_EVERY_S", 0.0)
    await place.rig.signed_in(ANN_USER, Claims(login="ann"))
    await call(place, token)
    [grant] = await place.rig.auth.read(lambda tx: tx.grants.of_user(ANN_USER, tx.now))
    assert grant.used_at == first, "the request itself writes nothing"
    assert await written_use(place) > first


async def test_a_use_that_could_not_be_written_is_written_later(strict: Place) -> None:
    await strict.rig.add_policy(Rule(provider="github"))
    await strict.rig.add_user("ann", ANN_USER)
    await strict.rig.route("ann", strict.ann)
    browser = Browser(strict.rig)
    await browser.sign_in("github")
    token = token_in(await make_token(strict, browser))
    made_at = await written_use(strict)
    await call(strict, token)
    callers = strict.rig.worker._desk.callers

    class _Silent:
        async def transact(self, _: object) -> None:
            raise StoreError("auth.db is silent")

    real, callers._auth = callers._auth, _Silent()  # type: ignore[assignment]
    with pytest.raises(StoreError):
        await callers.write_uses()
    callers._auth = real
    assert await written_use(strict) > made_at
    assert callers._uses == {}


async def test_a_refused_token_was_not_used(strict: Place) -> None:
    await strict.rig.add_policy(Rule(provider="github"))
    browser = Browser(strict.rig)
    await browser.sign_in("github")
    token = token_in(await make_token(strict, browser))
    made_at = await written_use(strict)
    await strict.rig.workers[0]._desk.accounts.decide(ANN_USER, Decision.BANNED, "test")
    await strict.rig.applied()
    await refused(strict, token)
    assert await written_use(strict) == made_at


@pytest.mark.parametrize(
    ("reverify_after", "every"),
    [
        (86400.0, "every day,"),
        (7 * 86400.0, "every 7 days,"),
        (5400.0, "every 90 minutes,"),
        (90.5, "every 90.5 s"),
    ],
)
async def test_a_token_says_how_often_to_sign_in_for_it_to_go_on_working(
    strict: Place, reverify_after: float, every: str
) -> None:
    await strict.rig.add_policy(Rule(provider="github"), reverify_after=reverify_after)
    browser = Browser(strict.rig)
    account = await browser.sign_in("github")
    made = await make_token(strict, browser)
    signed_in_at = (await accounts(strict))[0].spec.claims_at
    by = f"{signed_in_at + timedelta(seconds=reverify_after):%Y-%m-%d %H:%M} UTC"
    assert f"sign in here at least {every}" in account.text
    assert by in account.text
    assert by in made.text


async def test_whoever_need_not_sign_in_again_is_not_told_to(rig: Rig) -> None:
    await rig.add_template()
    cookie = await rig.session("app:shop.alice")
    async with rig.request("GET", "/", headers={"Cookie": cookie, "Accept": "text/html"}) as answer:
        assert answer.status == 200
        assert "sign in here at least" not in await answer.text()


async def test_a_revoked_token_is_refused_at_the_next_request_on_every_worker(
    place: Place, browser: Browser
) -> None:
    token = token_in(await make_token(place, browser))
    for _ in range(6):
        assert (await call(place, token))[0] == 200
    await revoke_all(browser)
    for _ in range(6):
        await refused(place, token)
    assert "None yet" in (await browser.visit("/")).text


async def revoke_all(browser: Browser) -> None:
    page = await browser.visit("/")
    for grant in re.findall(r'name="grant" value="(\w[\w-]*)"', page.text):
        seen = await browser.submit(page, "/-/revoke", grant=grant)
        assert seen.status == 200


async def test_a_connected_client_is_revoked_by_the_person(place: Place, browser: Browser) -> None:
    asking, tokens = await connected(place)
    assert (await call(place, tokens["access_token"]))[0] == 200
    await revoke_all(browser)
    await refused(place, tokens["access_token"])
    assert (await asking.refresh(tokens["refresh_token"]))[1]["error"] == "invalid_grant"


async def test_nobody_revokes_anothers(place: Place, browser: Browser) -> None:
    token = token_in(await make_token(place, browser))
    page = await browser.visit("/")
    [grant] = re.findall(r'name="grant" value="([\w-]+)"', page.text)
    place.github.visitor = "bob"
    other = Browser(place.rig)
    await other.sign_in("github")
    await make_token(place, other)
    seen = await other.submit(await other.visit("/"), "/-/revoke", grant=grant)
    assert seen.status == 404
    assert (await call(place, token))[0] == 200


@pytest.mark.parametrize(
    ("differs", "reason"),
    [
        ({"token_name": "  "}, "NameMissing"),
        ({"resource": "https://evil.example/mcp"}, "ResourceUnknown"),
        ({"days": "99999"}, "LifetimeUnknown"),
        ({"days": "-1"}, "LifetimeUnknown"),
        ({"csrf": "x"}, "BadCsrfToken"),
    ],
)
async def test_a_token_is_not_made_of_nonsense(
    place: Place, browser: Browser, differs: dict[str, str], reason: str
) -> None:
    seen = await make_token(place, browser, **differs)
    assert seen.status in (400, 403)
    assert reason in seen.text


async def test_a_person_has_no_more_tokens_than_anybody_may_have(
    place: Place, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.pages.access.PERSONAL_TOKENS_MAX", 2)
    assert PERSONAL_TOKENS_MAX > 2
    for _ in range(2):
        token_in(await make_token(place, browser))
    assert "TooManyTokens" in (await make_token(place, browser)).text


async def test_signing_out_everywhere_ends_browsers_clients_and_tokens(
    place: Place, browser: Browser
) -> None:
    token = token_in(await make_token(place, browser))
    _, tokens = await connected(place)
    other = Browser(place.rig)
    await other.sign_in("github")
    page = await browser.visit("/")
    assert (await browser.submit(page, "/-/signout-everywhere")).url.endswith("/signin")
    for one in (browser, other):
        assert (await one.visit("/")).url.endswith("/signin")
    for dead in (token, tokens["access_token"]):
        await refused(place, dead)
    assert (await other.sign_in("github")).url == f"{place.rig.origin}/", "and in again"


async def test_a_deleted_account_leaves_nothing_that_opens_anything(place: Place, browser: Browser) -> None:
    _, tokens = await connected(place)
    page = await browser.visit("/")
    assert "NotConfirmed" in (await browser.submit(page, "/-/delete-account", confirm="no")).text
    seen = await browser.submit(page, "/-/delete-account", confirm="Delete")
    assert seen.url.endswith("/signin")
    await refused(place, tokens["access_token"])
    assert not [one for one in await accounts(place) if one.spec.user == ANN_USER]
    again = Browser(place.rig)
    again.cookies = {origin: dict(jar) for origin, jar in browser.cookies.items()}
    await again.sign_in("github")
    await refused(place, tokens["access_token"])
    [kept] = await place.rig.read(lambda tx: tx.list(UserContainer))
    assert not kept.metadata.is_deleted, "what an operator wrote in a file is theirs to take away"


async def test_a_deleted_account_takes_what_was_filled_in_along(place: Place, browser: Browser) -> None:
    """Also where the container stays, as an operator declared it."""

    def fill_in(tx: Tx) -> None:
        [owner] = tx.list(UserContainer)
        tx.create(new_user_inputs(owner, {"REGION": InputValue(text="eu", set_at=tx.now)}))

    await place.rig.write(fill_in)
    await browser.submit(await browser.visit("/"), "/-/delete-account", confirm="delete")
    assert await place.rig.read(lambda tx: tx.list(UserContainer))
    assert not await place.rig.read(lambda tx: tx.list(UserInputs))


async def accounts(place: Place) -> list[Account]:
    found: list[Account] = await place.rig.read(lambda tx: tx.list(Account))
    return found


async def test_an_old_session_is_none_of_the_account_that_is_made_anew(
    place: Place, browser: Browser
) -> None:
    old = {origin: dict(jar) for origin, jar in browser.cookies.items()}
    page = await browser.visit("/")
    await browser.submit(page, "/-/delete-account", confirm="delete")
    await Browser(place.rig).sign_in("github")
    thief = Browser(place.rig, cookies=old)
    assert (await thief.visit("/")).url.endswith("/signin")


async def test_containers_that_signing_in_made_end_with_the_account(place: Place) -> None:
    place.github.visitor = "bob"
    browser = Browser(place.rig)
    page = await browser.sign_in("github")
    await browser.submit(page, "/-/start")
    await browser.submit(await browser.visit("/"), "/-/delete-account", confirm="delete")
    made = await place.rig.read(lambda tx: tx.list(UserContainer))
    [bobs] = [one for one in made if one.spec.user == "github:77"]
    assert bobs.metadata.is_deleted


async def test_a_container_that_is_reset_ends_and_begins_anew(place: Place) -> None:
    place.github.visitor = "bob"
    browser = Browser(place.rig)
    page = await browser.sign_in("github")
    await browser.submit(page, "/-/start")
    page = await browser.visit("/")
    assert "NotConfirmed" in (await browser.submit(page, "/-/reset", confirm="no")).text
    assert (await browser.submit(page, "/-/reset", confirm="reset")).status == 200
    made = await place.rig.read(lambda tx: tx.list(UserContainer))
    [bobs] = [one for one in made if one.spec.user == "github:77"]
    assert bobs.metadata.is_deleted
    assert bobs.metadata.finalizers == ("data",), "its data is the reconciler's to put aside"


async def test_what_an_operator_declared_is_not_reset_by_its_user(place: Place, browser: Browser) -> None:
    page = await browser.visit("/")
    assert "users.yaml" in page.text
    csrf = page.fields("/signout")["csrf"]
    headers = {"Origin": place.rig.origin, "Cookie": cookie_of(place, browser)}
    fields = {"csrf": csrf, "name": "ann", "confirm": "reset"}
    async with place.rig.request("POST", "/-/reset", headers=headers, data=fields) as answer:
        assert answer.status == 409
        assert "users.yaml" in (await answer.json())["detail"]


async def test_nobody_resets_anothers_container(place: Place) -> None:
    place.github.visitor = "bob"
    browser = Browser(place.rig)
    page = await browser.sign_in("github")
    headers = {"Origin": place.rig.origin, "Cookie": cookie_of(place, browser)}
    fields = {"csrf": page.fields("/signout")["csrf"], "name": "ann", "confirm": "reset"}
    async with place.rig.request("POST", "/-/reset", headers=headers, data=fields) as answer:
        assert answer.status == 404


def cookie_of(place: Place, browser: Browser) -> str:
    return f"mcpgw={browser.cookies[f'localhost:{place.rig.port}']['mcpgw']}"


@pytest.mark.parametrize(
    "path",
    ["/-/reset", "/-/token", "/-/revoke", "/-/signout-everywhere", "/-/delete-account"],
)
async def test_whoever_is_not_signed_in_changes_nothing(place: Place, path: str) -> None:
    headers = {"Origin": place.rig.origin}
    async with place.rig.request("POST", path, data={"confirm": "delete"}, headers=headers) as answer:
        assert answer.status == 403
        assert (await answer.json())["reason"] == "NotSignedIn"


async def test_the_account_shows_how_each_client_is_connected(place: Place, browser: Browser) -> None:
    text = html.unescape((await browser.visit("/")).text)
    url = f"{place.rig.origin}/mcp"
    shown: list[Any] = [
        f"claude mcp add --transport http mcp-gateway {url}",
        "cursor://anysphere.cursor-deeplink/mcp/install?name=mcp-gateway&config=",
        "vscode:mcp/install?",
        f'[mcp_servers.mcp-gateway]\nurl = "{url}"',
        "ChatGPT",
        "Claude",
    ]
    assert [what for what in shown if what not in text] == []


# Somebody who holds a session, and knows that it will end


async def slowly(place: Place, path: str, cookie: str, fields: dict[str, str]) -> Any:
    """Send the head of a form, and give back what sends the rest and reads the answer's status."""
    import asyncio
    from urllib.parse import urlencode

    body = urlencode(fields).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", place.rig.port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost:{place.rig.port}\r\nOrigin: {place.rig.origin}\r\n"
        f"Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body[:1]
    )
    await writer.drain()

    async def finish() -> str:
        writer.write(body[1:])
        answer = (await reader.read()).decode("latin-1")
        writer.close()
        return answer

    return finish


@pytest.mark.parametrize("path", ["/-/token", "/-/delete-account", "/-/restart"])
async def test_a_form_begun_before_signing_out_everywhere_is_nobodys_after_it(
    place: Place, browser: Browser, path: str
) -> None:
    page = await browser.visit("/")
    fields = {
        "csrf": page.fields("/signout")["csrf"],
        "name": "ann",
        "confirm": "delete",
        "token_name": "x",
        "resource": f"{place.rig.origin}/mcp",
        "days": "365",
    }
    finish = await slowly(place, path, cookie_of(place, browser), fields)
    await browser.submit(page, "/-/signout-everywhere")
    assert (await finish()).startswith("HTTP/1.1 403 ")
    again = Browser(place.rig)
    await again.sign_in("github")
    assert "None yet" in (await again.visit("/")).text


async def test_a_grant_that_is_older_than_its_account_opens_nothing(place: Place, browser: Browser) -> None:
    """As an old auth.db that was put back would have one."""
    token = token_in(await make_token(place, browser))
    [grant] = await place.rig.auth.read(lambda tx: tx.grants.of_user(ANN_USER, tx.now))
    page = await browser.visit("/")
    await browser.submit(page, "/-/delete-account", confirm="delete")
    await Browser(place.rig).sign_in("github")
    again = replace(grant, grant_id="put-back", token_sha256=sha256(b"mcpgw_pat_old").hexdigest())
    await place.rig.auth.transact(lambda tx: tx.grants.add(again))
    await refused(place, "mcpgw_pat_old")
    await refused(place, token)


async def test_what_is_issued_while_somebody_is_signed_out_everywhere_is_taken_back(
    place: Place, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session was good when it was looked at, and the token written after everything was ended."""
    page = await browser.visit("/")
    for worker in place.rig.workers:
        desk = worker._desk
        transact = desk.auth.transact

        async def late(fn: Any, desk: Any = desk, transact: Any = transact) -> Any:
            monkeypatch.setattr(desk.auth, "transact", transact)
            await desk.accounts.sign_out(ANN_USER)
            return await transact(fn)

    monkeypatch.setattr(place.rig.auth, "transact", late)
    chosen = {"token_name": "late", "resource": f"{place.rig.origin}/mcp", "days": "30"}
    seen = await browser.submit(page, "/-/token", **chosen)
    assert (seen.status, "SignedOut" in seen.text) == (403, True)
    assert not await place.rig.auth.read(lambda tx: tx.grants.of_user(ANN_USER, tx.now))


async def test_a_way_into_a_home_ends_with_what_opened_it(place: Place, browser: Browser) -> None:
    home = "abcdefghijklmnopqrstuvwx23"
    await place.rig.give_home("ann", home)
    await place.rig.applied()
    left = await browser.depart(await browser.visit("/"), "/-/open")
    way_in = left.headers["Location"]
    other = Browser(place.rig)
    await other.sign_in("github")
    await other.submit(await other.visit("/"), "/-/signout-everywhere")
    seen = await browser.step(way_in)
    assert (seen.status, "BadCode" in seen.text) == (403, True)


async def test_who_waits_for_an_admin_may_sign_out(github: GitHubStandIn, oidc: OidcStandIn) -> None:
    async with gateway(**settings_of(github, oidc), unmatched_users="pending") as rig:
        await rig.add_template()
        await rig.applied()
        browser = Browser(rig)
        page = await browser.sign_in("github")
        assert "waiting for approval" in page.text
        assert (await browser.submit(page, "/signout")).url.endswith("/signin")


async def test_the_developers_sign_in_is_over_once_a_provider_is_there(place: Place) -> None:
    await place.rig.add_app("local")
    session = await place.rig.session("app:local.developer")
    headers = {"Cookie": session, "Accept": "text/html"}
    async with place.rig.request("GET", "/", headers=headers) as answer:
        assert answer.status == 403
        assert "a provider does that now" in await answer.text()
