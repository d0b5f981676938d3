"""What the router decided: where a request goes and what its upstream head says.

Knows nothing of sockets. `headers.py` turns an `UpstreamHead` into bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

Header = tuple[bytes, bytes]

# A request target or a Host: visible ASCII only, so that no decision can break the request line.
_VISIBLE = re.compile(rb"[\x21-\x7e]+")
# Source: RFC 9110 section 5.1 (token) and 5.5 (field values).
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[\x20-\x7e\x80-\xff\t]*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One incarnation's address. Pools are per incarnation: a new container never inherits a connection."""

    host: str
    port: int
    incarnation: str


@dataclass(frozen=True, slots=True)
class UpstreamHead:
    """The head of the upstream request, as far as the router decides it.

    `target` is the raw origin-form path with its query. `headers` are ours (`X-Forwarded-*`, an assertion),
    lower-case; a client's header of the same name is dropped, as is one that is `withheld`.
    """

    target: bytes
    host: bytes
    headers: tuple[Header, ...] = ()
    withheld: frozenset[bytes] = frozenset()
    own: OwnHeaders = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.target.startswith(b"/") or not _VISIBLE.fullmatch(self.target):
            raise ValueError("unsafe request target")
        object.__setattr__(self, "own", own_headers(self.host, self.headers, self.withheld))


@dataclass(frozen=True, slots=True)
class OwnHeaders:
    """The gateway's own headers, with Host, as bytes; and the names that no client's header may have."""

    names: frozenset[bytes]
    lines: bytes


@lru_cache(maxsize=4096)
def own_headers(host: bytes, headers: tuple[Header, ...], withheld: frozenset[bytes]) -> OwnHeaders:
    """Checked and encoded once for all of a user's requests. Raises ValueError."""
    if not _VISIBLE.fullmatch(host):
        raise ValueError("unsafe host")
    if not all(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value) for name, value in headers):
        raise ValueError("unsafe header")
    lines = b"".join(b"%b: %b\r\n" % header for header in ((b"host", host), *headers))
    return OwnHeaders(withheld.union(name for name, _ in headers), lines)


def forwarded_headers(*, client: str, scheme: str, host: bytes) -> Iterable[Header]:
    """The regenerated forwarding headers; `host` is the public name that the client asked for."""
    yield b"x-forwarded-for", client.encode("ascii", "replace")
    yield b"x-forwarded-proto", scheme.encode("ascii")
    yield b"x-forwarded-host", host
