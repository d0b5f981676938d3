"""Signing in with GitHub, against a strict stand-in for it."""

from collections.abc import Callable
from typing import Any

import pytest
from yarl import URL

from gateway.auth.providers.github import GitHubProvider
from gateway.auth.providers.limits import Limits
from gateway.auth.providers.port import ProviderError, Wants
from state.kinds.account import Claims
from tests.gateway.providers.github_stand_in import GitHubStandIn, Person
from tests.gateway.providers.traveller import arrive, depart, refused, sign_in, visit

ToGitHub = Callable[..., GitHubProvider]
BOTH = Wants(organizations=True, teams=True)


async def test_the_subject_is_the_numeric_id_and_only_verified_addresses_count(to_github: ToGitHub) -> None:
    identity = await sign_in(to_github())
    assert identity.user == "github:583231"
    assert identity.claims == Claims(
        login="Ann", name="Ann Example", emails=("ann@example.com",), organizations=None, teams=None
    )


async def test_organizations_and_teams_are_asked_for_where_a_rule_needs_them(
    to_github: ToGitHub, github: GitHubStandIn
) -> None:
    identity = await sign_in(to_github(), BOTH)
    assert identity.claims.organizations == ("acme",)
    assert identity.claims.teams == ("acme/developers",)
    await sign_in(to_github())
    assert github.broken.asked.count("/api/v3/user/orgs") == 1
    assert github.broken.asked.count("/api/v3/user/teams") == 1


@pytest.mark.parametrize(
    ("wants", "scope"),
    [
        (Wants(organizations=False, teams=False), "read:user user:email"),
        (Wants(organizations=True, teams=False), "read:user user:email read:org"),
        (Wants(organizations=False, teams=True), "read:user user:email read:org"),
    ],
    ids=["nothing", "organizations", "teams"],
)
async def test_no_more_is_asked_for_than_a_rule_needs(to_github: ToGitHub, wants: Wants, scope: str) -> None:
    assert URL((await depart(to_github(), wants)).url).query["scope"] == scope


async def test_the_way_there_asks_nothing_of_github_and_carries_pkce(
    to_github: ToGitHub, github: GitHubStandIn
) -> None:
    departure = await depart(to_github())
    query = URL(departure.url).query
    assert query["state"] == "the-state"
    assert query["code_challenge_method"] == "S256"
    assert departure.kept["verifier"] not in departure.url
    assert len(departure.kept["verifier"]) == 64
    assert github.broken.asked == []


async def test_every_page_of_a_long_list_is_read(to_github: ToGitHub, github: GitHubStandIn) -> None:
    names = [f"org-{number}" for number in range(250)]
    github.people["Ann"] = Person(id=1, login="Ann", organizations=names)
    identity = await sign_in(to_github(), BOTH)
    assert identity.claims.organizations == tuple(names)


@pytest.mark.parametrize("count", [257, 5000], ids=["more than is kept", "more than is read"])
async def test_a_list_is_never_cut_short(to_github: ToGitHub, github: GitHubStandIn, count: int) -> None:
    """A rule that keeps somebody out must not miss what stood behind the cut."""
    github.people["Ann"] = Person(id=1, login="Ann", organizations=[f"o-{number}" for number in range(count)])
    assert (await refused(to_github(), BOTH)).reason == "TooManyClaims"


async def test_pressing_cancel_has_a_reason_of_its_own(to_github: ToGitHub, github: GitHubStandIn) -> None:
    github.cancels = True
    error = await refused(to_github())
    assert (error.reason, error.retryable, error.setting) == ("SignInCancelled", False, "")


async def test_a_wrong_secret_names_its_setting(to_github: ToGitHub) -> None:
    error = await refused(to_github(OAUTH_GITHUB_CLIENT_SECRET="stale"))
    assert (error.reason, error.setting) == ("ClientRefused", "OAUTH_GITHUB_CLIENT_SECRET")
    assert "stale" not in str(error)


async def test_an_unknown_client_names_its_setting(to_github: ToGitHub, github: GitHubStandIn) -> None:
    provider = to_github()
    departure = await depart(provider)
    params = await visit(departure.url)
    github.client_id = "another"
    with pytest.raises(ProviderError) as refusal:
        await arrive(provider, params, departure.kept)
    assert refusal.value.setting == "OAUTH_GITHUB_CLIENT_ID"


async def test_an_address_that_is_not_registered_says_what_to_look_at(
    to_github: ToGitHub, github: GitHubStandIn
) -> None:
    provider = to_github()
    departure = await depart(provider)
    params = await visit(departure.url)
    with pytest.raises(ProviderError) as refusal:
        await provider.arrive(params, departure.kept, redirect_uri="http://localhost:1/x", wants=BOTH)
    assert refusal.value.setting == "GATEWAY_ORIGIN"


