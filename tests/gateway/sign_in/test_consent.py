"""What a program asks of a person: shown before anything else, answered in that browser, each time anew."""

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from gateway.auth.oauth.port import ClientDocuments
from tests.gateway.oauth_documents.rig import site
from tests.gateway.rig import bearer
from tests.gateway.sign_in.browser import CALLBACK, Browser, Program, Seen, program
from tests.gateway.sign_in.conftest import ANN_USER, Place


async def connected(place: Place, browser: Browser | None = None) -> tuple[Program, dict[str, Any]]:
    """A program that Ann has just allowed, and its tokens."""
    asking = await program(place.rig)
    browser = browser or Browser(place.rig)
    page = await browser.visit(asking.url())
    answer = await browser.submit(page, "/authorize", provider="github")
    status, tokens = await asking.redeem(answer)
    assert status == 200, tokens
    return asking, tokens


async def call(
    place: Place, token: str, path: str = "/mcp", **headers: str
) -> tuple[int, Any, dict[str, str]]:
    async with place.rig.request("POST", path, headers=bearer(token, None, **headers), data=b"{}") as answer:
        return answer.status, await answer.json(), dict(answer.headers)


async def test_a_program_is_connected_and_reaches_the_persons_own_container(place: Place) -> None:
    _, tokens = await connected(place)
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "mcp"
    status, seen, _ = await call(place, tokens["access_token"])
    assert (status, seen["container"]) == (200, "ann")


async def test_the_page_says_who_asks_for_what_and_where_the_answer_goes(place: Place) -> None:
    asking = await program(place.rig, "Sheet <b>Bot</b>")
    page = await Browser(place.rig).visit(asking.url())
    text = html.unescape(page.text)
    assert "Sheet <b>Bot</b>" in text
    assert f"{place.rig.origin}/mcp" in text
    assert "127.0.0.1" in text
    assert "Allow, and sign in with GitHub" in text
    assert "Allow, and sign in with Example ID" in text


async def test_the_page_names_all_that_the_api_can_do(place: Place) -> None:
    """Also what takes data away: DELETE of a container is a reset."""
    asking = await program(place.rig)
    page = await Browser(place.rig).visit(asking.url(resource=f"{place.rig.origin}/-/api/v1", scope="api"))
    text = html.unescape(page.text)
    assert "see the state and the log of your container, restart it, put it to sleep, and reset it" in text


@pytest.mark.negative(8)
async def test_html_in_a_programs_name_is_text_wherever_it_is_shown(place: Place) -> None:
    asking = await program(place.rig, "<script>alert(1)</script>")
    browser = Browser(place.rig)
    page = await browser.visit(asking.url())
    assert "<script>alert" not in page.text
    answer = await browser.submit(page, "/authorize", provider="github")
    await asking.redeem(answer)
    account = await browser.visit("/")
    assert "alert(1)" in account.text
    assert "<script>alert" not in account.text


async def test_nobody_is_sent_to_a_provider_before_they_consented(place: Place) -> None:
    asking = await program(place.rig)
    browser = Browser(place.rig)
    page = await browser.visit(asking.url())
    assert not place.github.broken.asked
    assert "mcpgw-state" not in browser.cookies[f"localhost:{place.rig.port}"], "only after approval"
    left = await browser.depart(page, "/authorize", provider="github")
    assert left.headers["Location"].startswith(place.github.url)
    assert "mcpgw-state" in browser.cookies[f"localhost:{place.rig.port}"]


async def test_who_does_not_allow_it_sends_the_program_away_with_an_error(place: Place) -> None:
    asking = await program(place.rig)
    browser = Browser(place.rig)
    answer = await browser.submit(await browser.visit(asking.url()), "/authorize", decision="deny")
    assert answer.url.startswith(CALLBACK)
    assert answer.query["error"] == "access_denied"
    assert answer.query["state"] == asking.state
    assert answer.query["iss"] == place.rig.origin
    assert not place.github.broken.asked


