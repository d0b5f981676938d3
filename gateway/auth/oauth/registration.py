"""The registration endpoint: a program that nobody knew becomes a client. Anybody may call it.

Decides how much of that is kept, and when no more is; what a client may say is
:mod:`gateway.auth.oauth.client_metadata`'s. Source: RFC 7591. Next: :mod:`gateway.auth.oauth.authorize`.
"""

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import orjson
from authlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.claims import BaseClaims  # type: ignore[import-untyped]
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint  # type: ignore[import-untyped]

from gateway.auth.oauth.answers import Answer, error_answer
from gateway.auth.oauth.authorize import SECRET_BYTES
from gateway.auth.oauth.client_metadata import (
    BODY_BYTES_MAX,
    INVALID_METADATA,
    SECRET_METHODS,
    MetadataError,
    registered,
)
from gateway.auth.oauth.core import Core, JsonBody
from gateway.auth.oauth.terms import digest
from state.store.auth import AuthDatabase, AuthTx
from state.store.auth_rows import Client

CLIENTS_COUNT_MAX: Final = 200_000
COUNTED_AFTER_S: Final = 60.0  # counting reads all of an index
FULL_RETRY_S: Final = 3600
# At the cap the oldest that nobody has granted anything yet make room; a person needs minutes to consent.
UNUSED_KEPT_S_MIN: Final = 900.0
ROOM_ROWS_MAX: Final = 1_000  # dropped at once: one transaction, which others wait for


class Registrations:
    """One a worker. Unused clients are dropped by the sweep, and here only to make room for new ones."""

    def __init__(self, auth: AuthDatabase, now: Callable[[], float]) -> None:
        self._auth = auth
        self._now = now
        self._count = 0
        self._counted_at = float("-inf")

    async def register(self, body: bytes, content_type: str) -> Answer:
        """May raise StoreError."""
        members = _members(body, content_type)
        if isinstance(members, Answer):
            return members
        if await self._is_full() and not await self._make_room():
            return error_answer(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "Too many programs are registered. Try again later.",
                ((b"retry-after", b"%d" % FULL_RETRY_S),),
            )
        answer = await self._auth.transact(lambda tx: _Registration(tx).answer(members))
        self._count += answer.status == HTTPStatus.CREATED
        return answer

    async def _is_full(self) -> bool:
        """By a count that is a little old: several workers go over the limit by what they take meanwhile."""
        if not 0 <= self._now() - self._counted_at < COUNTED_AFTER_S:
            self._count = await self._auth.read(lambda tx: tx.clients.count())
            self._counted_at = self._now()
        return self._count >= CLIENTS_COUNT_MAX

    async def _make_room(self) -> bool:
        """A flood of registrations drives out its own: whoever registers in earnest is used soon after."""
        dropped = await self._auth.transact(
            lambda tx: tx.clients.drop_never_used(tx.now - UNUSED_KEPT_S_MIN, ROOM_ROWS_MAX)
        )
        self._count -= dropped
        return dropped > 0


def _members(body: bytes, content_type: str) -> dict[str, Any] | Answer:
    if len(body) > BODY_BYTES_MAX:
        description = f"A registration has {BODY_BYTES_MAX} bytes at most."
        return error_answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, INVALID_METADATA, description)
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        members = None
    is_json = content_type.partition(";")[0].strip().lower() == "application/json"
    if not is_json or not isinstance(members, dict):
        description = "A registration is a JSON object, sent as application/json."
        return error_answer(HTTPStatus.BAD_REQUEST, INVALID_METADATA, description)
    return members


class _Registration(Core):
    """Authlib's server for one registration."""

    def __init__(self, tx: AuthTx) -> None:
        super().__init__(lambda _client_id: None)
        self.tx = tx
        self.register_endpoint(_Endpoint)

    def answer(self, members: dict[str, Any]) -> Answer:
        # Authlib takes an object without members for none at all.
        request = JsonBody(members or {"redirect_uris": []})
        answer: Answer = self.create_endpoint_response(_Endpoint.ENDPOINT_NAME, request)
        return answer


class _MetadataRefusedError(OAuth2Error):  # type: ignore[misc]
    """``error`` is one of RFC 7591 section 3.2.2."""


class _Claims(BaseClaims):  # type: ignore[misc]
    """What a client said, as Authlib validates it: it becomes what is taken of it."""

    REGISTERED_CLAIMS: Final = [
        "client_name",
        "redirect_uris",
        "token_endpoint_auth_method",
        "grant_types",
        "response_types",
    ]

    def validate(self, now: object = None, leeway: int = 0) -> None:
        del now, leeway
        try:
            taken = registered(self).members()
        except MetadataError as error:
            raise _MetadataRefusedError(error.description, error=error.error) from None
        self.clear()
        self.update(taken)


class _Endpoint(ClientRegistrationEndpoint):  # type: ignore[misc]
    def __init__(self, server: _Registration | None = None) -> None:
        super().__init__(server, claims_classes=[_Claims])

    def authenticate_token(self, request: JsonBody) -> object:
        """Open to all: whoever registers has no more than a name."""
        return request

    def get_server_metadata(self) -> dict[str, Any]:
        return {}

    def extract_client_metadata(self, request: JsonBody) -> dict[str, Any]:
        taken: dict[str, Any] = super().extract_client_metadata(request)
        request.taken = taken
        return taken

    def generate_client_info(self, request: JsonBody) -> dict[str, Any]:
        """Authlib's own gives everybody a secret."""
        tx: AuthTx = self.server.tx
        given: dict[str, Any] = {"client_id": secrets.token_urlsafe(24), "client_id_issued_at": int(tx.now)}
        if request.taken["token_endpoint_auth_method"] not in SECRET_METHODS:
            return given
        return {**given, "client_secret": secrets.token_urlsafe(SECRET_BYTES), "client_secret_expires_at": 0}

    def save_client(
        self, client_info: dict[str, Any], client_metadata: dict[str, Any], request: JsonBody
    ) -> None:
        del request
        tx: AuthTx = self.server.tx
        secret = client_info.get("client_secret")
        row = Client(
            client_id=client_info["client_id"],
            document=orjson.dumps(client_metadata).decode(),
            secret_sha256=digest(secret) if secret else "",
            created_at=tx.now,
            used_at=tx.now,
        )
        tx.clients.add(row)
