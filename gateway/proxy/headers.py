"""Which headers cross the proxy, in either direction.

Pure. Upstream a client's word about who it is, where it came from and how the message is framed counts for
nothing; downstream an upstream's word about framing and gateway cookies counts for nothing.
`forward.py` and `websocket.py` send what this module returns.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.proxy.endpoint import Header

# Source: RFC 9110 section 7.6.1, RFC 9112 section 7.4; Keep-Alive and Proxy-Connection by custom.
# `expect` is answered by the gateway itself, once the request has found its container.
_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_REQUEST_DROPPED = _HOP | {
    b"authorization",
    b"content-length",  # stated anew by `request.py`
    b"cf-connecting-ip",
    b"cookie",  # added back without the gateway's own
    b"expect",
    b"forwarded",
    b"host",  # the router's
    b"http2-settings",
    b"proxy",  # CGI programs read it as HTTP_PROXY
    b"true-client-ip",
    b"x-app-user",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-real-ip",
    b"x-remote-user",
    b"x-rewrite-url",
}
# What proxies with a sign-in of their own say of who asks; behind us a client could only be making it up.
_IDENTITY_PREFIXES = (
    b"x-forwarded",
    b"x-auth-",
    b"x-original-",
    b"x-webauth-",
    b"x-goog-authenticated-",
    b"x-amzn-oidc-",
    b"x-ms-client-principal",
    b"cf-access-",
    b"remote-",
    b"tailscale-",
)
# What a container may not tell the proxy in front of us, or a browser about its siblings' cookies.
_STEERING = frozenset({b"x-accel-redirect", b"x-sendfile", b"clear-site-data"})
# What a browser keeps for a whole origin, or its subdomains, and obeys at answers that are not this
# container's: where to report every request, where to connect to instead, and what may never be plain again.
# Source: Reporting API, Network Error Logging, RFC 7838 (Alt-Svc), RFC 6797 (HSTS), RFC 7469 (pins).
_LASTING = frozenset(
    {
        b"alt-svc",
        b"nel",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"report-to",
        b"reporting-endpoints",
        b"strict-transport-security",
    }
)
_ANSWER_DROPPED = _STEERING | _LASTING
_GATEWAY_COOKIES = (b"__host-mcpgw", b"__secure-mcpgw", b"mcpgw")
# Never removed because a Connection header names them: they frame or address the message.
_NEVER_BY_CONNECTION = frozenset({b"content-length", b"transfer-encoding", b"host", b"content-type"})


def request_headers(headers: Iterable[Header], own: frozenset[bytes]) -> list[Header]:
    """What of a client's headers goes upstream; `own` are the names that the gateway itself sends."""
    kept: list[Header] = []
    cookies: list[bytes] = []
    named: frozenset[bytes] = frozenset()
    for header in headers:
        name = header[0]
        if name in _REQUEST_DROPPED or name.startswith(_IDENTITY_PREFIXES) or name in own:
            if name == b"cookie":
                cookies.append(header[1])
            elif name == b"connection":
                named |= connection_options(header[1])
        elif b"_" not in name or not _is_dropped_spelling(name, own):
            kept.append(header)
    if named:
        kept = [header for header in kept if header[0] not in named]
    if cookies and (crumbs := foreign_cookies(cookies)):
        kept.append((b"cookie", crumbs))
    return kept


def _is_dropped_spelling(name: bytes, own: frozenset[bytes]) -> bool:
    """`X_App_User` is `X-App-User` to every CGI-like server, so it is dropped alike."""
    plain = name.replace(b"_", b"-")
    return plain in _REQUEST_DROPPED or plain.startswith(_IDENTITY_PREFIXES) or plain in own


def connection_options(value: bytes) -> frozenset[bytes]:
    """The header names that a Connection header declares hop-by-hop, framing excepted.

    Source: RFC 9110 section 7.6.1. To honour `Connection: content-length` would turn the body into a second
    request upstream.
    """
    options = frozenset(option.strip(b" \t").lower() for option in value.split(b","))
    return options - _NEVER_BY_CONNECTION - {b"close", b"keep-alive"}


def foreign_cookies(values: Iterable[bytes]) -> bytes:
    """The Cookie header without the gateway's own; empty when nothing is left."""
    crumbs = (crumb.strip(b" \t") for value in values for crumb in value.split(b";"))
    return b"; ".join(crumb for crumb in crumbs if crumb and not is_gateway_cookie(crumb))


def is_gateway_cookie(crumb: bytes) -> bool:
    """A leading `=` is ignored: the nameless cookie `=mcpgw=x` comes back from a browser as `mcpgw=x`."""
    return crumb.lstrip(b" \t=").lower().startswith(_GATEWAY_COOKIES)


def host_cookie(value: bytes) -> bytes:
    """A Set-Cookie value without its Domain: a container's cookies are for its own host alone.

    With one it could set cookies for its siblings, and for the gateway where that is a parent of its host.
    Source: RFC 6265 section 5.2 (attribute names have no case; spaces around them do not count).
    """
    if b"domain" not in value.lower():
        return value
    pair, *attributes = value.split(b";")
    kept = (each for each in attributes if each.partition(b"=")[0].strip().lower() != b"domain")
    return b";".join((pair, *kept))


def answer_headers(status: int, headers: Iterable[Header]) -> tuple[list[Header], bool]:
    """What of an upstream answer's headers the client gets, and whether it is an event stream."""
    named: frozenset[bytes] = frozenset()
    kept: list[Header] = []
    events = accelerated = False
    for name, value in headers:
        if name in _HOP:
            if name == b"connection":
                named |= connection_options(value)
            continue
        if name in _ANSWER_DROPPED:
            continue
        if name == b"set-cookie":
            if is_gateway_cookie(value):
                continue
            kept.append((name, host_cookie(value)))
            continue
        if name == b"content-type":
            events = value[:17].lower() == b"text/event-stream"
        elif name == b"x-accel-buffering":
            accelerated = True
        kept.append((name, value))
    if events and not accelerated:
        kept.append((b"x-accel-buffering", b"no"))  # a buffering proxy in front of us would hold events back
    if named:
        kept = [header for header in kept if header[0] not in named]
    if status == 204:  # Source: RFC 9110 section 8.6: a 204 has no Content-Length.
        kept = [header for header in kept if header[0] != b"content-length"]
    return kept, events