async def test_who_is_signed_in_goes_nowhere_else(place: Place) -> None:
    browser = Browser(place.rig)
    await browser.sign_in("github")
    place.github.broken.asked.clear()
    asking = await program(place.rig)
    page = await browser.visit(asking.url())
    assert 'value="allow"' in page.text
    answer = await browser.submit(page, "/authorize", decision="allow")
    assert answer.query["iss"] == place.rig.origin
    status, tokens = await asking.redeem(answer)
    assert status == 200
    assert not place.github.broken.asked
    assert (await call(place, tokens["access_token"]))[1]["container"] == "ann"


async def test_what_was_not_said_is_not_taken_for_a_yes(place: Place) -> None:
    browser = Browser(place.rig)
    await browser.sign_in("github")
    page = await browser.visit((await program(place.rig)).url())
    for chosen in ({}, {"decision": ""}, {"decision": "Allow"}, {"provider": "github"}):
        seen = await browser.submit(page, "/authorize", **chosen)
        assert (seen.status, "NoDecision" in seen.text) == (400, True)
    assert not any(url.startswith(CALLBACK) for url in browser.visited)


@pytest.mark.negative(20)
async def test_what_an_attacker_allowed_a_victim_does_not_complete(place: Place) -> None:
    asking = await program(place.rig)
    attacker, victim = Browser(place.rig), Browser(place.rig)
    left = await attacker.depart(await attacker.visit(asking.url()), "/authorize", provider="github")
    seen = await victim.visit(left.headers["Location"])
    assert (seen.status, "OtherBrowser" in seen.text) == (403, True)
    assert not any(url.startswith(CALLBACK) for url in victim.visited)


@pytest.mark.negative(21)
async def test_the_answer_of_another_browser_is_refused(place: Place) -> None:
    asking = await program(place.rig)
    page = await Browser(place.rig).visit(asking.url())
    signed_in = Browser(place.rig)
    await signed_in.sign_in("github")
    for other in (Browser(place.rig), signed_in):
        for decision in ("allow", "deny"):
            seen = await other.submit(page, "/authorize", decision=decision)
            assert (seen.status, "BadCsrfToken" in seen.text) == (403, True)


async def test_the_answer_to_one_program_is_none_to_another(place: Place) -> None:
    first, second = await program(place.rig), await program(place.rig)
    browser = Browser(place.rig)
    await browser.sign_in("github")
    page = await browser.visit(first.url())
    query = second.url().partition("?")[2]
    seen = await browser.submit(page, "/authorize", decision="allow", query=query)
    assert seen.status == 403


@pytest.mark.negative(25)
async def test_the_page_may_not_be_framed(place: Place) -> None:
    page = await Browser(place.rig).visit((await program(place.rig)).url())
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"


@pytest.mark.negative(28)
async def test_a_new_program_and_the_same_one_again_ask_again(place: Place) -> None:
    browser = Browser(place.rig)
    asking, _ = await connected(place, browser)
    for again in (asking, await program(place.rig)):
        page = await browser.visit(again.url())
        assert (page.status, 'value="allow"' in page.text) == (200, True)


async def test_a_provider_that_was_not_offered_is_refused(place: Place) -> None:
    browser = Browser(place.rig)
    page = await browser.visit((await program(place.rig)).url())
    for chosen in ({}, {"provider": "evil"}, {"decision": "allow"}):
        seen = await browser.submit(page, "/authorize", **chosen)
        assert (seen.status, "NoProvider" in seen.text) == (400, True)


