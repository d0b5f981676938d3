"""Homes below a wildcard domain (WORKLOAD_DOMAIN), behind what ends TLS: the way in, on the wire."""

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import pytest

from gateway.auth.home_entry import mint_entry_code
from gateway.head import read_head
from state.kinds.access_policy import Rule
from tests.gateway.conftest import ALICE_HOME, BOB_HOME, WORKERS
from tests.gateway.rig import Container, Rig, container, gateway

GATEWAY, DOMAIN = "gw.example.com", "homes.example.net"
ANN = "github:1"
OWN, OTHER = f"{ALICE_HOME}.{DOMAIN}", f"{BOB_HOME}.{DOMAIN}"


@pytest.fixture
async def ann() -> AsyncIterator[Container]:
    async with container("ann") as stand_in:
        yield stand_in


@pytest.fixture(params=WORKERS)
async def rig(request: pytest.FixtureRequest, ann: Container) -> AsyncIterator[Rig]:
    """Ann has a Home, and Bob another."""
    origin = f"https://{GATEWAY}"
    async with gateway(workers=request.param, gateway_origin=origin, workload_domain=DOMAIN) as rig:
        await rig.add_template()
        await rig.add_policy(Rule(provider="github"))
        for name, user, home in (("ann", ANN, ALICE_HOME), ("bob", "github:2", BOB_HOME)):
            await rig.signed_in(user)
            await rig.add_user(name, user)
            await rig.give_home(name, home)
            await rig.route(name, ann, home)
        await rig.applied()
        yield rig


async def code(rig: Rig, home: str = ALICE_HOME) -> str:
    """With which Ann enters."""
    session = await rig.session(ANN)
    visitor = await rig.workers[0]._desk.sessions.visitor(read_head([(b"cookie", session.encode())]))
    assert visitor is not None
    return await mint_entry_code(rig.tickets, visitor, home)


async def entered(rig: Rig) -> str:
    """Ann's Set-Cookie."""
    async with rig.request("GET", f"/-/enter?code={await code(rig)}&to=/live", host=OWN) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/live")
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        return str(answer.headers["Set-Cookie"])


async def test_the_button_leads_from_the_account_into_the_home(rig: Rig) -> None:
    session = await rig.session(ANN)
    visitor = await rig.workers[0]._desk.sessions.visitor(read_head([(b"cookie", session.encode())]))
    assert visitor is not None
    fields = {"csrf": visitor.csrf, "name": "ann", "path": "/"}
    headers = {"Cookie": session, "Origin": f"https://{GATEWAY}"}
    async with rig.request("POST", "/-/open", host=GATEWAY, headers=headers, data=fields) as answer:
        assert answer.status == 303
        target = answer.headers["Location"]
    assert target.startswith(f"https://{OWN}/-/enter?code=")
    async with rig.request("GET", target.removeprefix(f"https://{OWN}"), host=OWN) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")


async def test_its_cookie_is_bound_to_the_one_host_and_to_tls(rig: Rig) -> None:
    morsels = SimpleCookie(await entered(rig))
    [(name, morsel)] = morsels.items()
    assert name == "__Host-mcpgw-home"
    assert (morsel["path"], morsel["domain"], morsel["samesite"]) == ("/", "", "Lax")
    assert morsel["secure"] and morsel["httponly"]
    assert 0 < int(morsel["max-age"]) <= 86400


async def test_a_code_is_good_once_and_at_its_own_home(rig: Rig) -> None:
    used = await code(rig)
    for path, host, status in (
        (f"/-/enter?code={used}", OWN, 303),
        (f"/-/enter?code={used}", OWN, 403),
        (f"/-/enter?code={used}", OTHER, 403),
        (f"/-/enter?code={await code(rig)}", OTHER, 403),
        (f"/-/enter?code={await code(rig, BOB_HOME)}", OTHER, 403),
    ):
        async with rig.request("GET", path, host=host) as answer:
            assert answer.status == status, (path, host)
            assert ("Set-Cookie" in answer.headers) is (status == 303)


async def test_the_container_is_told_the_homes_own_host_and_https(rig: Rig, ann: Container) -> None:
    crumb = (await entered(rig)).partition(";")[0]
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher", "Forwarded": "host=evil"}
    for host in (OWN, f"{OWN}:443", OWN.upper()):
        async with rig.request("GET", "/live", host=host, headers={"Cookie": crumb, **forged}) as answer:
            assert answer.status == 200, host
            seen = dict((await answer.json())["headers"])
        assert seen["host"] == seen["x-forwarded-host"] == OWN
        assert seen["x-forwarded-proto"] == "https"
        assert "evil" not in str(seen)
        assert "cookie" not in seen
    assert len(ann.requests) == 3


async def test_its_cookie_opens_neither_another_home_nor_the_gateway(rig: Rig, ann: Container) -> None:
    secret = (await entered(rig)).partition(";")[0].partition("=")[2]
    for name in ("__Host-mcpgw-home", "__Host-mcpgw", "mcpgw", "mcpgw-home"):
        headers = {"Cookie": f"{name}={secret}"}
        async with rig.request("GET", "/live", host=OTHER, headers=headers) as answer:
            assert answer.status == 401, name
        async with rig.request("GET", "/account", host=GATEWAY, headers=headers) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/signin")
        if name != "__Host-mcpgw-home":  # a neighbour's page, or plain http, may set the others
            async with rig.request("GET", "/live", host=OWN, headers=headers) as answer:
                assert answer.status == 401, name
    assert not ann.requests


@pytest.mark.parametrize(
    "host",
    [
        DOMAIN,
        f"x.{DOMAIN}",
        f"{ALICE_HOME}.{GATEWAY}",
        f"{ALICE_HOME}.localhost",
        f"a.{OWN}",
        f"{OWN}.evil.example",
        f"{OWN}:8443",
        f"{OWN}.",
    ],
)
@pytest.mark.negative(58)
async def test_a_host_that_is_no_home_of_the_domain_is_421(rig: Rig, host: str) -> None:
    async with rig.request("GET", "/static/x", host=host) as answer:
        assert answer.status == 421


async def test_a_homes_name_goes_to_nobody_unless_the_container_says_so(rig: Rig, ann: Container) -> None:
    """It opens the Home's links, and browsers tell it to every site that a page of the Home names."""
    async with rig.request("GET", "/static/x", host=OWN) as answer:
        assert answer.headers.getall("Referrer-Policy") == ["same-origin"]
    ann.more_headers = [(b"referrer-policy", b"strict-origin-when-cross-origin")]
    async with rig.request("GET", "/static/x", host=OWN) as answer:
        assert answer.headers.getall("Referrer-Policy") == ["strict-origin-when-cross-origin"]
