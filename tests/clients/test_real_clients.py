"""Real clients, unattended: from the MCP address alone to a tool's answer out of one's own container."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.forms import Page
from tests.clients.place import Place, github_settings, google_settings, place
from tests.clients.robot import Person
from tests.clients.run import Driver, connected
from tests.idp.rig import Idp, Service, emulated

EVERY_DRIVER = pytest.mark.parametrize("driver", list(Driver), ids=[driver.name.lower() for driver in Driver])


@EVERY_DRIVER
async def test_a_real_client_signs_in_lists_the_tools_and_calls_one(at_oidc: Place, driver: Driver) -> None:
    async with at_oidc.person("answer=sign-in", login="alice") as alice:
        got = await connected(driver, at_oidc.mcp_url, alice, arguments={"text": driver.name})
    assert got.answer == {"result": driver.name}, got.client
    assert {"echo", "whoami"} <= set(got.tools)
    assert len(got.visits) == 1
    assert any(url.startswith(f"{at_oidc.rig.origin}/auth/callback") for url in got.visits[0].way)


async def test_a_client_s_calls_reach_the_container_without_any_token(at_oidc: Place) -> None:
    async with at_oidc.person("answer=sign-in", login="alice") as alice:
        got = await connected(Driver.MCP_2, at_oidc.mcp_url, alice, tool="whoami", arguments={})
    assert "authorization" not in {name for name, _ in got.answer["headers"]}


async def test_a_strict_client_refreshes_and_revokes(at_oidc: Place) -> None:
    async with at_oidc.person("answer=sign-in", login="alice") as alice:
        got = await connected(Driver.STRICT, at_oidc.mcp_url, alice)
    assert (got.more["issuer"], got.more["rotated"], got.more["refreshed"]) == (
        at_oidc.rig.origin,
        True,
        True,
    )
    assert got.more["afterRevocation"] == {"refresh": "invalid_grant", "access": "401"}


async def test_a_client_that_is_not_allowed_is_told_so(at_oidc: Place) -> None:
    async with Person("decision=deny") as alice:
        with pytest.raises(AssertionError, match="access_denied"):
            await connected(Driver.STRICT, at_oidc.mcp_url, alice)


async def test_a_client_hears_that_somebody_refused_at_the_provider(at_oidc: Place) -> None:
    async with at_oidc.person("answer=refuse") as alice:
        with pytest.raises(AssertionError, match="access_denied"):
            await connected(Driver.STRICT, at_oidc.mcp_url, alice)


@pytest.mark.parametrize(
    ("service", "settings", "pressed", "name"),
    [
        ("github", github_settings, "login=alice", "alice"),
        ("google", google_settings, "email=alice@example.com", "alice@example.com"),
    ],
    ids=["GitHub's wire shapes", "Google's wire shapes"],
)
async def test_a_person_signs_in_by_the_wire_shapes_of_a_large_provider(
    tmp_path: Path, service: Service, settings: Callable[[Idp], dict[str, str]], pressed: str, name: str
) -> None:
    async with (
        emulated(service) as idp,
        place(idp, service, None, settings(idp), tmp_path) as at,
        at.person(pressed) as alice,
    ):
        seen = await alice.visit(f"{at.rig.origin}/signin")
    assert (seen.status, seen.url) == (200, f"{at.rig.origin}/")
    assert name in Page(seen.text).words
