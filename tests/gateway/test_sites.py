"""Which Host headers are ours, and which origin each of them is."""

import pytest

from gateway.sites import Sites, is_loopback_name

HOME = "abcdefghijklmnopqrstuvwx23"
LOCAL = Sites("http://localhost:9000")
PUBLIC = Sites("https://gw.example.com", workload_domain="homes.example.net")


@pytest.mark.parametrize("host", [b"localhost:9000", b"127.0.0.1:9000", b"[::1]:9000", b"LOCALHOST:9000"])
def test_the_loopback_names_are_the_gateway_while_local(host: bytes) -> None:
    site = LOCAL.find(host)
    assert site is not None
    assert site.home == ""


@pytest.mark.parametrize(
    ("sites", "host", "origin"),
    [
        (LOCAL, f"{HOME}.localhost:9000", f"http://{HOME}.localhost:9000"),
        (PUBLIC, f"{HOME}.homes.example.net", f"https://{HOME}.homes.example.net"),
        (PUBLIC, f"{HOME}.homes.example.net:443", f"https://{HOME}.homes.example.net"),
    ],
)
def test_a_home_has_an_origin_of_its_own(sites: Sites, host: str, origin: str) -> None:
    site = sites.find(host.encode())
    assert site is not None
    assert (site.home, site.origin) == (HOME, origin)
    assert sites.home(HOME) == site


@pytest.mark.parametrize(
    ("sites", "host"),
    [
        (LOCAL, "localhost"),
        (LOCAL, "localhost:9001"),
        (LOCAL, "localhost.:9000"),
        (LOCAL, "evil.example:9000"),
        (LOCAL, "localhost:9000/../x"),
        (LOCAL, "localhost:9000@evil"),
        (LOCAL, "user@localhost:9000"),
        (LOCAL, " localhost:9000"),
        (LOCAL, "x.localhost:9000"),
        (LOCAL, f"{HOME}x.localhost:9000"),
        (LOCAL, f"a.{HOME}.localhost:9000"),
        (LOCAL, f"{HOME}.localhost.evil.example:9000"),
        (LOCAL, ".localhost:9000"),
        (LOCAL, ""),
        (LOCAL, "[::1:9000"),
        (LOCAL, "localhost:90000000"),
        (PUBLIC, "localhost"),
        (PUBLIC, "127.0.0.1"),
        (PUBLIC, "homes.example.net"),
        (PUBLIC, f"{HOME}.gw.example.com"),
        (PUBLIC, "a" * 300),
    ],
)
def test_n58_n59_any_other_host_is_not_ours(sites: Sites, host: str) -> None:
    assert sites.find(host.encode()) is None


def test_the_cache_of_hosts_is_bounded() -> None:
    sites = Sites("http://localhost:9000")
    for number in range(10_000):
        sites.find(b"h%d.example" % number)
    assert len(sites._cached) <= 4096
    assert sites.find(b"localhost:9000") is sites.gateway


@pytest.mark.parametrize(
    ("name", "is_loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("localhost.evil.example", False),
        ("192.168.0.1", False),
    ],
)
def test_names_that_mean_this_machine(name: str, is_loopback: bool) -> None:
    assert is_loopback_name(name) is is_loopback
