"""Which rule of a template covers a path, and whom that rule lets in. Pure.

Paths come from :func:`gateway.routes.path.normalized`, so equal text is equal meaning. The longest rule wins;
among equals ``exact`` before ``subtree`` before ``prefix``. What no rule covers does not exist (404).
Next: :mod:`gateway.routes.table`, which keeps the compiled rules of every template.
"""

import hmac
from collections.abc import Iterable

from state.kinds.template import Access, Route

_RANK = {"exact": 0, "subtree": 1, "prefix": 2}
CACHED_PATHS_MAX = 1024
CACHED_PATH_CHARS_MAX = 256


def covers(route: Route, path: str) -> bool:
    """Whether ``path`` is the route's own, below it (``subtree``), or also beside it (``prefix``).

    ``prefix`` ends at a word: ``/mcp`` covers ``/mcp``, ``/mcp/x`` and ``/mcp-maps``, but not ``/mcpx``.
    Nothing covers what is no path: what ``/u/<user>`` leaves.
    """
    if not path:
        return False
    if path == route.path:
        return True
    if route.match == "exact":
        return False
    base = route.path.rstrip("/")
    if path == base or path.startswith(base + "/"):
        return True
    return route.match == "prefix" and path.startswith(base + "-")


def base_path(route: Route, path: str) -> str:
    """The server of a ``prefix`` route that ``path`` belongs to: ``/mcp-maps`` of ``/mcp-maps/x``."""
    base = route.path.rstrip("/")
    beside = path[len(base) :].partition("/")[0]  # empty, or "-maps"
    return (base + beside) or "/"


class RouteSet:
    """A template's rules, ordered so that the first that covers is the one that counts."""

    __slots__ = ("_cached", "_ordered", "mcp_paths")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._ordered = sorted(routes, key=lambda route: (-len(route.path.rstrip("/")), _RANK[route.match]))
        self._cached: dict[str, Route | None] = {}
        self.mcp_paths = tuple(sorted(route.path for route in self._ordered if route.protocol == "mcp"))

    def find(self, path: str) -> Route | None:
        """The rule for ``path``, or None: no such page."""
        try:
            return self._cached[path]
        except KeyError:
            found = next((route for route in self._ordered if covers(route, path)), None)
            if len(self._cached) >= CACHED_PATHS_MAX:
                self._cached.clear()
            if len(path) <= CACHED_PATH_CHARS_MAX:
                self._cached[path] = found
            return found

    @property
    def pages(self) -> tuple[Route, ...]:
        """What an owner may open in a browser, in the order of the paths."""
        pages = [r for r in self._ordered if r.protocol == "http" and r.access is Access.OWNER]
        return tuple(sorted(pages, key=lambda route: route.path))


def names_hostname(route: Route, path: str, hostname: str) -> bool:
    """Whether ``path`` is a hosted link of this Home.

    One segment is asked, whatever the others say, so that no link names two Homes: with ``first`` the one
    right below the route, ``<route>/<hostname>-<id>/…``, with ``last`` the one that ends the path,
    ``<route>/…/<hostname>-<id>``. A path with a slash at its end ends with no id.
    """
    base = route.path.rstrip("/")
    if not path.startswith(base + "/"):
        return False
    below = path[len(base) + 1 :].split("/")
    segment = below[-1] if route.link_id == "last" else below[0]
    named, dash, link_id = segment.partition("-")
    return bool(dash and link_id) and hmac.compare_digest(named.encode(), hostname.encode())