@pytest.mark.parametrize(
    "differs",
    [
        pytest.param({"client_id": "unknown"}, id="n9_an_unknown_client", marks=pytest.mark.negative(9)),
        pytest.param(
            {"redirect_uri": "https://evil.example/"},
            id="n10_a_foreign_redirect",
            marks=pytest.mark.negative(10),
        ),
        pytest.param(
            {"redirect_uri": "http://127.0.0.1:9/other"},
            id="n11_another_loopback_path",
            marks=pytest.mark.negative(11),
        ),
        pytest.param(
            {"redirect_uri": "http://localhost:9/callback"},
            id="n12_localhost_for_127_0_0_1",
            marks=pytest.mark.negative(12),
        ),
        pytest.param({"client_id": None}, id="no_client"),
    ],
)
async def test_nobody_is_redirected_to_an_address_nobody_vouches_for(
    place: Place, differs: dict[str, str | None]
) -> None:
    asking = await program(place.rig)
    seen = await Browser(place.rig).step(asking.url(**differs))
    assert (seen.status, "BadAuthorization" in seen.text) == (400, True)
    assert "Location" not in seen.headers


@pytest.mark.parametrize(
    ("differs", "error"),
    [
        pytest.param(
            {"code_challenge": None}, "invalid_request", id="n13_no_pkce", marks=pytest.mark.negative(13)
        ),
        pytest.param(
            {"code_challenge_method": "plain"},
            "invalid_request",
            id="n14_plain",
            marks=pytest.mark.negative(14),
        ),
        pytest.param(
            {"code_challenge_method": None},
            "invalid_request",
            id="n15_no_method",
            marks=pytest.mark.negative(15),
        ),
        pytest.param(
            {"resource": "https://evil.example/mcp"},
            "invalid_target",
            id="n16_foreign_resource",
            marks=pytest.mark.negative(16),
        ),
        pytest.param(
            {"response_type": "token"},
            "unsupported_response_type",
            id="n17_token",
            marks=pytest.mark.negative(17),
        ),
    ],
)
async def test_a_bad_request_is_told_to_the_program_with_the_issuer(
    place: Place, differs: dict[str, str | None], error: str
) -> None:
    asking = await program(place.rig)
    seen = await Browser(place.rig).step(asking.url(**differs))
    answer = Seen(303, seen.headers["Location"], "", {})
    assert seen.status == 303
    assert answer.url.startswith(CALLBACK)
    assert (answer.query["error"], answer.query["iss"], answer.query["state"]) == (
        *(error, place.rig.origin, asking.state),
    )


BAD_REQUESTS: dict[str, dict[str, str | None]] = {
    "no_pkce": {"code_challenge": None},
    "another_response_type": {"response_type": "token"},
    "another_response_mode": {"response_mode": "fragment"},
    "a_foreign_resource": {"resource": "https://evil.example/mcp"},
}


