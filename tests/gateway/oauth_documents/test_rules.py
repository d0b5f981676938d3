"""The pure rules: which URLs and addresses may be asked, and what a document must hold."""

import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.oauth.documents import FetchedDocuments, _checked_document
from gateway.auth.oauth.fetch import is_public, site_of, target
from gateway.auth.oauth.port import DocumentError
from tests.gateway.oauth_documents.rig import document

URL = "https://client.example/mcp.json"

NOT_PUBLIC = {
    "unspecified": "0.0.0.0 ::",
    "this network": "0.1.2.3",
    "private": "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255",
    "shared by a carrier's customers": "100.64.0.0 100.127.255.255",
    "loopback": "127.0.0.1 127.255.255.255 ::1",
    "link-local": "169.254.0.1 169.254.169.254 fe80::1 febf::1 fe80::1%1",
    "a cloud's host": "168.63.129.16",
    "protocol assignments": "192.0.0.1 192.0.0.9 192.0.0.170 2001:1::1 2001:20::1",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1 3fff:fff::1",
    "benchmarks": "198.18.0.1 198.19.255.255 2001:2::1",
    "6to4 relays": "192.88.99.1",
    "AS112 and AMT": "192.31.196.1 192.52.193.1 192.175.48.1 2620:4f:8000::1",
    "multicast": "224.0.0.1 239.255.255.255 ff02::1 ff0e::1",
    "reserved and broadcast": "240.0.0.1 255.255.255.255 4000::1 5f00::1 e000::1",
    "mapped and compatible IPv4": "::ffff:8.8.8.8 ::ffff:127.0.0.1 ::8.8.8.8 ::127.0.0.1 ::ffff:0:8.8.8.8",
    "NAT64": "64:ff9b::8.8.8.8 64:ff9b::127.0.0.1 64:ff9b:1::1 64:ff9b:1:ffff::10.0.0.1",
    "6to4": "2002:808:808::1 2002:7f00:1::1 2002:a00:1::1",
    "Teredo": "2001:0:808:808::1 2001::1",
    "ORCHID": "2001:10::1",
    "discard-only": "100::1 100:0:0:1::1",
    "unique-local": "fc00::1 fd00:ec2::254",
    "site-local": "fec0::1",
}
PUBLIC = (
    "8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.0.0.1 128.0.0.1 172.15.255.255 "
    "172.32.0.0 169.253.255.255 192.0.1.1 192.167.0.1 198.17.0.1 198.20.0.1 223.255.255.255 2606:4700::1111 "
    "2001:4860:4860::8888 2001:200::1 2a00::1 2003::1 3ffe::1"
)


@pytest.mark.parametrize(
    ("address", "kind"), [(one, kind) for kind, written in NOT_PUBLIC.items() for one in written.split()]
)
def test_an_address_that_is_not_public_is_refused(address: str, kind: str) -> None:
    assert not is_public(ip_address(address)), kind


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("client.example", "client.example"),
        ("a.b.Client.Example", "client.example"),
        ("localhost", "localhost"),
        ("a.example.co.uk", "example.co.uk"),
        ("example.co.uk", "example.co.uk"),
        ("x.com", "x.com"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
    ],
)
def test_a_host_counts_for_its_site(host: str, site: str) -> None:
    assert site_of(host) == site


@pytest.mark.parametrize("address", PUBLIC.split())
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_is_allowed_is_never_more_than_the_standard_library_calls_global(
    address: IPv4Address | IPv6Address,
) -> None:
    if is_public(address):
        assert address.is_global
        assert not (address.is_multicast or address.is_reserved or address.is_unspecified)


