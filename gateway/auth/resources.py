"""The resources that tokens are bound to: one for each MCP address that a person may paste, and our own API.

Decides which address a request or a client means, always in one spelling: without a trailing slash, on the
gateway's origin or one of the extra ones. Source: RFC 8707 section 2, RFC 9728 section 3.1.
"""

from typing import Final
from urllib.parse import urlsplit

from gateway.routes.path import AmbiguousPathError, normalized
from gateway.routes.table import Table
from gateway.routes.user_path import split_user_path
from gateway.sites import Site, Sites
from state.kinds.app import APP_PROVIDER

API_PATH: Final = "/-/api/v1"
METADATA_PATH: Final = "/.well-known/oauth-protected-resource"
SCOPE_MCP: Final = "mcp"
SCOPE_API: Final = "api"
SCOPES: Final = frozenset({SCOPE_MCP, SCOPE_API})


class Resources:
    """One a worker."""

    def __init__(self, table: Table, sites: Sites) -> None:
        self._table = table
        self._sites = sites
        self._origin = sites.gateway.origin

    def of_path(self, path: str, site: Site | None = None) -> str | None:
        """The resource of a normalized path, at the gateway's own origin or at the extra one."""
        origin = self._origin if site is None or not site.is_extra else site.origin
        if path == API_PATH or path.startswith(API_PATH + "/"):
            return origin + API_PATH if origin == self._origin else None
        prefix, rest = split_user_path(path)
        base = self._table.mcp_base(rest)
        return None if base is None else f"{origin}{prefix}{base}"

    @property
    def default(self) -> str | None:
        """What is meant where nothing is said: the plainest MCP address."""
        return self._plainest(self._sites.gateway)

    def canonical(self, asked: str | None) -> str | None:
        """The resource that a client means by ``asked``; None for another's, or none at all.

        Clients also send the bare origin, or an address with a slash at its end.
        """
        if asked is None:
            return self.default
        try:
            parts = urlsplit(asked)
        except ValueError:
            return None
        site = self._sites.resource_site(f"{parts.scheme}://{parts.netloc}".lower())
        if site is None or parts.query or parts.fragment:
            return None
        if parts.path in ("", "/"):
            return self._plainest(site)
        try:
            path = normalized(parts.path.removesuffix("/").encode())
        except (AmbiguousPathError, UnicodeEncodeError):
            return None
        found = self.of_path(path, site)
        return found if found == site.origin + path else None

    def lets_in(self, resource: str, user: str) -> bool:
        """Whether people of this user's provider may use the origin of ``resource``."""
        site = self._site(resource)
        return not site.providers or user.partition(":")[0] in (*site.providers, APP_PROVIDER)

    def providers_of(self, resource: str) -> tuple[str, ...]:
        """Whom people may sign in with to use ``resource``; none named: any."""
        return self._site(resource).providers

    def scope_of(self, resource: str) -> str:
        """What a token needs there."""
        return SCOPE_API if resource == self._origin + API_PATH else SCOPE_MCP

    def metadata_url(self, resource: str) -> str:
        """Where the metadata of one of our resources stands. Source: RFC 9728 section 3.1."""
        origin = self._site(resource).origin
        return f"{origin}{METADATA_PATH}{resource.removeprefix(origin)}"

    def challenge(self, resource: str, error: str = "", detail: str = "") -> bytes:
        """A WWW-Authenticate value; no error where no credentials were sent.

        Source: RFC 6750 section 3, RFC 9728 section 5.1. ``detail`` is our own text, without quotes.
        """
        parts = [f'resource_metadata="{self.metadata_url(resource)}"', f'scope="{self.scope_of(resource)}"']
        if error:
            parts.insert(0, f'error="{error}", error_description="{detail}"')
        return f"Bearer {', '.join(parts)}".encode("ascii", "replace")

    def _plainest(self, site: Site) -> str | None:
        paths = self._table.mcp_paths
        return site.origin + paths[0] if paths else None

    def _site(self, resource: str) -> Site:
        parts = urlsplit(resource)
        site = self._sites.resource_site(f"{parts.scheme}://{parts.netloc}")
        return site or self._sites.gateway
