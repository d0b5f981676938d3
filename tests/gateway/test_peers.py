"""Whose address a request comes from, with and without trusted proxies in front."""

from ipaddress import ip_network

import pytest

from gateway.peers import Peers
from tests.gateway.rig import bearer, container, gateway

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param("10.0.0.1", ["203.0.113.7"], "203.0.113.7", id="a_trusted_proxy_says_who_it_is"),
        pytest.param("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7", id="the_clients_own_word_is_none"),
        pytest.param("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7", id="through_two_proxies"),
        pytest.param("10.0.0.1", ["1.1.1.1", "203.0.113.7"], "203.0.113.7", id="two_headers_are_one_list"),
        pytest.param("fd00::1", ["2001:db8::7"], "2001:db8::7", id="ipv6"),
        pytest.param("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7", id="a_mapped_peer"),
        pytest.param("198.51.100.1", ["203.0.113.7"], "198.51.100.1", id="n69_an_untrusted_peer_is_itself"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="no_header"),
        pytest.param("10.0.0.1", ["203.0.113.7, nonsense"], "10.0.0.1", id="nonsense_ends_the_chain"),
        pytest.param("10.0.0.1", ["10.0.0.3"], "10.0.0.1", id="proxies_alone"),
    ],
)
def test_the_address_is_the_last_that_a_trusted_proxy_saw(
    peer: str, forwarded: list[str], client: str
) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = Peers(TRUSTED).seen_through({"client": (peer, 4711), "headers": headers})
    assert scope["client"][0] == client


@pytest.mark.negative(69)
@pytest.mark.parametrize(("trusted", "told"), [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.7")])
async def test_a_container_is_told_the_address_and_never_the_forwarded_host(trusted: str, told: str) -> None:
    async with gateway(trusted_proxies=trusted) as rig, container("alice") as alice:
        await rig.add_template()
        key = await rig.add_app("shop")
        await rig.add_user("alice", "app:shop.alice")
        await rig.route("alice", alice)
        await rig.applied()
        forged = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "evil.example"}
        for _ in range(2):  # the second passes by what was kept of the first
            async with rig.request(
                "POST", "/mcp", headers=bearer(key, "alice", **forged), data=b"{}"
            ) as answer:
                seen = dict((await answer.json())["headers"])
            assert seen["x-forwarded-for"] == told
            assert seen["x-forwarded-host"] == f"localhost:{rig.port}"
