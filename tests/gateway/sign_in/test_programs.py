"""What programs ask by themselves, at the wire: registration, tokens, revocation; all in OAuth's words."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.auth.oauth import registration
from gateway.auth.oauth.client_metadata import BODY_BYTES_MAX
from gateway.auth.throttle import Throttle
from state.kinds.access_policy import Rule
from state.store.auth import AuthDatabase
from state.store.errors import Unavailable
from tests.gateway.sign_in.browser import CALLBACK, Browser, Program, Seen, program
from tests.gateway.sign_in.conftest import ANN_USER, Place
from tests.gateway.sign_in.test_consent import call, connected

Told = tuple[int, dict[str, Any], dict[str, str]]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def one(strict: Place) -> Place:
    """Of one worker; whoever GitHub knows may come in."""
    await strict.rig.add_policy(Rule(provider="github"))
    await strict.rig.add_user("ann", ANN_USER)
    await strict.rig.route("ann", strict.ann)
    await strict.rig.applied()
    return strict


async def post(place: Place, path: str, body: bytes = b"", *headers: tuple[str, str]) -> Told:
    async with place.rig.request("POST", path, headers=dict(headers), data=body) as answer:
        told = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, await answer.json(), told


async def register(place: Place, **metadata: Any) -> Told:
    async with place.rig.request("POST", "/register", json=metadata) as answer:
        return answer.status, await answer.json(), {k.lower(): v for k, v in answer.headers.items()}


async def allowed(place: Place, asking: Program) -> Seen:
    """The answer, with a code, that Ann sends the program."""
    browser = Browser(place.rig)
    return await browser.submit(await browser.visit(asking.url()), "/authorize", provider="github")


# Registration


@pytest.mark.parametrize(
    ("uris", "error"),
    [
        pytest.param(["javascript:alert(1)"], "invalid_redirect_uri", marks=pytest.mark.negative(1)),
        pytest.param(["http://evil.example/cb"], "invalid_redirect_uri", marks=pytest.mark.negative(2)),
        pytest.param(
            ["http://127.0.0.1@evil.example/"], "invalid_redirect_uri", marks=pytest.mark.negative(3)
        ),
        pytest.param([f"{CALLBACK}#x"], "invalid_redirect_uri", marks=pytest.mark.negative(4)),
        pytest.param([], "invalid_redirect_uri", marks=pytest.mark.negative(5)),
        *(
            pytest.param([f"{scheme}:x"], "invalid_redirect_uri")
            for scheme in (
                "ms-appinstaller",
                "ms-msdt",
                "search-ms",
                "ms-officecmd",
                "MS-Word",
                "itms-services",
            )
        ),
    ],
    ids=str,
)
async def test_an_address_that_nobody_may_be_sent_to_is_not_registered(
    strict: Place, uris: list[str], error: str
) -> None:
    status, told, headers = await register(strict, redirect_uris=uris)
    assert (status, told["error"]) == (400, error)
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "uri",
    [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "vscode://ms-vscode.mcp/cb",
        "vscode-insiders://x/cb",
        "claude://cb",
        "windsurf://cb",
        "com.example.app:/cb",
    ],
)
async def test_the_schemes_of_real_programs_are(strict: Place, uri: str) -> None:
    status, told, _ = await register(strict, redirect_uris=[uri])
    assert (status, told["redirect_uris"]) == (201, [uri])


@pytest.mark.negative(6)
@pytest.mark.parametrize("body", [b"[]", b"7", b"", b"{", b'"x"'])
async def test_what_is_no_object_is_no_registration(strict: Place, body: bytes) -> None:
    status, told, _ = await post(strict, "/register", body, *JSON.items())
    assert (status, told["error"]) == (400, "invalid_client_metadata")


@pytest.mark.negative(7)
async def test_a_huge_registration_is_refused(strict: Place) -> None:
    status, told, _ = await register(strict, redirect_uris=[CALLBACK], client_uri="x" * BODY_BYTES_MAX)
    assert (status, told["error"]) == (413, "invalid_request")


@pytest.mark.negative(7)
@pytest.mark.parametrize(
    ("path", "which"), [("/register", "register"), ("/token", "token"), ("/revoke", "token")]
)
async def test_a_flood_is_told_to_wait(strict: Place, path: str, which: str) -> None:
    setattr(strict.rig.worker._desk.throttles, which, Throttle(0.01, 3))
    answers = [await post(strict, path, b"", *FORM.items()) for _ in range(4)]
    assert 429 not in [status for status, _, _ in answers[:3]]
    status, told, headers = answers[-1]
    assert (status, told["error"]) == (429, "temporarily_unavailable")
    assert headers["cache-control"] == "no-store"
    assert 1 <= int(headers["retry-after"]) <= 100


async def test_the_oldest_that_nobody_used_make_room_for_new_programs(
    one: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_use, _ = await connected(one)
    monkeypatch.setattr(registration, "COUNTED_AFTER_S", 0.0)
    monkeypatch.setattr(registration, "CLIENTS_COUNT_MAX", 3)
    unused = [await program(one.rig), await program(one.rig)]
    status, told, headers = await register(one, redirect_uris=[CALLBACK])
    assert (status, told["error"]) == (503, "temporarily_unavailable"), (
        "nobody is driven out while they consent"
    )
    assert int(headers["retry-after"]) > 0
    monkeypatch.setattr(registration, "UNUSED_KEPT_S_MIN", -1.0)
    monkeypatch.setattr(registration, "ROOM_ROWS_MAX", 1)
    assert (await register(one, redirect_uris=[CALLBACK]))[0] == 201
    known = [(await Browser(one.rig).step(which.url())).status for which in (in_use, *unused)]
    assert known == [200, 400, 200]


# Tokens


@pytest.mark.negative(34)
async def test_a_code_that_is_sent_twice_costs_what_it_gave(place: Place) -> None:
    asking = await program(place.rig)
    answer = await allowed(place, asking)
    status, tokens = await asking.redeem(answer)
    assert status == 200
    assert (await call(place, tokens["access_token"]))[0] == 200
    status, told = await asking.redeem(answer)
    assert (status, told["error"]) == (400, "invalid_grant")
    assert (await call(place, tokens["access_token"]))[0] == 401
    assert (await asking.refresh(tokens["refresh_token"]))[1]["error"] == "invalid_grant"


@pytest.mark.negative(35)
async def test_of_two_redemptions_at_once_one_works(place: Place) -> None:
    asking = await program(place.rig)
    answer = await allowed(place, asking)
    both = await asyncio.gather(asking.redeem(answer), asking.redeem(answer))
    assert sorted(status for status, _ in both) == [200, 400]


@pytest.mark.parametrize(
    "differs",
    [
        pytest.param({"code_verifier": "v" * 64}, marks=pytest.mark.negative(36), id="another_verifier"),
        pytest.param(
            {"redirect_uri": f"{CALLBACK}/2"}, marks=pytest.mark.negative(37), id="another_redirect"
        ),
    ],
)
async def test_a_code_is_for_who_asked_and_where(one: Place, differs: dict[str, str]) -> None:
    asking = await program(one.rig)
    answer = await allowed(one, asking)
    status, told = await asking.redeem(answer, **differs)
    assert (status, told["error"]) == (400, "invalid_grant")
    assert (await asking.redeem(answer))[0] == 200, "nothing is lost by somebody's guess"


@pytest.mark.negative(38)
async def test_a_code_is_no_other_programs(one: Place) -> None:
    asking, other = await program(one.rig), await program(one.rig)
    status, told = await asking.redeem(await allowed(one, asking), client_id=other.client_id)
    assert (status, told["error"]) == (400, "invalid_grant")


@pytest.mark.negative(39)
async def test_a_refresh_token_is_no_other_programs(one: Place) -> None:
    asking, tokens = await connected(one)
    status, told = await (await program(one.rig)).refresh(tokens["refresh_token"])
    assert (status, told["error"]) == (400, "invalid_grant")
    assert (await asking.refresh(tokens["refresh_token"]))[0] == 200


@pytest.mark.negative(40)
async def test_a_scope_does_not_become_wider(one: Place) -> None:
    asking, tokens = await connected(one)
    fields = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "scope": "mcp api"}
    status, told = await asking.post("/token", {**fields, "client_id": asking.client_id})
    assert (status, told["error"]) == (400, "invalid_scope")


@pytest.mark.negative(43)
async def test_a_program_is_nobody_by_itself(strict: Place) -> None:
    asking = await program(strict.rig)
    fields = {"grant_type": "client_credentials", "client_id": asking.client_id}
    status, told = await asking.post("/token", fields)
    assert (status, told["error"]) == (400, "unsupported_grant_type")


@pytest.mark.negative(44)
async def test_a_program_does_not_end_what_anothers_was_allowed(one: Place) -> None:
    asking, tokens = await connected(one)
    other = await program(one.rig)
    for token in (tokens["refresh_token"], tokens["access_token"]):
        status, told = await other.post("/revoke", {"token": token, "client_id": other.client_id})
        assert (status, told["error"]) == (400, "invalid_grant")
    assert (await call(one, tokens["access_token"]))[0] == 200
    status, _ = await asking.post(
        "/revoke", {"token": tokens["refresh_token"], "client_id": asking.client_id}
    )
    assert status == 200
    assert (await call(one, tokens["access_token"]))[0] == 401


async def test_of_many_answers_that_were_lost_the_newest_few_are_good(one: Place) -> None:
    asking, tokens = await connected(one)
    lost = [(await asking.refresh(tokens["refresh_token"]))[1]["refresh_token"] for _ in range(6)]
    for gone in lost[:2]:
        status, told = await asking.refresh(gone)
        assert (status, told["error"]) == (400, "invalid_grant")
    assert (await call(one, tokens["access_token"]))[0] == 200, "what is only forgotten costs nothing"
    assert (await asking.refresh(lost[2]))[0] == 200


# In OAuth's words, whatever is wrong


@contextlib.contextmanager
def silent(auth: AuthDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    async def unanswered(_: object) -> None:
        raise Unavailable("the store does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(auth, "transact", unanswered)
        patched.setattr(auth, "read", unanswered)
        yield


async def test_a_store_that_is_silent_is_a_reason_to_wait(
    one: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, tokens = await connected(one)
    token = tokens["refresh_token"]
    body = f"client_id={asking.client_id}&refresh_token={token}&token={token}&grant_type=refresh_token"
    metadata = b'{"redirect_uris": ["https://client.example/cb"]}'
    with silent(one.rig.auth, monkeypatch):
        for path, sent, kind in (
            ("/token", body.encode(), FORM),
            ("/revoke", body.encode(), FORM),
            ("/register", metadata, JSON),
        ):
            status, told, headers = await post(one, path, sent, *kind.items())
            assert (status, told["error"]) == (503, "temporarily_unavailable"), path
            assert headers["cache-control"] == "no-store"
            assert headers["content-type"] == "application/json"
            assert int(headers["retry-after"]) > 0
    assert (await asking.refresh(tokens["refresh_token"]))[0] == 200


@pytest.mark.parametrize("path", ["/token", "/revoke"])
async def test_two_authorization_headers_are_an_invalid_request(strict: Place, path: str) -> None:
    body = "grant_type=refresh_token&token=x"
    answer = await strict.rig.raw(
        f"POST {path} HTTP/1.1\r\nHost: localhost:{strict.rig.port}\r\nConnection: close\r\n"
        "Authorization: Basic eDp5\r\nAuthorization: Basic eDp6\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"cache-control: no-store" in head.lower()
    assert b"content-type: application/json\r\n" in head.lower() + b"\r\n"
    assert b'"error":"invalid_request"' in content
