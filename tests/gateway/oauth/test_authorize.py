"""What may be put before a person, and who is told what where it may not."""

from dataclasses import replace

import pytest

from gateway.auth.oauth.answers import Answer
from gateway.auth.oauth.authorize import AuthorizationRequest, Detour, Refusal
from tests.gateway.oauth.rig import (
    ALICE,
    CALLBACK,
    CHALLENGE,
    ISSUER,
    MCP,
    MEDIA,
    Rig,
    asking,
    bytes_of,
    query_of,
)

DOCUMENT = "https://client.example/oauth/metadata.json"


async def checked(rig: Rig, client_id: str, **parameters: str) -> AuthorizationRequest:
    found = await rig.server.check(asking(client_id, **parameters))
    assert isinstance(found, AuthorizationRequest), found
    return found


async def told_client(rig: Rig, client_id: str, **parameters: str) -> dict[str, str]:
    """The query that the client's own address is sent, which always says whose answer it is."""
    found = await rig.server.check(asking(client_id, **parameters))
    assert isinstance(found, Answer), found
    assert found.location.startswith(CALLBACK + "?")
    query = query_of(found)
    assert query["iss"] == ISSUER
    assert query["state"] == "opaque state/1"
    assert "code" not in query
    return query


async def told_person(rig: Rig, client_id: str, **parameters: str) -> str:
    found = await rig.server.check(asking(client_id, **parameters))
    assert isinstance(found, Refusal), found
    assert found.status == 400
    return found.why


async def test_a_good_request_says_all_that_a_person_has_to_know(rig: Rig) -> None:
    client_id = await rig.client()
    assert await checked(rig, client_id, scope="mcp", resource=MCP) == AuthorizationRequest(
        client_id=client_id,
        client_name="A client",
        redirect_uri=CALLBACK,
        redirect_host="localhost:7777",
        scopes=("mcp",),
        resource=MCP,
        challenge=CHALLENGE,
        state="opaque state/1",
    )


async def test_a_request_comes_out_of_a_ticket_as_it_went_in(rig: Rig) -> None:
    found = await checked(rig, await rig.client(), scope="api mcp")
    assert AuthorizationRequest.of_payload({**found.payload(), "for": "program"}) == found


@pytest.mark.negative(9)
async def test_an_unknown_client_is_told_to_the_person_alone(rig: Rig) -> None:
    assert "not registered" in await told_person(rig, "nobody")
    assert await told_person(rig, "x" * 5000)
    assert await told_person(rig, "")


@pytest.mark.negative(10)
@pytest.mark.parametrize("uri", ["https://evil.example/cb", f"{CALLBACK}/../x", "javascript:x", '"<>', "x"])
async def test_a_foreign_redirect_is_never_followed(rig: Rig, uri: str) -> None:
    assert await told_person(rig, await rig.client(), redirect_uri=uri)


@pytest.mark.negative(11)
@pytest.mark.parametrize(
    "uri",
    ["http://localhost:7777/other", "http://localhost:7777/", "http://localhost:7777/callback?x=1"],
)
async def test_another_path_on_loopback_is_foreign(rig: Rig, uri: str) -> None:
    assert await told_person(rig, await rig.client(), redirect_uri=uri)


