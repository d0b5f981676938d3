"""What a container is told of who asks: target, host, and the forwarding headers, made anew.

Whatever the client sent of these is dropped by :mod:`gateway.proxy.headers`. The same head serves every
request that differs in nothing of it, so the common call costs one lookup.
"""

import re

from gateway.problems import bad_request
from gateway.proxy import UpstreamHead, forwarded_headers
from gateway.proxy.client import Scope
from gateway.sites import Site

HEADS_CACHED_MAX = 2048
TARGET_CACHED_CHARS_MAX = 512
# Source: RFC 3986 section 3.4, and what browsers leave unescaped in a query.
_QUERY = re.compile(rb"[\x21-\x7e]*")


class UpstreamHeads:
    """Builds and keeps heads; one a worker."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._cached: dict[tuple[str, bytes, str, bytes, frozenset[bytes]], UpstreamHead] = {}

    def head(
        self, scope: Scope, path: str, site: Site, withheld: frozenset[bytes] = frozenset()
    ) -> UpstreamHead:
        """The head of the upstream request, which no client's header that is ``withheld`` is added to.

        Raises Problem (400) for a query that is none.
        """
        client = scope["client"][0] if scope.get("client") else "unknown"
        key = (path, scope["query_string"], client, site.host, withheld)
        try:
            return self._cached[key]
        except KeyError:
            built = self._build(path, scope["query_string"], client, site, withheld)
            if len(self._cached) >= HEADS_CACHED_MAX:
                self._cached.clear()
            if len(path) + len(key[1]) <= TARGET_CACHED_CHARS_MAX:
                self._cached[key] = built
            return built

    def _build(
        self, path: str, query: bytes, client: str, site: Site, withheld: frozenset[bytes]
    ) -> UpstreamHead:
        if not _QUERY.fullmatch(query):
            raise bad_request("The query holds a character that must be percent-encoded.", "MalformedQuery")
        target = path.encode("ascii") + (b"?" + query if query else b"")
        forwarded = tuple(forwarded_headers(client=client, scheme=self._scheme, host=site.host))
        return UpstreamHead(target=target, host=site.host, headers=forwarded, withheld=withheld)
