"""A path has one reading, or none: what is matched here is what any server behind us reads."""

import posixpath
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.routes.match import RouteSet, covers, names_hostname
from gateway.routes.path import AmbiguousPathError, normalized
from state.kinds.template import Access, Route

ROUTES = RouteSet(
    [
        Route(path="/mcp", match="prefix", protocol="mcp"),
        Route(path="/live"),
        Route(path="/dpage", access=Access.LINK),
        Route(path="/static", access=Access.ANY),
        Route(path="/static/private", access=Access.OWNER),
        Route(path="/only", match="exact", access=Access.ANY),
    ]
)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/mcp", "/mcp"),
        (b"/mcp/", "/mcp/"),
        (b"/%6dcp", "/mcp"),
        (b"/a%2db", "/a-b"),
        (b"/caf%c3%a9", "/caf%C3%A9"),
        (b"/u/app%3ashop.alice/mcp", "/u/app%3Ashop.alice/mcp"),
        (b"/.well-known/x", "/.well-known/x"),
        (b"/a/..b/c...", "/a/..b/c..."),
        (b"/a%20b", "/a%20b"),
    ],
)
def test_a_path_with_one_reading_is_normalized(raw: bytes, path: str) -> None:
    assert normalized(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"/dpage/../mcp",
        b"/dpage/..",
        b"/./mcp",
        b"/mcp/%2e%2e/x",
        b"/mcp/%2E./x",
        b"/mcp/.%2e",
        b"/mcp/%252e%252e/x",
        b"/dpage%2f..%2fmcp",
        b"/dpage%5c..%5cmcp",
        b"/dpage\\..\\mcp",
        b"//mcp",
        b"/dpage//mcp",
        b"/dpage/..;/mcp",
        b"/dpage;x/mcp",
        b"/dpage/%2e%2e%3b/mcp",
        b"/dpage%00/mcp",
        b"/dpage%3f/mcp",
        b"/dpage%23/mcp",
        b"/dpage/%c0%ae%c0%ae/mcp",
        b"/dpage%252fmcp",
        b"/a%2",
        b"/a%zz",
        b"/a b",
        b"/a\xc3\xa9",
        b"*",
        b"",
        b"mcp",
        b"http://elsewhere/mcp",
        b"/" + b"a" * 9000,
    ],
    ids=repr,
)
@pytest.mark.negative(63)
def test_n63_a_path_with_two_readings_is_refused(raw: bytes) -> None:
    with pytest.raises(AmbiguousPathError):
        normalized(raw)


# How servers behind us might read a target before they pick a rule of their own.
READINGS = {
    "bytes": lambda raw: raw.decode("latin-1"),
    "decoded": lambda raw: unquote(raw.decode("latin-1"), errors="replace"),
    "decoded twice": lambda raw: unquote(unquote(raw.decode("latin-1"), errors="replace"), errors="replace"),
    "dots resolved": lambda raw: posixpath.normpath(unquote(raw.decode("latin-1"), errors="replace")),
    "dots resolved before decoding": lambda raw: unquote(posixpath.normpath(raw.decode("latin-1"))),
    "slashes merged": lambda raw: unquote(raw.decode("latin-1")).replace("//", "/"),
    "backslashes are slashes": lambda raw: posixpath.normpath(
        unquote(raw.decode("latin-1")).replace("\\", "/")
    ),
    "parameters dropped": lambda raw: posixpath.normpath(
        "/".join(part.partition(";")[0] for part in unquote(raw.decode("latin-1")).split("/"))
    ),
    "ends at NUL": lambda raw: unquote(raw.decode("latin-1")).partition("\0")[0],
    "query after decoding": lambda raw: unquote(raw.decode("latin-1")).partition("?")[0].partition("#")[0],
}

_pieces = st.sampled_from(
    [
        *("/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", ";", "%3b", "%00", "%3f", "%23", "%25"),
        *("%252e", "%252f", "mcp", "%6dcp", "live", "dpage", "static", "private", "only", "x", "-", "-maps"),
        *("~", "%c0%ae", "é", "%e9", "%c3%a9", "%", "%2", "?", "#", " ", "%20", "@", ":", "+", "%0d%0a"),
    ]
)


@given(st.lists(_pieces, max_size=9).map(lambda pieces: ("/" + "".join(pieces)).encode()))
@pytest.mark.negative(63)
def test_n63_no_server_reads_another_rule_than_was_matched(raw: bytes) -> None:
    try:
        path = normalized(raw)
    except AmbiguousPathError:
        return
    assert unquote_to_bytes(path.encode()) == unquote_to_bytes(raw), "what is forwarded means what was asked"
    assert normalized(path.encode()) == path, "the normal form is stable"
    rule = ROUTES.find(path)
    for name, read in READINGS.items():
        theirs = read(path.encode())
        slash = "/" if path.endswith("/") and not theirs.endswith("/") else ""
        assert ROUTES.find(theirs + slash) == rule, f"a server where {name} reads {theirs!r}"


