"""Who may register, as what, and what is kept of it."""

from typing import Any

import pytest

from gateway.auth.oauth import registration
from gateway.auth.oauth.client_metadata import BODY_BYTES_MAX
from tests.gateway.oauth.rig import CALLBACK, JSON, Rig, body_of, bytes_of, error_of, header, members


async def refused(rig: Rig, **metadata: Any) -> str:
    return error_of(await rig.server.register(body_of(metadata), JSON))


@pytest.mark.negative(1)
@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JavaScript://x/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://example.com/1",
        "view-source:https://example.com",
    ],
)
async def test_a_redirect_that_a_browser_would_run_is_refused(rig: Rig, uri: str) -> None:
    assert await refused(rig, redirect_uris=[CALLBACK, uri]) == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "uri",
    [
        "microsoft-edge:https://evil.example/cb",
        "googlechrome://evil.example/cb",
        "X-Safari-https://evil.example/cb",
        "firefox://open-url?url=https://evil.example/cb",
        "web+cursor://cb",
        "ext+cursor:cb",
    ],
)
async def test_a_redirect_to_a_site_by_way_of_a_browsers_own_scheme_is_refused(rig: Rig, uri: str) -> None:
    assert await refused(rig, redirect_uris=[uri]) == "invalid_redirect_uri"


@pytest.mark.negative(2)
@pytest.mark.parametrize(
    "uri", ["http://evil.example/cb", "http://127.0.0.1.evil.example/", "http://localhost.evil.example/"]
)
async def test_http_to_another_host_is_refused(rig: Rig, uri: str) -> None:
    assert await refused(rig, redirect_uris=[uri]) == "invalid_redirect_uri"


@pytest.mark.negative(3)
@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1@evil.example/", "https://claude.ai@evil.example/cb", "cursor://claude.ai@evil/cb"],
)
async def test_a_user_in_front_of_the_host_is_refused(rig: Rig, uri: str) -> None:
    assert await refused(rig, redirect_uris=[uri]) == "invalid_redirect_uri"


@pytest.mark.negative(4)
@pytest.mark.parametrize(
    "uri", ["https://example.com/cb#", "https://example.com/cb#x", "http://localhost/#a"]
)
async def test_a_fragment_is_refused(rig: Rig, uri: str) -> None:
    assert await refused(rig, redirect_uris=[uri]) == "invalid_redirect_uri"


@pytest.mark.negative(5)
@pytest.mark.parametrize("uris", [[], None, "https://example.com", {}, [CALLBACK] * 17, [7], [""]])
async def test_redirects_that_are_no_list_of_one_to_sixteen_are_refused(rig: Rig, uris: object) -> None:
    assert await refused(rig, redirect_uris=uris) == "invalid_redirect_uri"


async def test_an_object_without_members_has_no_redirects(rig: Rig) -> None:
    assert error_of(await rig.server.register(b"{}", JSON)) == "invalid_redirect_uri"


@pytest.mark.negative(6)
@pytest.mark.parametrize("body", [b"[]", b'"x"', b"7", b"null", b"", b"{", b"\xff", b"[" * 60_000])
async def test_what_is_no_object_is_refused(rig: Rig, body: bytes) -> None:
    assert error_of(await rig.server.register(body, JSON)) == "invalid_client_metadata"


async def test_another_content_type_is_refused(rig: Rig) -> None:
    assert error_of(await rig.server.register(body_of({}), "text/plain")) == "invalid_client_metadata"
    assert (await rig.server.register(body_of({}), "Application/JSON; charset=utf-8")).status == 201


@pytest.mark.negative(7)
async def test_a_huge_body_is_refused(rig: Rig) -> None:
    body = body_of({"client_uri": "x" * BODY_BYTES_MAX})
    assert (await rig.server.register(body, JSON)).status == 413


async def test_no_more_than_so_many_clients_are_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "CLIENTS_COUNT_MAX", 2)
    await rig.client()
    await rig.client()
    answer = await rig.server.register(body_of({}), JSON)
    assert answer.status == 503
    assert header(answer, b"retry-after") is not None
    rig.clock.now += 90_000
    await rig.server.sweep()
    assert (await rig.server.register(body_of({}), JSON)).status == 201


