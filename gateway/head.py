"""What the gateway reads of a request's headers, in one pass over them.

Decides nothing but which header stands twice: two values of one that says who somebody is are no value.
Next: :mod:`gateway.front`.
"""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

Header = tuple[bytes, bytes]

COOKIES_MAX = 64  # of one name; how many others stand around them, the size of a head bounds
_READ = frozenset(
    {
        b"host",
        b"origin",
        b"authorization",
        b"x-app-user",
        b"cookie",
        b"accept",
        b"content-type",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-purpose",
        b"mcp-session-id",
        b"mcp-method",
    }
)


class Head(NamedTuple):
    """The headers that decide something. ``doubled`` names those that stood more than once."""

    values: dict[bytes, bytes]
    doubled: frozenset[bytes]

    def get(self, name: bytes) -> bytes | None:
        return self.values.get(name)

    @property
    def is_navigation(self) -> bool:
        """Whether a browser asked for a page to show, so that words may be HTML.

        Source: Fetch Metadata section 2.2; browsers without it say it by what they accept.
        """
        mode = self.values.get(b"sec-fetch-mode")
        return mode in (None, b"navigate") and b"text/html" in self.values.get(b"accept", b"")

    @property
    def accepts_events(self) -> bool:
        return b"text/event-stream" in self.values.get(b"accept", b"")


_NONE_DOUBLED: frozenset[bytes] = frozenset()


def read_head(headers: Iterable[Header]) -> Head:
    """One pass. Of a doubled header the first value is kept; cookies are joined."""
    values: dict[bytes, bytes] = {}
    doubled: set[bytes] | None = None
    for name, value in headers:
        if name not in _READ:
            continue
        if name not in values:
            values[name] = value
        elif name == b"cookie":
            values[name] += b"; " + value
        else:
            doubled = doubled or set()
            doubled.add(name)
    return Head(values, frozenset(doubled) if doubled else _NONE_DOUBLED)


def cookies(head: Head, name: bytes) -> list[str]:
    """Every value of the cookie ``name``: a neighbour's page may have set a second one beside ours."""
    begin = name + b"="
    crumbs = (crumb.strip(b" \t") for crumb in head.values.get(b"cookie", b"").split(b";"))
    found = (crumb.removeprefix(begin).decode("latin-1") for crumb in crumbs if crumb.startswith(begin))
    return list(islice(found, COOKIES_MAX))