@pytest.mark.parametrize(
    ("match", "path", "is_covered"),
    [
        ("prefix", "/mcp", True),
        ("prefix", "/mcp/", True),
        ("prefix", "/mcp/x", True),
        ("prefix", "/mcp-maps", True),
        ("prefix", "/mcp-maps/x", True),
        ("prefix", "/mcpx", False),
        ("prefix", "/xmcp", False),
        ("prefix", "/MCP", False),
        ("subtree", "/mcp/x", True),
        ("subtree", "/mcp-maps", False),
        ("exact", "/mcp", True),
        ("exact", "/mcp/", False),
        ("exact", "/mcp/x", False),
    ],
)
def test_what_a_rule_covers(match: str, path: str, is_covered: bool) -> None:
    assert covers(Route(path="/mcp", match=match), path) is is_covered  # type: ignore[arg-type]


def test_a_rule_at_the_root_covers_everything_and_the_longest_rule_wins() -> None:
    routes = RouteSet([Route(path="/", access=Access.ANY), Route(path="/admin")])
    assert routes.find("/x/y") == Route(path="/", access=Access.ANY)
    assert routes.find("/admin/users") == Route(path="/admin")


@pytest.mark.parametrize("match", ["exact", "subtree", "prefix"])
def test_no_rule_covers_what_is_no_path(match: str) -> None:
    assert not covers(Route(path="/", match=match), "")  # type: ignore[arg-type]


def test_what_no_rule_covers_does_not_exist() -> None:
    assert ROUTES.find("/livefeed") is None
    assert ROUTES.find("/") is None


HOSTNAME = "abcdefghijklmnopqrstuvwx23"
OTHER = "bcdefghijklmnopqrstuvwxy34"
FIRST = Route(path="/dpage", access=Access.LINK)
LAST = Route(path="/api/auth", access=Access.LINK, link_id="last")


@pytest.mark.parametrize(
    ("path", "is_named"),
    [
        (f"/dpage/{HOSTNAME}-1", True),
        (f"/dpage/{HOSTNAME}-1/more", True),
        (f"/dpage/{HOSTNAME}", False),
        (f"/dpage/{HOSTNAME}-", False),
        (f"/dpage/{HOSTNAME[:-1]}-1", False),
        (f"/dpage/x{HOSTNAME}-1", False),
        (f"/dpage/x/{HOSTNAME}-1", False),
        ("/dpage", False),
    ],
)
def test_a_hosted_link_names_the_home(path: str, is_named: bool) -> None:
    assert names_hostname(FIRST, path, HOSTNAME) is is_named


@pytest.mark.parametrize(
    ("path", "is_named"),
    [
        (f"/api/auth/v1/shop/{HOSTNAME}-1", True),
        (f"/api/auth/shop/{HOSTNAME}-1", True),
        (f"/api/auth/{HOSTNAME}-1", True),
        (f"/api/auth/{OTHER}-1/{HOSTNAME}-1", True),
        (f"/api/auth/{HOSTNAME}-1/{OTHER}-1", False),
        (f"/api/auth/{HOSTNAME}-1/shop", False),
        (f"/api/auth/shop/{HOSTNAME}-1/", False),
        (f"/api/auth/shop/{HOSTNAME}-1/shop", False),
        (f"/api/auth/shop/{HOSTNAME}", False),
        (f"/api/auth/shop/{HOSTNAME}-", False),
        (f"/api/auth/shop/x{HOSTNAME}-1", False),
        (f"/api/auth/shop/{OTHER}-{HOSTNAME}-1", False),
        (f"/api/auth-{HOSTNAME}-1", False),
        (f"/api/{HOSTNAME}-1", False),
        ("/api/auth/", False),
        ("/api/auth", False),
    ],
)
def test_a_hosted_link_whose_id_comes_last_names_the_home_there_alone(path: str, is_named: bool) -> None:
    assert names_hostname(LAST, path, HOSTNAME) is is_named


_segments = st.sampled_from(
    [
        *(f"{HOSTNAME}-1", f"{OTHER}-1", HOSTNAME, f"{HOSTNAME}-", f"{HOSTNAME}%2d1", f"%61{HOSTNAME[1:]}-1"),
        *(f"{OTHER}-1%2f{HOSTNAME}-1", f"{HOSTNAME}-1%252f{OTHER}-1", f"{HOSTNAME}-1;{OTHER}-1"),
        *(f"{HOSTNAME}-%2561", f"%2561{HOSTNAME[1:]}-1", f"{HOSTNAME}-1%00", f"{HOSTNAME}-1%23"),
        *(f"\\{HOSTNAME}-1", f"{HOSTNAME}-1?", f"{HOSTNAME}-{OTHER}-1"),
        *("", ".", "..", "%2e%2e", "%252e%252e", "x", "v1"),
    ]
)


@given(
    st.sampled_from([FIRST, LAST]),
    st.lists(_segments, min_size=1, max_size=4),
)
@example(LAST, [f"{OTHER}-1", f"{HOSTNAME}-1"])
@example(LAST, [f"{HOSTNAME}-1", f"{OTHER}-1"])
@example(FIRST, [f"{HOSTNAME}-1", f"{OTHER}-1"])
@pytest.mark.negative(63)
def test_n63_a_link_names_one_home_however_a_server_reads_it(route: Route, segments: list[str]) -> None:
    try:
        path = normalized("/".join((route.path, *segments)).encode())
    except AmbiguousPathError:
        return
    named = [name for name in (HOSTNAME, OTHER) if names_hostname(route, path, name)]
    assert len(named) <= 1
    for name in named:
        for how, read in READINGS.items():
            assert names_hostname(route, read(path.encode()), name), f"a server where {how}"
