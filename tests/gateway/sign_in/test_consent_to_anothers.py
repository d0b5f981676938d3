"""A program that asks for a container which its address names: the person is told whose it is."""

import html

import pytest

from state.kinds.access_policy import Role, Rule
from state.kinds.account import Claims
from tests.gateway.sign_in.browser import Browser, program
from tests.gateway.sign_in.conftest import ANN_USER, BOB_USER, Place

BOBS = Claims(login="bob", emails=("bob@example.com",))


async def asked(place: Place, named: str, *, signed_in: bool = True) -> str:
    """What the page says to Ann, or to whoever is not signed in yet."""
    await place.rig.add_user("bobs", BOB_USER)
    await place.rig.signed_in(BOB_USER, BOBS)
    asking = await program(place.rig)
    browser = Browser(place.rig)
    if signed_in:
        await browser.sign_in("github")
    page = await browser.visit(asking.url(resource=f"{place.rig.origin}{named}/mcp"))
    assert page.status == 200, page.text
    return html.unescape(page.text)


@pytest.mark.parametrize("named", [f"/u/{BOB_USER}", "/u/bobs"])
async def test_an_admin_is_told_whose_container_it_is(strict: Place, named: str) -> None:
    await strict.rig.add_policy(Rule(users=(ANN_USER,), role=Role.ADMIN), Rule(provider="github"))
    text = await asked(strict, named)
    assert "to use the container of github:77, known as bob?" in text
    assert "use the tools in the container of github:77, known as bob, and all that it keeps" in text
    assert "your container" not in text


@pytest.mark.parametrize("named", ["", f"/u/{ANN_USER}"])
async def test_ones_own_is_ones_own_however_it_is_named(strict: Place, named: str) -> None:
    await strict.rig.add_policy(Rule(provider="github"))
    text = await asked(strict, named)
    assert "to use your container?" in text
    assert "It is not yours" not in text


@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "signed out"])
async def test_nobody_else_learns_who_somebody_is(strict: Place, signed_in: bool) -> None:
    await strict.rig.add_policy(Rule(provider="github"))
    text = await asked(strict, "/u/bobs", signed_in=signed_in)
    assert "to use the container of bobs?" in text
    assert BOB_USER not in text
    assert "known as" not in text
    assert "bob@" not in text
    assert ("what you allow would open nothing" in text) == signed_in