@given(st.ip_addresses(v=4), st.integers(0, 2**80 - 1))
def test_no_form_of_ipv6_that_embeds_ipv4_gets_through(inner: IPv4Address, rest: int) -> None:
    number = int(inner)
    for embedding in (
        number,
        0xFFFF << 32 | number,
        0x64_FF9B << 96 | number,
        0x64_FF9B_0001 << 80 | rest,
        0x2002 << 112 | number << 80 | rest,
        0x2001_0000 << 96 | rest << 16,
    ):
        assert not is_public(IPv6Address(embedding))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (URL, ("client.example", 443)),
        ("https://client.example:443/x", ("client.example", 443)),
        ("https://CLIENT.example:65535/a/b?c=d", ("CLIENT.example", 65535)),
        ("https://client.example//", ("client.example", 443)),
        ("https://client.example/a...b/.well-known/..c", ("client.example", 443)),
        ("https://client.example/?x=/../", None),
        ("https://xn--bcher-kva.example/x", ("xn--bcher-kva.example", 443)),
        ("https://8.8.8.8/x", ("8.8.8.8", 443)),
        ("https://[2606:4700::1111]:8443/x", ("2606:4700::1111", 8443)),
        ("https://client.example/" + "x" * (2048 - 23), ("client.example", 443)),
    ],
)
def test_a_client_id_names_host_and_port(url: str, found: tuple[str, int] | None) -> None:
    if found is None:
        with pytest.raises(DocumentError, match="no path"):
            target(url)
    else:
        assert target(url) == found


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not a URL"),
        ("client", "begin with https"),
        ("http://client.example/x", "begin with https"),
        ("HTTPS://client.example/x", "begin with https"),
        ("https:/client.example/x", "begin with https"),
        ("file:///etc/passwd", "begin with https"),
        ("https://client.example", "no path"),
        ("https://client.example/", "no path"),
        ("https://client.example?x", "no path"),
        ("https://client.example/x#", "fragment"),
        ("https://client.example/x#y", "fragment"),
        ("https://user@client.example/x", "names a user"),
        ("https://user:word@client.example/x", "names a user"),
        ("https://@client.example/x", "names a user"),
        ("https://client.example/./x", "dot segments"),
        ("https://client.example/x/..", "dot segments"),
        ("https://client.example/%2e%2E/x", "dot segments"),
        ("https://client.example/.%2e/x", "dot segments"),
        ("https:///x", "host and port"),
        ("https://client.example:/x", "host and port"),
        ("https://client.example:0/x", "host and port"),
        ("https://client.example:65536/x", "host and port"),
        ("https://client.example:+443/x", "host and port"),
        ("https://client.example:443:443/x", "host and port"),
        ("https://client.example./x", "host and port"),
        ("https://.example/x", "host and port"),
        ("https://-client.example/x", "host and port"),
        ("https://client%2eexample/x", "host and port"),
        ("https://" + "x" * 64 + ".example/x", "host and port"),
        ("https://" + "x." * 127 + "example/x", "host and port"),
        ("https://127.1/x", "host and port"),
        ("https://2130706433/x", "host and port"),
        ("https://0x7f000001/x", "host and port"),
        ("https://0x7f.0.0.0x1/x", "host and port"),
        ("https://0177.0.0.1/x", "host and port"),
        ("https://256.0.0.1/x", "host and port"),
        ("https://[127.0.0.1]/x", "host and port"),
        ("https://[::1/x", "host and port"),
        ("https://[fe80::1%25eth0]/x", "host and port"),
        ("https://[::ffff:1.2.3.4.5]/x", "host and port"),
        ("https://client.example\\@evil.example/x", "not a URL"),
        ("https://client.example/x y", "not a URL"),
        ("https://client.example/x\n", "not a URL"),
        ("https://client.example/\u00e4", "not a URL"),
        ("https://b\u00fccher.example/x", "not a URL"),
        ("https://client.example/" + "x" * (2049 - 23), "not a URL"),
    ],
)
async def test_a_client_id_that_may_not_be_fetched_is_refused_unasked(url: str, why: str) -> None:
    async def never(host: str, port: int) -> list[IPv4Address | IPv6Address]:
        raise AssertionError("nothing is looked up")

    documents = FetchedDocuments(resolve=never)
    with pytest.raises(DocumentError, match=why):
        await documents.fetch(url)


