"""Which access tokens are believed."""

import base64
import time
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from gateway.auth.oauth.keys import KnownKey
from gateway.auth.oauth.tokens import InvalidToken
from tests.gateway.oauth.rig import ALICE, ISSUER, MCP, Rig

VERIFY_S_MAX = 500e-6  # auth.verify_us: an unknown valid one


def signed(rig: Rig, header: dict[str, Any] | None = None, **changed: Any) -> str:
    """A token of our key, with some of what it says changed; None leaves it out."""
    key = current(rig)
    claims = {
        "iss": ISSUER,
        "sub": ALICE,
        "aud": MCP,
        "exp": int(rig.clock.now) + 60,
        "iat": int(rig.clock.now),
        "jti": "x",
        "client_id": "c",
        "scope": "mcp",
        "grant": "g",
        **changed,
    }
    said = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": key.kid, **(header or {})}, said, key.private)


def current(rig: Rig) -> KnownKey:
    key = rig.server.tokens._keys.signer()
    assert key is not None
    return key


def segments(*parts: Any) -> str:
    return ".".join(base64.urlsafe_b64encode(orjson.dumps(part)).decode().rstrip("=") for part in parts)


async def test_a_good_token_says_whose_it_is_and_what_for(rig: Rig) -> None:
    said = rig.server.verify(signed(rig))
    assert (said.user, said.resource, said.client_id, said.grant_id) == (ALICE, MCP, "c", "g")
    assert (said.scope, said.expires_at) == ("mcp", rig.clock.now + 60)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"iss": f"{ISSUER}/"},
        {"iss": None},
        {"aud": [MCP]},
        {"aud": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"sub": None},
        {"sub": 7},
        {"client_id": None},
        {"scope": None},
        {"scope": ["mcp"]},
        {"grant": None},
    ],
    ids=str,
)
async def test_what_says_too_little_or_another_thing_is_not_believed(
    rig: Rig, changed: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken):
        rig.server.verify(signed(rig, **changed))


@pytest.mark.parametrize("typ", ["JWT", "AT+JWT", "application/at+jwt", "dpop+jwt", ""])
async def test_another_kind_of_token_is_not_believed(rig: Rig, typ: Any) -> None:
    with pytest.raises(InvalidToken):
        rig.server.verify(signed(rig, {"typ": typ}))


async def test_a_header_that_we_do_not_write_is_not_believed(rig: Rig) -> None:
    with pytest.raises(InvalidToken):
        rig.server.verify(signed(rig, {"cty": "x"}))


async def test_a_token_is_over_at_its_end_to_the_second(rig: Rig) -> None:
    token = signed(rig)
    rig.clock.now += 59
    rig.server.verify(token)
    rig.clock.now += 1
    with pytest.raises(InvalidToken):
        rig.server.verify(token)


async def test_no_other_algorithm_is_believed(rig: Rig) -> None:
    key = current(rig)
    claims = orjson.loads(base64.urlsafe_b64decode(signed(rig).split(".")[1] + "=="))
    for alg in ("none", "None", "HS256", "RS512", "PS256", "EdDSA", None, 7):
        header = {"alg": alg, "typ": "at+jwt", "kid": key.kid}
        for signature in ("", "x", signed(rig).rpartition(".")[2]):
            with pytest.raises(InvalidToken):
                rig.server.verify(f"{segments(header, claims)}.{signature}")


async def test_a_changed_token_is_not_believed(rig: Rig) -> None:
    header, claims, signature = signed(rig).split(".")
    other = orjson.loads(base64.urlsafe_b64decode(claims + "=="))
    with pytest.raises(InvalidToken):
        rig.server.verify(f"{header}.{segments({**other, 'sub': 'github:2'})}.{signature}")


async def test_anothers_key_of_the_same_name_is_not_believed(rig: Rig) -> None:
    key = current(rig)
    claims = orjson.loads(base64.urlsafe_b64decode(signed(rig).split(".")[1] + "=="))
    theirs = RSAKey.generate_key(2048)
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}
    with pytest.raises(InvalidToken):
        rig.server.verify(jwt.encode(header, claims, theirs))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "..",
        "a.b.c",
        "é.é.é",
        "a.b.c.d",
        f"{segments([], {})}.x",
        f"{segments(['alg', 'typ', 'kid'], {})}.x",
        f"{segments({'alg': 'RS256', 'typ': 'at+jwt', 'kid': 7}, {})}.x",
        f"{segments({'alg': 'RS256', 'typ': 'at+jwt', 'kid': ['x']}, {})}.x",
        f"{segments({'alg': 'RS256', 'typ': 7, 'kid': 'x'}, {})}.x",
        f"{segments('[' * 3000, {})}.x",
        "x" * 5000,
    ],
)
async def test_garbage_is_not_believed(rig: Rig, token: str) -> None:
    with pytest.raises(InvalidToken):
        rig.server.verify(token)
    with pytest.raises(InvalidToken):
        await rig.server.verified(token)


async def test_a_token_is_verified_fast(rig: Rig) -> None:
    token = signed(rig)
    taken_s = []
    for _ in range(300):
        started_s = time.perf_counter()
        rig.server.verify(token)
        taken_s.append(time.perf_counter() - started_s)
    assert sorted(taken_s)[150] < VERIFY_S_MAX
