"""Somebody who goes to a provider and comes back, and what they may be made to do on the way."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
import pytest
from yarl import URL

from gateway.auth.identity import Identity
from gateway.auth.providers.port import Departure, Provider, ProviderError, Wants

REDIRECT_URI = "http://localhost:9000/auth/callback"
NOTHING = Wants(organizations=False, teams=False)


async def depart(provider: Provider, wants: Wants = NOTHING) -> Departure:
    return await provider.depart(state="the-state", redirect_uri=REDIRECT_URI, wants=wants)


async def visit(url: str) -> dict[str, str]:
    """The parameters with which the provider sends the browser back."""
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(URL(url, encoded=True), allow_redirects=False) as answer,
    ):
        assert answer.status == 302, await answer.text()
        back = URL(answer.headers["Location"])
    assert str(back.with_query(None)) == REDIRECT_URI
    assert back.query["state"] == "the-state"
    return dict(back.query)


async def arrive(
    provider: Provider, params: Mapping[str, str], kept: Mapping[str, str], wants: Wants = NOTHING
) -> Identity:
    return await provider.arrive(params, kept, redirect_uri=REDIRECT_URI, wants=wants)


async def sign_in(provider: Provider, wants: Wants = NOTHING) -> Identity:
    """There and back."""
    departure = await depart(provider, wants)
    return await arrive(provider, await visit(departure.url), departure.kept, wants)


async def refused(provider: Provider, wants: Wants = NOTHING) -> ProviderError:
    """How a sign-in that must not work ends."""
    with pytest.raises(ProviderError) as refusal:
        await sign_in(provider, wants)
    error = refusal.value
    assert provider.label in error.detail or "you" in error.detail
    assert error.detail.endswith(".")
    return error
