"""What the authorization server asks of whoever fetches client documents.

A client id that is an https URL names a document the client publishes (CIMD); fetching it means reaching the
network, which the authorization server refuses to know how to do. It asks this port, and hears either the
document or why there is none. The reason is shown to the person who signs in, so it names no inner address.

Source: draft-ietf-oauth-client-id-metadata-document, sections 3 and 4.

Next: :mod:`gateway.auth.oauth.clients`, which reads a document as a client.
"""

from collections.abc import Mapping
from typing import Any, Protocol


class DocumentError(Exception):
    """There is no client document to go by; ``reason`` says why, in whole sentences fit for a page."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClientDocuments(Protocol):
    """Fetches the document a client id names, within its own bounds of time and size."""

    async def fetch(self, url: str) -> Mapping[str, Any]: ...