@pytest.mark.negative(12)
@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("http://127.0.0.1:7777/callback", "http://localhost:7777/callback"),
        ("http://localhost:7777/callback", "http://127.0.0.1:7777/callback"),
        ("http://127.0.0.1:7777/callback", "http://[::1]:7777/callback"),
    ],
)
async def test_one_name_of_loopback_is_not_another(rig: Rig, registered: str, asked: str) -> None:
    client_id = await rig.client(redirect_uris=[registered])
    assert await told_person(rig, client_id, redirect_uri=asked)


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("http://localhost/callback", "http://localhost:54321/callback"),
        ("http://127.0.0.1:33418/", "http://127.0.0.1:1024"),
        ("http://127.0.0.1:33418", "http://127.0.0.1:1024/"),
        ("http://[::1]:1/cb?x=1", "http://[::1]:2/cb?x=1"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp/oauth/callback"),
    ],
)
async def test_any_port_of_loopback_is_the_clients(rig: Rig, registered: str, asked: str) -> None:
    client_id = await rig.client(redirect_uris=[registered])
    assert (await checked(rig, client_id, redirect_uri=asked)).redirect_uri == asked


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("https://example.com/cb", "https://example.com:8443/cb"),
        ("https://example.com", "https://example.com/"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://evil/oauth/callback"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp:1/oauth/callback"),
        ("https://localhost:1/cb", "https://localhost:2/cb"),
        ("http://localhost/cb", "http://localhost:99999/cb"),
    ],
)
async def test_anything_else_matches_exactly(rig: Rig, registered: str, asked: str) -> None:
    client_id = await rig.client(redirect_uris=[registered])
    assert await told_person(rig, client_id, redirect_uri=asked)


async def test_a_redirect_may_be_left_out_where_there_is_one_alone(rig: Rig) -> None:
    assert (await checked(rig, await rig.client(), redirect_uri="")).redirect_uri == CALLBACK
    two = await rig.client(redirect_uris=[CALLBACK, "https://example.com/cb"])
    assert await told_person(rig, two, redirect_uri="")


@pytest.mark.negative(13)
async def test_a_request_without_pkce_is_refused(rig: Rig) -> None:
    query = await told_client(rig, await rig.client(), code_challenge="", code_challenge_method="")
    assert query["error"] == "invalid_request"


@pytest.mark.negative(14)
async def test_a_plain_challenge_is_refused(rig: Rig) -> None:
    query = await told_client(rig, await rig.client(), code_challenge_method="plain")
    assert query["error"] == "invalid_request"


@pytest.mark.negative(15)
async def test_a_challenge_without_its_method_is_refused(rig: Rig) -> None:
    query = await told_client(rig, await rig.client(), code_challenge_method="")
    assert query["error"] == "invalid_request"


@pytest.mark.parametrize("challenge", ["x", "x" * 44, '"' * 43])
async def test_what_is_no_challenge_is_refused(rig: Rig, challenge: str) -> None:
    query = await told_client(rig, await rig.client(), code_challenge=challenge)
    assert query["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://client.example/cb?a=b", "client.example"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp"),
        ("https://localhost/callback", "localhost"),
    ],
)
async def test_what_anybody_may_have_registered_is_gone_to_by_way_of_the_person(
    rig: Rig, uri: str, shown: str
) -> None:
    client_id = await rig.client(redirect_uris=[uri])
    found = await rig.server.check(asking(client_id, redirect_uri=uri, response_type="token"))
    assert isinstance(found, Detour)
    assert (found.redirect_host, found.why) == (shown, "response_type has to be code")
    query = query_of(found.answer)
    assert found.answer.location.startswith(uri)
    assert (query["error"], query["iss"]) == ("unsupported_response_type", ISSUER)


async def test_a_client_with_a_secret_needs_pkce_too(rig: Rig) -> None:
    client_id = await rig.client(token_endpoint_auth_method="client_secret_post")
    query = await told_client(rig, client_id, code_challenge="", code_challenge_method="")
    assert query["error"] == "invalid_request"


@pytest.mark.negative(16)
@pytest.mark.parametrize("resource", ["https://evil.example/mcp", f"{ISSUER}/else", "x", f"{MCP}#x"])
async def test_a_foreign_resource_is_refused(rig: Rig, resource: str) -> None:
    assert (await told_client(rig, await rig.client(), resource=resource))["error"] == "invalid_target"


@pytest.mark.parametrize("resource", ["", ISSUER, f"{ISSUER}/", MCP, f"{MCP}/"])
async def test_what_means_the_plainest_address_is_bound_to_it(rig: Rig, resource: str) -> None:
    assert (await checked(rig, await rig.client(), resource=resource)).resource == MCP


