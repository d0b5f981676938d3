"""Signing keys: made once, published before they sign, kept while a token of theirs may be good."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.auth.oauth import keys
from gateway.auth.oauth.keys import PUBLISHED_BEFORE_S, RELOADED_AFTER_S, ROTATED_AFTER_S
from gateway.auth.oauth.server import AuthorizationServer
from gateway.auth.oauth.tokens import InvalidToken, UnknownKey
from gateway.auth.secret_key import SecretKey
from state.store.errors import Unavailable
from tests.gateway.oauth.rig import Clock, House, Rig, bytes_of, serving


def signer(rig: Rig) -> str:
    key = rig.server.tokens._keys.signer()
    assert key is not None
    return key.kid


async def published(rig: Rig) -> set[str]:
    return {key["kid"] for key in (await rig.server.jwks())["keys"]}


async def test_a_key_is_published_without_its_private_half(rig: Rig) -> None:
    [key] = (await rig.server.jwks())["keys"]
    assert key.keys() == {"kty", "n", "e", "use", "alg", "kid"}
    assert (key["kty"], key["use"], key["alg"], key["kid"]) == ("RSA", "sig", "RS256", signer(rig))


async def test_a_key_is_on_record_sealed(rig: Rig) -> None:
    key = rig.server.tokens._keys.signer()
    assert key is not None
    private = key.private.as_dict(private=True)
    for part in ("d", "p", "q", "dp", "dq", "qi"):
        assert str(private[part]).encode() not in bytes_of(rig.path)


async def test_workers_that_start_together_make_one_key(tmp_path: Path) -> None:
    path, clock = tmp_path / "auth.db", Clock()
    async with serving(path, clock) as first, serving(path, clock) as second:
        for row in await first.auth.read(lambda tx: tx.signing_keys.all()):
            await first.auth.transact(lambda tx, kid=row.kid: tx.signing_keys.drop(kid))  # type: ignore[misc]
        terms, key = House().terms(), SecretKey(b"k" * 32)
        servers = [
            AuthorizationServer(rig.auth, key, terms, None, clock)
            for rig in (first, second)
            for _ in range(2)
        ]
        await asyncio.gather(*(server.start() for server in servers))
        assert len(await first.auth.read(lambda tx: tx.signing_keys.all())) == 1
        assert len({str(await server.jwks()) for server in servers}) == 1


async def test_a_new_key_is_published_a_day_before_it_signs(rig: Rig) -> None:
    old = signer(rig)
    rig.clock.now += ROTATED_AFTER_S
    await rig.server.sweep()
    await rig.server.sweep()
    both = await published(rig)
    assert len(both) == 2 and signer(rig) == old
    rig.clock.now += PUBLISHED_BEFORE_S - 1
    assert signer(rig) == old
    rig.clock.now += 1
    assert {signer(rig), old} == both


async def test_an_old_key_is_kept_until_its_last_token_is_over(rig: Rig) -> None:
    old, client_id = signer(rig), await rig.client()
    rig.clock.now += ROTATED_AFTER_S
    client_id = await rig.client()
    await rig.server.sweep()
    rig.clock.now += PUBLISHED_BEFORE_S - 1
    token = (await rig.tokens(client_id))["access_token"]
    rig.clock.now += 3599
    await rig.server.sweep()
    rig.server.verify(token)
    assert old in await published(rig) and signer(rig) != old
    rig.clock.now += 3600
    await rig.server.sweep()
    assert await published(rig) == {signer(rig)}
    with pytest.raises(InvalidToken):
        rig.server.verify(token)


async def test_keys_rotate_again_and_again(rig: Rig) -> None:
    seen = {signer(rig)}
    for _ in range(3):
        rig.clock.now += ROTATED_AFTER_S
        await rig.server.sweep()
        rig.clock.now += 2 * PUBLISHED_BEFORE_S
        await rig.server.sweep()
        assert len(await published(rig)) == 1
        seen.add(signer(rig))
    assert len(seen) == 4


async def test_keys_that_do_not_open_are_set_aside_and_tokens_are_refused(tmp_path: Path) -> None:
    path, clock = tmp_path / "auth.db", Clock()
    async with serving(path, clock) as rig:
        client_id = await rig.client()
        tokens = await rig.tokens(client_id)
        old = await published(rig)
    with structlog.testing.capture_logs() as logs:
        async with serving(path, clock, key=b"o" * 32) as rig:
            await rig.server.sweep()
            assert not old & await published(rig)
            with pytest.raises(InvalidToken):
                await rig.server.verified(tokens["access_token"])
            assert (await rig.refresh(client_id, tokens["refresh_token"])).status == 200
    assert [log["event"] for log in logs].count("signing_keys.set_aside") == 1


async def test_keys_open_again_with_the_key_that_sealed_them(tmp_path: Path) -> None:
    path, clock = tmp_path / "auth.db", Clock()
    async with serving(path, clock) as rig:
        token = (await rig.tokens(await rig.client()))["access_token"]
    async with serving(path, clock, key=b"o" * 32):
        pass
    async with serving(path, clock) as rig:
        rig.server.verify(token)
        old = signer(rig)
        rig.clock.now += PUBLISHED_BEFORE_S
        await rig.server.sweep()
        assert signer(rig) != old, "it was to retire, and another takes over before it does"


async def test_what_another_worker_made_is_known_at_the_first_token_of_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once in a while: anybody may send a kid that nobody knows."""
    looks = 0

    async def counted() -> list[Any]:
        nonlocal looks
        looks += 1
        return await load()

    async with serving(rig.path, rig.clock, rig.house) as other:
        client_id = await rig.client()
        await other.auth.transact(lambda tx: tx.signing_keys.drop(signer(rig)))
        other.server.tokens._keys._known.clear()
        await other.server.start()
        token = (await other.tokens(client_id))["access_token"]
        load = rig.server.tokens._keys._load
        monkeypatch.setattr(rig.server.tokens._keys, "_load", counted)
        with pytest.raises(UnknownKey):
            rig.server.verify(token)
        rig.server.tokens._keys._loaded_at -= 60
        found = await asyncio.gather(*(rig.server.verified(token) for _ in range(5)), return_exceptions=True)
        assert looks == 1
        assert any(not isinstance(one, BaseException) for one in found)
        assert (await rig.server.verified(token)).client_id == client_id


async def test_what_is_known_goes_on_while_the_store_is_silent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent() -> list[Any]:
        raise Unavailable("it does not answer")

    monkeypatch.setattr(rig.server.tokens._keys, "_load", silent)
    rig.server.tokens._keys._loaded_at -= RELOADED_AFTER_S
    assert (await rig.server.jwks())["keys"]


def test_a_worker_reloads_well_before_an_old_key_is_forgotten() -> None:
    assert keys.RELOADED_AFTER_S * 2 < keys.RETIRED_SLACK_S < keys.PUBLISHED_BEFORE_S
