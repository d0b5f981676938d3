"""Whatever is sent, in whatever combination, there is an answer of the RFC's and never an exception."""

import random

import orjson

from gateway.auth.oauth.answers import Answer
from gateway.auth.oauth.authorize import AuthorizationRequest, Refusal
from tests.gateway.oauth.rig import CALLBACK, JSON, VERIFIER, Rig, asking, basic, header, headers, members

ROUNDS = 300
UGLY = (
    *("", " ", '"', "\\", "\n", "\x00", "%", "%zz", "ü", "\U0001f600", "\u202e", "'", "a b", "[", "::", "//"),
    *("https://", "https://x", "http://[", "http://[::1", "https://x:y", "https://x/\ud7ff", "x" * 4000),
    *("none", "code", "S256", "plain", "mcp", "refresh_token", "authorization_code", "a.b.c", "Basic x"),
)
AUTHORIZE = (
    *("response_type", "client_id", "redirect_uri", "scope", "state", "resource", "nonce", "prompt"),
    *("code_challenge", "code_challenge_method", "response_mode", "request", "request_uri"),
)
TOKEN = (
    *("grant_type", "client_id", "client_secret", "code", "code_verifier", "redirect_uri", "resource"),
    *("refresh_token", "scope", "token", "token_type_hint", "client_assertion"),
)
METADATA = (
    *("redirect_uris", "client_name", "grant_types", "response_types", "token_endpoint_auth_method", "scope"),
    *("jwks", "software_statement", "contacts", "client_uri"),
)


def spoiled(
    draw: random.Random, good: list[tuple[str, str]], names: tuple[str, ...]
) -> list[tuple[str, str]]:
    """``good`` with a few parameters replaced, doubled or left out."""
    pairs = dict(good)
    for _ in range(draw.randint(1, 3)):
        pairs[draw.choice(names)] = draw.choice(UGLY)
    drawn = list(pairs.items())
    return [*drawn, draw.choice(drawn)] if draw.random() < 0.1 else drawn


async def test_to_authorize(rig: Rig) -> None:
    draw = random.Random(1)
    good = asking(await rig.client())
    for _ in range(ROUNDS):
        found = await rig.server.check(spoiled(draw, good, AUTHORIZE))
        if isinstance(found, Answer):
            assert found.location.startswith(f"{CALLBACK}?error=") and "iss=" in found.location
        elif isinstance(found, AuthorizationRequest):
            assert found.redirect_uri.startswith("http://localhost:7777/callback")
        else:
            assert isinstance(found, Refusal) and found.why


async def test_for_tokens_and_to_revoke(rig: Rig) -> None:
    draw = random.Random(2)
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    for _ in range(ROUNDS):
        good = draw.choice(
            (
                {"grant_type": "authorization_code", "code": "x", "code_verifier": VERIFIER},
                {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
            )
        )
        pairs = spoiled(draw, [*good.items(), ("client_id", client_id)], TOKEN)
        authorization = draw.choice(("", "", "", basic(client_id, "x"), "Basic ü", "Bearer x", *UGLY))
        for answer in (
            await rig.server.token(pairs, headers(authorization)),
            await rig.server.revoke([*pairs, ("token", "x")], headers(authorization)),
        ):
            assert answer.status in (200, 400, 401)
            assert (answer.status == 200) != ("error" in members(answer))
            assert header(answer, b"cache-control") == b"no-store"


async def test_to_register(rig: Rig) -> None:
    draw = random.Random(3)
    values = (*UGLY, None, 7, True, [], {}, ["x"], [[]], [7], ["authorization_code"], 1e300, [CALLBACK])
    for _ in range(ROUNDS):
        document: dict[str, object] = {"redirect_uris": [CALLBACK]}
        for _ in range(draw.randint(1, 3)):
            document[draw.choice(METADATA)] = draw.choice(values)
        answer = await rig.server.register(orjson.dumps(document), JSON)
        assert answer.status in (201, 400)
        assert (answer.status == 400) == ("error" in members(answer))