async def test_who_names_no_method_is_a_public_client_without_a_secret(rig: Rig) -> None:
    found = await rig.register()
    assert "client_secret" not in found
    assert found["token_endpoint_auth_method"] == "none"
    assert found["grant_types"] == ["authorization_code", "refresh_token"]
    assert found["response_types"] == ["code"]
    assert found["redirect_uris"] == [CALLBACK]
    assert found["client_id_issued_at"] == rig.clock.now


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
async def test_who_asks_for_a_secret_gets_one_that_is_not_on_record(rig: Rig, method: str) -> None:
    found = await rig.register(token_endpoint_auth_method=method)
    assert found["client_secret_expires_at"] == 0
    assert found["client_id"].encode() in bytes_of(rig.path)
    assert found["client_secret"].encode() not in bytes_of(rig.path)


async def test_nothing_of_an_answer_is_cached(rig: Rig) -> None:
    for body in (body_of({}), b"[]"):
        answer = await rig.server.register(body, JSON)
        assert header(answer, b"cache-control") == b"no-store"
        assert header(answer, b"content-type") == b"application/json"


async def test_what_nobody_knows_is_neither_kept_nor_given_back(rig: Rig) -> None:
    found = await rig.register(favourite_colour="green", logo_uri=7, jwks={"keys": "x"}, client_id="mine")
    assert "favourite_colour" not in found and "logo_uri" not in found and found["client_id"] != "mine"


@pytest.mark.parametrize(
    "metadata",
    [
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": ["none"]},
        {"grant_types": ["client_credentials"]},
        {"grant_types": "authorization_code"},
        {"grant_types": [7]},
        {"response_types": ["token"]},
        {"client_name": "x" * 201},
        {"client_name": 7},
        {"scope": "x" * 1001},
    ],
    ids=str,
)
async def test_what_would_not_work_is_refused(rig: Rig, metadata: dict[str, Any]) -> None:
    assert await refused(rig, **metadata) == "invalid_client_metadata"


async def test_grant_types_are_narrowed_to_what_there_is(rig: Rig) -> None:
    found = await rig.register(
        grant_types=["authorization_code", "implicit"], response_types=["code", "token"]
    )
    assert found["grant_types"] == ["authorization_code"]
    assert found["response_types"] == ["code"]


async def test_a_name_is_kept_as_it_can_be_seen(rig: Rig) -> None:
    found = await rig.register(client_name=" A\u202e\x00 <b>client</b>\n")
    assert found["client_name"] == "A <b>client</b>"


@pytest.mark.parametrize(
    "uri",
    [
        "https://claude.ai/api/mcp/auth_callback",
        "http://localhost/callback",
        "http://127.0.0.1:33418/",
        "http://[::1]:8080/cb",
        "https://vscode.dev/redirect",
        "https://host.example:8443/a?b=c%20d",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "com.example.app:/oauth",
        "https://example.com/@me/cb",
    ],
)
async def test_what_real_clients_register_is_taken_as_it_is(rig: Rig, uri: str) -> None:
    assert (await rig.register(redirect_uris=[uri]))["redirect_uris"] == [uri]


@pytest.mark.parametrize(
    "uri",
    [
        "https:///cb",
        "https:example.com",
        "//example.com/cb",
        "/cb",
        "https://example.com\\@evil.example/",
        "https://example.com/ cb",
        "https://exämple.com/",
        "https://example.com/%zz",
        "http://localhost:0/",
        "http://localhost:65536/",
        "https://example.com/" + "x" * 2048,
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(rig: Rig, uri: str) -> None:
    assert await refused(rig, redirect_uris=[uri]) == "invalid_redirect_uri"


async def test_errors_are_in_the_words_of_the_rfc(rig: Rig) -> None:
    answer = await rig.server.register(body_of({"redirect_uris": ["http://evil.example/"]}), JSON)
    assert members(answer) == {
        "error": "invalid_redirect_uri",
        "error_description": "http is for 127.0.0.1, [::1] and localhost; use https",
    }
