"""Whether a page may make this request: the Origin check. Pure.

A browser says where a request comes from; what is not a browser says nothing and carries its own proof.
Source: MCP 2025-11-25, Streamable HTTP, security: a bad Origin must be answered 403. Elsewhere it guards
whatever changes something and every WebSocket, since cookies go along with both; and of a Home's pages, what
is not a navigation of the whole window, since sibling Homes are one site to cookies.
Next: :mod:`gateway.front`.
"""

from gateway.head import Head
from gateway.problems import Problem, forbidden
from gateway.sites import Site

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN = frozenset(
    {b"cross-site", b"same-site"}
)  # Homes are siblings of each other, so "same-site" is foreign


def refuse_foreign_origin(
    head: Head, site: Site, *, guarded: bool, listed: frozenset[str] = frozenset()
) -> None:
    """Raises Problem (403) where ``guarded`` and the request comes from a page of another origin.

    ``listed``: other origins whose pages may ask all the same, without cookies.
    """
    if not guarded:
        return
    origin = head.values.get(b"origin")
    if origin is None:
        if head.values.get(b"sec-fetch-site") in _FOREIGN:
            raise _foreign()
    elif b"origin" in head.doubled or origin.decode("latin-1") not in (site.origin, *listed):
        raise _foreign()


def refuse_embedding(head: Head) -> None:
    """Raises Problem (403) where another origin's page would load, frame or read what a session lets in.

    It may link here: a navigation of the whole window shows the page to its owner, and to nobody else.
    """
    if head.values.get(b"sec-fetch-site") not in _FOREIGN:
        return
    if (head.values.get(b"sec-fetch-mode"), head.values.get(b"sec-fetch-dest")) != (b"navigate", b"document"):
        raise _foreign()


def _foreign() -> Problem:
    return forbidden("The request comes from a page of another origin.", "BadOrigin")