async def test_a_code_is_good_once(to_github: ToGitHub) -> None:
    provider = to_github()
    departure = await depart(provider)
    params = await visit(departure.url)
    await arrive(provider, params, departure.kept)
    with pytest.raises(ProviderError) as refusal:
        await arrive(provider, params, departure.kept)
    assert refusal.value.reason == "CodeRefused"


async def test_another_sign_ins_verifier_does_not_do(to_github: ToGitHub) -> None:
    provider = to_github()
    params = await visit((await depart(provider)).url)
    with pytest.raises(ProviderError) as refusal:
        await arrive(provider, params, (await depart(provider)).kept)
    assert refusal.value.reason == "CodeRefused"


@pytest.mark.parametrize("params", [{}, {"code": ""}, {"code": "x" * 5000}], ids=["none", "empty", "huge"])
async def test_an_answer_without_a_code_is_refused(to_github: ToGitHub, params: dict[str, str]) -> None:
    with pytest.raises(ProviderError) as refusal:
        await arrive(to_github(), params, {"verifier": "v"})
    assert refusal.value.reason == "AnswerIncomplete"


async def test_a_sign_in_that_was_not_kept_whole_begins_anew(to_github: ToGitHub) -> None:
    with pytest.raises(ProviderError) as refusal:
        await arrive(to_github(), {"code": "c"}, {})
    assert refusal.value.reason == "SignInForgotten"


async def test_what_stands_in_an_error_is_not_repeated_unless_it_is_a_code(to_github: ToGitHub) -> None:
    with pytest.raises(ProviderError) as refusal:
        await arrive(to_github(), {"error": "<script>alert(1)</script>"}, {})
    assert "script" not in refusal.value.detail


@pytest.mark.negative(26)
async def test_an_answer_that_names_another_issuer_is_refused(
    to_github: ToGitHub, github: GitHubStandIn
) -> None:
    provider = to_github()
    departure = await depart(provider)
    params = await visit(departure.url)
    for foreign in ("https://evil.example", github.url + "0", ""):
        with pytest.raises(ProviderError) as refusal:
            await arrive(provider, {**params, "iss": foreign}, departure.kept)
        assert refusal.value.reason == "ForeignIssuer"
    named = {**params, "iss": f"{github.url}/login/oauth"}
    assert (await arrive(provider, named, departure.kept)).user == "github:583231"


async def test_somebody_suspended_is_told_so(to_github: ToGitHub, github: GitHubStandIn) -> None:
    github.people["Ann"] = Person(id=1, login="Ann", is_suspended=True)
    error = await refused(to_github())
    assert (error.reason, error.retryable) == ("AccountSuspended", False)


async def test_a_token_that_github_forgot_means_beginning_anew(
    to_github: ToGitHub, github: GitHubStandIn
) -> None:
    github.broken.answer("/api/v3/user", {"message": "Bad credentials"}, status=401)
    assert (await refused(to_github())).reason == "TokenRefused"


@pytest.mark.parametrize("status", [403, 429])
async def test_too_many_requests_mean_waiting(
    to_github: ToGitHub, github: GitHubStandIn, status: int
) -> None:
    github.broken.answer("/api/v3/user", {"message": "x"}, status=status, X_RateLimit_Remaining="0")
    error = await refused(to_github())
    assert (error.reason, error.retryable) == ("ProviderBusy", True)


@pytest.mark.parametrize("scope", ["read:user", "read:user user:email"], ids=["addresses", "organizations"])
async def test_what_is_withheld_is_never_taken_for_an_empty_list(
    to_github: ToGitHub, github: GitHubStandIn, scope: str
) -> None:
    github.grants = scope
    error = await refused(to_github(), BOTH)
    assert (error.reason, error.setting) == ("ClaimsWithheld", "OAUTH_GITHUB_CLIENT_ID")


BAD_USERS: dict[str, Any] = {
    "no id": {"login": "ann"},
    "an id in words": {"id": "583231", "login": "ann"},
    "an id that is a truth": {"id": True, "login": "ann"},
    "an id below one": {"id": 0, "login": "ann"},
    "a list": [{"id": 1}],
    "no JSON": b"<html>hello</html>",
    "an empty answer": b"",
    "a number without end": b'{"id": NaN}',
    "brackets without end": b"[" * 100_000,
}