@pytest.mark.parametrize("differs", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
@pytest.mark.parametrize("signed_in", [False, True])
async def test_a_bad_request_sends_nobody_to_an_address_on_the_web_unasked(
    place: Place, differs: dict[str, str | None], signed_in: bool
) -> None:
    """Whoever registered it may want people to be sent there from an address that they trust."""
    waits_at = "https://phish.example/cb"
    asking = await waiting_at(place, waits_at)
    browser = Browser(place.rig)
    if signed_in:
        await browser.sign_in("github")
    seen = await browser.step(asking.url(redirect_uri=waits_at, **differs))
    assert seen.status == 400
    assert "Location" not in seen.headers
    assert "Refresh" not in seen.headers and "http-equiv" not in seen.text
    assert '<strong class="host">phish.example</strong>' in seen.text
    [onwards] = re.findall(r'href="(https://phish[^"]+)"', seen.text)
    told = Seen(303, html.unescape(onwards), "", {}).query
    assert (told["iss"], told["state"]) == (place.rig.origin, asking.state)
    assert told["error"] in ("invalid_request", "unsupported_response_type", "invalid_target")


async def test_a_bad_answer_to_the_page_sends_nobody_to_an_address_on_the_web_unasked(place: Place) -> None:
    waits_at = "https://phish.example/cb"
    asking = await waiting_at(place, waits_at)
    browser = Browser(place.rig)
    page = await browser.visit(asking.url(redirect_uri=waits_at))
    query = asking.url(redirect_uri=waits_at, response_type="token").partition("?")[2]
    seen = await browser.depart(page, "/authorize", query=query, decision="deny")
    assert (seen.status, "Location" in seen.headers) == (400, False)
    seen = await browser.depart(page, "/authorize", decision="deny")
    assert seen.status == 303, "who was shown where it leads, and chose"
    assert seen.headers["Location"].startswith(f"{waits_at}?error=access_denied")


@pytest.mark.negative(18)
async def test_two_addresses_are_none(place: Place) -> None:
    asking = await program(place.rig)
    for second in (CALLBACK, "https://evil.example/"):
        seen = await Browser(place.rig).step(asking.url() + f"&redirect_uri={quote(second, safe='')}")
        assert (seen.status, "BadAuthorization" in seen.text) == (400, True)
        assert "Location" not in seen.headers


@pytest.mark.negative(19)
async def test_a_scope_that_nobody_knows_is_left_out(place: Place) -> None:
    asking = await program(place.rig)
    browser = Browser(place.rig)
    page = await browser.visit(asking.url(scope="mcp root *"))
    assert "root" not in page.text.partition("<ul>")[2].partition("</ul>")[0]
    status, tokens = await asking.redeem(await browser.submit(page, "/authorize", provider="github"))
    assert (status, tokens["scope"]) == (200, "mcp")


@pytest.mark.parametrize("state", ["x" * 2049, "a\nb", "a\x00", "\x7f", "caf\u00e9", "\ud7ff"], ids=ascii)
async def test_a_state_that_could_not_be_sent_back_is_told_to_the_person(strict: Place, state: str) -> None:
    asking = await program(strict.rig)
    for differs in ({}, {"response_type": "token"}):
        seen = await Browser(strict.rig).step(asking.url(state=state, **differs))
        assert (seen.status, "BadAuthorization" in seen.text) == (400, True)
        assert "Location" not in seen.headers


async def test_the_longest_state_comes_back_as_it_was(strict: Place) -> None:
    state = ("! ~&=%+" * 293)[:2048]
    asking = await program(strict.rig)
    browser = Browser(strict.rig)
    page = await browser.visit(asking.url(state=state))
    answer = await browser.submit(page, "/authorize", decision="deny")
    assert answer.query["state"] == state


@pytest.mark.parametrize(
    ("differs", "error"),
    [
        ({"code_challenge": "x" * 129}, "invalid_request"),
        ({"code_challenge": "x" * 42}, "invalid_request"),
        ({"resource": "http://localhost/" + "x" * 4000}, "invalid_target"),
    ],
    ids=["a long challenge", "a short challenge", "a long resource"],
)
async def test_what_is_too_long_is_not_kept(strict: Place, differs: dict[str, str], error: str) -> None:
    asking = await program(strict.rig)
    seen = await Browser(strict.rig).step(asking.url(**differs))
    assert Seen(303, seen.headers["Location"], "", {}).query["error"] == error


# Whose program it is


async def waiting_at(place: Place, redirect_uri: str) -> Program:
    body = {"client_name": "P", "redirect_uris": [redirect_uri]}
    async with place.rig.request("POST", "/register", json=body) as answer:
        assert answer.status == 201, await answer.text()
        return Program(place.rig, (await answer.json())["client_id"])


async def named(place: Place, redirect_uri: str) -> Seen:
    """The page for a program that waits at ``redirect_uri``."""
    asking = await waiting_at(place, redirect_uri)
    return await Browser(place.rig).visit(asking.url(redirect_uri=redirect_uri))


async def test_an_answer_on_this_computer_could_be_anybodys_here(strict: Place) -> None:
    warned = "any program on it could be asking"
    assert warned in (await named(strict, "http://127.0.0.1:7/cb")).text
    assert warned in (await named(strict, "http://localhost/cb")).text
    assert warned not in (await named(strict, "https://claude.ai/cb")).text


async def test_a_scheme_of_ones_own_is_named(strict: Place) -> None:
    for scheme, rest in (("cursor", "//anysphere.cursor-mcp/cb"), ("com.example.app", "/cb")):
        page = await named(strict, f"{scheme}:{rest}")
        assert "a program on this device that opens" in page.text
        assert f'<strong class="host">{scheme}:</strong> addresses' in page.text
        assert f" {scheme}:;" in page.headers["Content-Security-Policy"]
    assert "a program on this device" not in (await named(strict, "https://claude.ai/cb")).text


async def test_a_policy_lets_the_answer_go_to_an_ipv6_loopback_address(strict: Place) -> None:
    page = await named(strict, "http://[::1]:7777/cb")
    policy = page.headers["Content-Security-Policy"]
    assert "http:" in policy.partition("form-action ")[2].partition(";")[0].split()
    assert "[" not in policy, "no browser understands it"
    assert (
        " http:;" not in (await named(strict, "http://127.0.0.1:7777/cb")).headers["Content-Security-Policy"]
    )


class Published:
    """The documents of the whole network: one."""

    URL = "https://client.example/oauth/metadata.json"

    async def fetch(self, url: str) -> Mapping[str, Any]:
        return {"client_id": url, "client_name": "Well Known", "redirect_uris": [CALLBACK]}


def lay_out(place: Place, documents: ClientDocuments, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A program by document, where every worker reads ``documents``."""
    for worker in place.rig.workers:
        monkeypatch.setattr(worker._desk.oauth._authorizations, "_documents", documents)
    return Program(place.rig, Published.URL)


async def test_a_program_by_document_is_shown_with_who_publishes_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = lay_out(place, Published(), monkeypatch)
    browser = Browser(place.rig)
    page = await browser.visit(asking.url())
    assert "Well Known" in page.text
    assert 'published by <strong class="host">client.example</strong>' in page.text
    assert "published by" not in (await named(place, CALLBACK)).text
    status, tokens = await asking.redeem(await browser.submit(page, "/authorize", provider="github"))
    assert (status, tokens.get("scope")) == (200, "mcp")


@pytest.mark.negative(70)
async def test_a_document_at_a_private_address_is_not_fetched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site() as reachable:
        documents = reachable.documents(is_allowed=None)
        try:
            lay_out(place, documents, monkeypatch)
            for client_id in (reachable.publish(), reachable.url(host="127.0.0.1")):
                seen = await Browser(place.rig).step(Program(place.rig, client_id).url())
                assert (seen.status, "BadAuthorization" in seen.text) == (400, True)
                assert "Location" not in seen.headers
                assert "has no public address" in seen.text
            assert reachable.connections_count == 0
        finally:
            await documents.close()


@pytest.mark.negative(77)
async def test_an_address_that_the_document_does_not_list_is_not_gone_to(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = lay_out(place, Published(), monkeypatch)
    for redirect_uri in (
        "https://client.example/",
        "https://evil.example/",
        f"{CALLBACK}/2",
        "cursor://x/cb",
    ):
        seen = await Browser(place.rig).step(asking.url(redirect_uri=redirect_uri))
        assert (seen.status, "BadAuthorization" in seen.text) == (400, True)
        assert "Location" not in seen.headers


async def test_a_person_who_may_not_come_in_is_told_and_the_program_gets_nothing(strict: Place) -> None:
    asking = await program(strict.rig)
    browser = Browser(strict.rig)
    seen = await browser.submit(await browser.visit(asking.url()), "/authorize", provider="github")
    assert (seen.status, "NotAdmitted" in seen.text) == (403, True)
    assert not any(url.startswith(CALLBACK) for url in browser.visited)


async def test_the_code_came_with_a_session_of_ones_own(place: Place) -> None:
    browser = Browser(place.rig)
    await connected(place, browser)
    account = await browser.visit("/")
    assert (account.status, ANN_USER in account.text) == (200, True)
    assert "A program" in account.text
