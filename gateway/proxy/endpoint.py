"""What the router decided: where a request goes and what its upstream head says.

Knows nothing of sockets. `headers.py` turns an `UpstreamHead` into bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

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
    lower-case; a client's header of the same name is dropped.
    """

    target: bytes
    host: bytes
    headers: tuple[Header, ...] = ()
    names: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        assert self.target.startswith(b"/") and _VISIBLE.fullmatch(self.target), "unsafe request target"
        assert _VISIBLE.fullmatch(self.host), "unsafe host"
        for name, value in self.headers:
            assert _TOKEN.fullmatch(name) and _VALUE.fullmatch(value), "unsafe header"
        object.__setattr__(self, "names", frozenset(name for name, _ in self.headers))


def forwarded_headers(*, client: str, scheme: str, host: bytes) -> Iterable[Header]:
    """The regenerated forwarding headers; `host` is the public name that the client asked for."""
    yield b"x-forwarded-for", client.encode("ascii", "replace")
    yield b"x-forwarded-proto", scheme.encode("ascii")
    yield b"x-forwarded-host", host