@pytest.mark.fault(41)
@pytest.mark.parametrize("body", BAD_USERS.values(), ids=BAD_USERS.keys())
async def test_a_user_that_makes_no_sense_is_nobody(
    to_github: ToGitHub, github: GitHubStandIn, body: Any
) -> None:
    github.broken.answer("/api/v3/user", body)
    assert (await refused(to_github())).reason == "ProviderNonsense"


BAD_TOKENS: dict[str, Any] = {
    "no token": {"token_type": "bearer"},
    "a token that is a number": {"access_token": 7, "token_type": "bearer"},
    "a token with a line in it": {"access_token": "a\r\nX-Evil: 1", "token_type": "bearer"},
    "another kind of token": {"access_token": "a", "token_type": "mac"},
    "an odd end of it": {"access_token": "a", "token_type": "bear", "expires_in": {"no": "number"}},
    "a form": b"access_token=a&token_type=bearer",
    "brackets without end": b"[" * 100_000,
}


@pytest.mark.fault(41)
@pytest.mark.parametrize("body", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_token_that_makes_no_sense_is_none(
    to_github: ToGitHub, github: GitHubStandIn, body: Any
) -> None:
    github.broken.answer("/login/oauth/access_token", body)
    assert (await refused(to_github())).reason == "ProviderNonsense"


BAD_LISTS: dict[str, Any] = {
    "no login": [{"id": 1}],
    "a login that is none": [{"login": None}],
    "an endless login": [{"login": "x" * 101}],
    "words": ["acme"],
    "an object": {"login": "acme"},
}


@pytest.mark.fault(41)
@pytest.mark.parametrize("body", BAD_LISTS.values(), ids=BAD_LISTS.keys())
async def test_a_list_that_makes_no_sense_is_not_an_empty_one(
    to_github: ToGitHub, github: GitHubStandIn, body: Any
) -> None:
    github.broken.answer("/api/v3/user/orgs", body)
    wants = Wants(organizations=True, teams=False)
    assert (await refused(to_github(), wants)).reason == "ProviderNonsense"


async def test_addresses_that_are_none_are_passed_over(to_github: ToGitHub, github: GitHubStandIn) -> None:
    entries = [
        {"email": "a@b", "verified": "true"},
        {"email": None, "verified": True},
        {"email": "no address", "verified": True},
        {"email": "Good@Example.com", "verified": True},
        {"email": "good@example.com", "verified": True},
    ]
    github.people["Ann"] = Person(id=1, login="Ann", emails=entries)
    assert (await sign_in(to_github())).claims.emails == ("good@example.com",)


async def test_names_are_cut_and_cleaned_for_show(to_github: ToGitHub, github: GitHubStandIn) -> None:
    github.people["Ann"] = Person(id=1, login="Ann", name="A\x00\u202e" + "n" * 1000)
    assert (await sign_in(to_github())).claims.name == "A" + "n" * 319


async def test_pages_are_counted_and_never_followed(to_github: ToGitHub, github: GitHubStandIn) -> None:
    """Where the next page is stands in an answer, and could be anywhere."""
    github.broken.answer("/api/v3/user/orgs", [{"login": "a"}], Link='<http://169.254.169.254/x>; rel="next"')
    error = await refused(to_github(Limits(pages_max=2)), Wants(organizations=True, teams=False))
    assert error.reason == "TooManyClaims"
    assert github.broken.asked.count("/api/v3/user/orgs") == 2


async def test_the_stand_in_is_as_strict_as_github(github: GitHubStandIn) -> None:
    """Else passing against it would mean little."""
    import aiohttp

    token_url = f"{github.url}/login/oauth/access_token"
    async with aiohttp.ClientSession(skip_auto_headers=["User-Agent"]) as client:
        async with client.get(f"{github.api_url}/user", headers={"Authorization": "Bearer x"}) as answer:
            assert answer.status == 403
        form = {"client_id": github.client_id, "client_secret": "no", "code": "x"}
        async with client.post(token_url, data=form) as answer:
            assert answer.status == 200
            assert answer.content_type == "application/x-www-form-urlencoded"
            assert await answer.text() == "error=incorrect_client_credentials"
        headers = {"Authorization": "Bearer x", "User-Agent": "test"}
        async with client.get(f"{github.api_url}/user", headers=headers) as answer:
            assert answer.status == 401


async def test_a_code_that_is_too_old_is_refused(to_github: ToGitHub, github: GitHubStandIn) -> None:
    provider = to_github()
    departure = await depart(provider)
    params = await visit(departure.url)
    made_at = github.clock()
    github.clock = lambda: made_at + 601
    with pytest.raises(ProviderError) as refusal:
        await arrive(provider, params, departure.kept)
    assert refusal.value.reason == "CodeRefused"