@given(
    st.one_of(st.text(max_size=60), st.text("https:/[]@.%2eE#?0x127 ", max_size=40).map("https://".__add__))
)
def test_no_text_is_too_odd_to_be_judged(url: str) -> None:
    try:
        host, port = target(url)
    except DocumentError as error:
        assert error.reason.endswith(".")
    else:
        assert host
        assert 1 <= port <= 65535


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"redirect_uris": None}, "redirect_uris"),
        ({"redirect_uris": []}, "redirect_uris"),
        ({"redirect_uris": "https://client.example/"}, "redirect_uris"),
        ({"redirect_uris": {"https://client.example/": 1}}, "redirect_uris"),
        ({"redirect_uris": ["https://client.example/", 1]}, "redirect_uris"),
        ({"redirect_uris": [""]}, "redirect_uris"),
        ({"redirect_uris": ["https://client.example/"] * 17}, "redirect_uris"),
        ({"redirect_uris": ["https://client.example/" + "x" * 2048]}, "redirect_uris"),
        ({"client_name": "x" * 201}, "client_name"),
        ({"client_name": 7}, "client_name"),
        ({"client_name": "Cla\x00ude"}, "client_name"),
        ({"client_name": "evil\u202eedualc"}, "client_name"),
        ({"client_name": "line\u2028line"}, "client_name"),
        ({"client_secret": "x"}, "client_secret"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_secret_expires_at": 0}, "client_secret"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "shared secret"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "shared secret"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "shared secret"),
        ({"token_endpoint_auth_method": ["none"]}, "shared secret"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "private_key_jwt, which is not offered"),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(DocumentError, match=why):
        _checked_document(URL, json.dumps(document(URL, **changed)).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff{}",
        b"[" * 5000,
        b'{"client_id":' * 300,
        b"{'a': 1}",
        b"NaN",
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentError, match=r"not (a )?JSON"):
        _checked_document(URL, body)


@pytest.mark.parametrize("method", [None, "none"])
def test_a_client_without_credentials_is_good_whether_it_says_so_or_not(method: str | None) -> None:
    body = json.dumps(document(URL, token_endpoint_auth_method=method)).encode()
    assert _checked_document(URL, body)["token_endpoint_auth_method"] == "none"


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ({"client_name": "   "}, "client_name"),
        ({"client_uri": "javascript:alert(1)"}, "client_uri"),
        ({"client_uri": 1}, "client_uri"),
        ({"scope": "x" * 201}, "scope"),
        ({"scope": ["mcp"]}, "scope"),
        ({"grant_types": "authorization_code"}, "grant_types"),
        ({"grant_types": ["x"] * 17}, "grant_types"),
        ({"response_types": [1]}, "response_types"),
        ({"logo_uri": "https://client.example/x.png"}, "logo_uri"),
        ({"jwks": {"keys": []}}, "jwks"),
    ],
)
def test_a_member_that_nobody_needs_or_that_is_malformed_is_left_out(
    changed: dict[str, Any], gone: str
) -> None:
    assert gone not in _checked_document(URL, json.dumps(document(URL, **changed)).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
members = st.sampled_from(
    [
        "client_id",
        "client_name",
        "redirect_uris",
        "token_endpoint_auth_method",
        "grant_types",
        "client_uri",
        "scope",
    ]
)


@given(st.dictionaries(members, json_values), st.booleans())
def test_no_document_is_too_odd_to_be_judged(changed: dict[str, Any], is_whole: bool) -> None:
    whole = (document(URL) | changed) if is_whole else changed
    try:
        checked = _checked_document(URL, json.dumps(whole).encode())
    except DocumentError as error:
        assert error.reason.endswith(".")
    else:
        assert checked["client_id"] == URL
        assert all(isinstance(uri, str) for uri in checked["redirect_uris"])