async def test_several_resources_are_good_where_they_mean_one(rig: Rig) -> None:
    asked = asking(await rig.client())
    same = await rig.server.check([*asked, ("resource", MCP), ("resource", ISSUER)])
    assert isinstance(same, AuthorizationRequest) and same.resource == MCP
    other = await rig.server.check([*asked, ("resource", MCP), ("resource", MEDIA)])
    assert isinstance(other, Answer) and query_of(other)["error"] == "invalid_target"


@pytest.mark.negative(17)
@pytest.mark.parametrize("response_type", ["token", "code token", "id_token", 'x"\\'])
async def test_another_response_type_is_refused(rig: Rig, response_type: str) -> None:
    query = await told_client(rig, await rig.client(), response_type=response_type)
    assert query["error"] == "unsupported_response_type"


async def test_a_missing_response_type_is_refused(rig: Rig) -> None:
    query = await told_client(rig, await rig.client(), response_type="")
    assert query["error"] == "invalid_request"


async def test_another_way_to_answer_is_refused(rig: Rig) -> None:
    client_id = await rig.client()
    assert (await told_client(rig, client_id, response_mode="fragment"))["error"] == "invalid_request"
    assert await checked(rig, client_id, response_mode="query")


@pytest.mark.negative(18)
@pytest.mark.parametrize("doubled", ["redirect_uri", "client_id", "state"])
async def test_what_says_who_is_answered_may_not_stand_twice(rig: Rig, doubled: str) -> None:
    asked = asking(await rig.client())
    found = await rig.server.check([*asked, (doubled, dict(asked)[doubled])])
    assert isinstance(found, Refusal)


@pytest.mark.parametrize("doubled", ["scope", "code_challenge", "code_challenge_method", "response_type"])
async def test_any_other_doubled_parameter_is_told_to_the_client(rig: Rig, doubled: str) -> None:
    asked = asking(await rig.client(), scope="mcp")
    found = await rig.server.check([*asked, (doubled, dict(asked)[doubled])])
    assert isinstance(found, Answer)
    assert query_of(found)["error"] == "invalid_request"


async def test_too_many_and_too_long_parameters_are_refused(rig: Rig) -> None:
    asked = asking(await rig.client())
    many = [(f"p{number}", "x") for number in range(64)]
    assert isinstance(await rig.server.check([*asked, *many]), Refusal)
    assert isinstance(await rig.server.check([*asked, ("nonce", "x" * 8193)]), Refusal)


@pytest.mark.negative(19)
@pytest.mark.parametrize(
    ("scope", "narrowed"),
    [
        ("mcp unheard-of", ("mcp",)),
        ("unheard-of", ("mcp",)),
        ("offline_access", ("mcp",)),
        ("mcp offline_access api mcp", ("mcp", "api")),
        ("", ("mcp",)),
        ('"\\ü', ("mcp",)),
    ],
)
async def test_unknown_scopes_are_narrowed(rig: Rig, scope: str, narrowed: tuple[str, ...]) -> None:
    assert (await checked(rig, await rig.client(), scope=scope)).scopes == narrowed


async def test_consent_gives_a_code_with_state_and_issuer(rig: Rig) -> None:
    request = await checked(rig, await rig.client())
    answer = await rig.server.grant(request, ALICE)
    assert isinstance(answer, Answer)
    query = query_of(answer)
    assert answer.location.startswith(f"{CALLBACK}?code=")
    assert query.keys() == {"code", "state", "iss"}
    assert (query["state"], query["iss"]) == ("opaque state/1", ISSUER)
    assert query["code"].encode() not in bytes_of(rig.path)


async def test_no_state_is_given_where_none_was_sent(rig: Rig) -> None:
    answer = await rig.server.grant(await checked(rig, await rig.client(), state=""), ALICE)
    assert isinstance(answer, Answer)
    assert query_of(answer).keys() == {"code", "iss"}


