"""A provider whose clock is not ours: two minutes are nothing, and more is a page that says so."""

import time

import pytest

from state.kinds.access_policy import Rule
from state.kinds.account import Account
from tests.gateway.sign_in.browser import Browser
from tests.gateway.sign_in.conftest import Place

MINUTE_S = 60
LIFETIME_S = 20  # of an id_token: issuers that are sparing with it


def _set(place: Place, ahead_s: int) -> None:
    """The provider's clock, and an id_token that says all three times by it."""
    now = int(time.time()) + ahead_s
    place.oidc.clock = lambda: time.time() + ahead_s
    place.oidc.lies = {"nbf": now, "exp": now + LIFETIME_S}


@pytest.mark.parametrize("ahead_s", [-2 * MINUTE_S, 2 * MINUTE_S - 10], ids=["behind", "ahead"])
async def test_two_minutes_either_way_do_no_harm(place: Place, ahead_s: int) -> None:
    _set(place, ahead_s)
    seen = await Browser(place.rig).sign_in("oidc")
    assert (seen.status, seen.url) == (200, f"{place.rig.origin}/")


@pytest.mark.parametrize(
    ("ahead_s", "reason", "words"),
    [
        (-3 * MINUTE_S, "TokenExpired", "is over: its clock or ours is wrong"),
        (3 * MINUTE_S, "TokenAhead", "is from the future: its clock or ours is wrong"),
    ],
    ids=["behind", "ahead"],
)
async def test_three_minutes_are_a_page_that_names_the_clocks(
    strict: Place, ahead_s: int, reason: str, words: str
) -> None:
    await strict.rig.add_policy(Rule(provider="oidc"))
    _set(strict, ahead_s)
    browser = Browser(strict.rig)
    seen = await browser.sign_in("oidc")
    assert (seen.status, reason in seen.text, words in seen.text) == (403, True, True)
    assert "Example ID" in seen.text
    assert "Traceback" not in seen.text
    assert "mcpgw" not in browser.cookies[f"localhost:{strict.rig.port}"], "nobody was signed in"
    assert not await strict.rig.read(lambda tx: tx.list(Account))
    _set(strict, 0)
    assert (await browser.sign_in("oidc")).status == 200, "once the clock is set"