@pytest.mark.parametrize("uri", ["https://example.com/cb?a=b%20c&d", "com.example.app:/cb", "x-app:///cb"])
async def test_the_clients_address_is_answered_byte_for_byte(rig: Rig, uri: str) -> None:
    request = await checked(rig, await rig.client(redirect_uris=[uri]), redirect_uri=uri)
    answer = await rig.server.grant(request, ALICE)
    assert isinstance(answer, Answer)
    assert answer.location.startswith(f"{uri}{'&' if '?' in uri else '?'}code=")


async def test_a_refusal_by_the_person_is_told_to_the_client(rig: Rig) -> None:
    query = query_of(rig.server.denied(await checked(rig, await rig.client())))
    assert query["error"] == "access_denied"
    assert (query["state"], query["iss"]) == ("opaque state/1", ISSUER)


async def test_a_grant_is_called_as_the_client_calls_itself_then(rig: Rig) -> None:
    client_id = await rig.client(client_name="Claude")
    await rig.tokens(client_id)
    named = await rig.auth.read(lambda tx: [grant.name for grant in tx.grants.of_user(ALICE, tx.now)])
    assert named == ["Claude"]


async def test_a_client_without_a_name_is_called_by_where_it_is_answered(rig: Rig) -> None:
    assert (await checked(rig, await rig.client(client_name=None))).client_name == "localhost:7777"


async def test_a_client_that_is_gone_by_the_time_of_consent_gets_nothing(rig: Rig) -> None:
    request = await checked(rig, await rig.client())
    rig.clock.now += 2 * 86400
    await rig.server.sweep()
    assert isinstance(await rig.server.grant(request, ALICE), Refusal)


async def test_a_client_may_be_known_by_its_document(rig: Rig) -> None:
    rig.documents.published[DOCUMENT] = {
        "client_id": DOCUMENT,
        "client_name": "Claude Code",
        "redirect_uris": ["http://localhost/callback", "http://evil.example/"],
        "token_endpoint_auth_method": "none",
    }
    found = await checked(rig, DOCUMENT)
    assert (found.client_name, found.redirect_uri) == ("Claude Code", CALLBACK)
    tokens = await rig.tokens(DOCUMENT)
    assert rig.server.verify(tokens["access_token"]).client_id == DOCUMENT
    assert (await rig.refresh(DOCUMENT, tokens["refresh_token"])).status == 200


@pytest.mark.negative(77)
async def test_a_redirect_that_the_document_does_not_list_is_foreign(rig: Rig) -> None:
    rig.documents.published[DOCUMENT] = {
        "client_id": DOCUMENT,
        "redirect_uris": ["https://client.example/cb"],
    }
    assert await told_person(rig, DOCUMENT)


async def test_why_a_document_cannot_be_had_is_told_to_the_person(rig: Rig) -> None:
    assert await told_person(rig, DOCUMENT) == "The program's description cannot be fetched."


@pytest.mark.parametrize(
    "members",
    [
        {"client_id": "https://client.example/other", "redirect_uris": [CALLBACK]},
        {"client_id": DOCUMENT},
        {"client_id": DOCUMENT, "redirect_uris": ["http://evil.example/"]},
        {
            "client_id": DOCUMENT,
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "client_secret_post",
        },
        {"client_id": DOCUMENT, "redirect_uris": [CALLBACK], "grant_types": ["client_credentials"]},
    ],
    ids=str,
)
async def test_a_document_that_will_not_do_is_told_to_the_person(
    rig: Rig, members: dict[str, object]
) -> None:
    rig.documents.published[DOCUMENT] = members
    assert "cannot be used" in await told_person(rig, DOCUMENT)


async def test_a_request_cannot_be_changed(rig: Rig) -> None:
    request = await checked(rig, await rig.client())
    with pytest.raises(AttributeError):
        request.resource = MEDIA  # type: ignore[misc]
    assert replace(request, resource=MEDIA) != request
