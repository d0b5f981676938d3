"""The authorization endpoint: what a client asks a person for, and how it is told what they said.

Decides which requests may be put before a person, which are refused to the client (at its own address, with
``iss``) and which only to the person, because nobody knows whose address that is. Nobody leaves this computer
for an address that anybody may have registered before they have seen which one it is. Refuses to know who the
person is and what the page looks like.
Source: RFC 6749 section 4.1, RFC 9207, RFC 8707 section 2, RFC 9700 section 4.11.2.
Next: :mod:`gateway.auth.oauth.exchange`.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

from authlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749 import (  # type: ignore[import-untyped]
    AccessDeniedError,
    InvalidRequestError,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant  # type: ignore[import-untyped]

from gateway.auth.oauth.answers import Answer, redirect
from gateway.auth.oauth.clients import OAuthClient, consented, is_document, of_document, of_row
from gateway.auth.oauth.core import S256, Challenge, Core, FormRequest, Pairs, Parameters
from gateway.auth.oauth.port import ClientDocuments, DocumentError
from gateway.auth.oauth.redirects import Redirect, read_redirect
from gateway.auth.oauth.terms import CODE_S, Terms, digest
from state.store.auth import AuthDatabase, AuthTx
from state.store.auth_rows import Code, Grant

SECRET_BYTES: Final = 32
STATE_CHARS_MAX: Final = 2048  # the one text that is kept, and sent on, as the program wrote it
# Source: RFC 6749 appendix A.5 (VSCHAR).
_STATE: Final = re.compile(r"[\x20-\x7e]*")
# Doubled, these leave open who asks, or whom an answer would go to.
_WHO: Final = ("client_id", "redirect_uri", "state")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a person is asked to allow. All of it was checked; whoever keeps it keeps it from changing."""

    client_id: str
    client_name: str  # as the client calls itself: anybody may say that
    redirect_uri: str
    redirect_host: str  # to show; where the answer goes, which nobody else can claim
    scopes: tuple[str, ...]
    resource: str
    challenge: str
    state: str = ""

    @property
    def own_scheme(self) -> str:
        """The scheme that a program of the person's device opens; empty for an address on the web."""
        scheme = self.redirect_uri.partition(":")[0].lower()
        return "" if scheme in ("http", "https") else scheme

    @property
    def is_loopback(self) -> bool:
        """Whether any program on the person's computer could be the one that hears the answer."""
        return self.redirect_uri.lower().startswith("http:")

    @property
    def publisher(self) -> str:
        """The host that the program's document stands on; empty for one that registered itself."""
        return urlsplit(self.client_id).netloc if is_document(self.client_id) else ""

    def payload(self) -> dict[str, str]:
        """As a ticket may hold it."""
        return {**asdict(self), "scopes": " ".join(self.scopes)}

    @classmethod
    def of_payload(cls, payload: Mapping[str, str]) -> Self:
        parts: dict[str, Any] = {name: payload[name] for name in cls.__slots__}
        return cls(**{**parts, "scopes": tuple(payload["scopes"].split())})


@dataclass(frozen=True, slots=True)
class Refusal:
    """For the person alone: nobody is redirected. ``why`` says what was wrong and what to do next."""

    why: str
    status: int = 400


@dataclass(frozen=True, slots=True)
class Detour:
    """For the client, by way of the person: anybody may register an address, and ask amiss to have people
    sent there by us. ``answer`` goes on once they have chosen so.
    Source: RFC 9700 section 4.11.2.
    """

    answer: Answer
    redirect_host: str
    why: str  # as the client is told it


Checked: TypeAlias = AuthorizationRequest | Refusal | Detour | Answer


class InvalidTargetError(OAuth2Error):  # type: ignore[misc]
    """Source: RFC 8707 section 2."""

    error = "invalid_target"
    description = "The resource is not one of this gateway, or more than one was asked for."


class _UnsupportedResponseTypeError(OAuth2Error):  # type: ignore[misc]
    """Authlib's own puts what was asked into its text, which then may not hold it."""

    error = "unsupported_response_type"
    description = "response_type has to be code"


class Authorizations:
    """One a worker. All that awaits may raise StoreError."""

    def __init__(self, auth: AuthDatabase, terms: Terms, documents: ClientDocuments | None) -> None:
        self._auth = auth
        self._terms = terms
        self._documents = documents

    async def check(self, pairs: Pairs) -> Checked:
        """What is asked; or why not, for the person (Refusal), the client (Answer) or both (Detour)."""
        asked = Parameters(pairs)
        if asked.are_too_many or asked.doubled() in _WHO:
            return Refusal("The program's request is malformed. Start again from the program.")
        if not _is_state(asked.state or ""):
            return Refusal("The program's request has a state that cannot be sent back to it.")
        client_id = asked.client_id
        if not client_id:
            return Refusal("The program did not say which one it is. Start again from the program.")
        try:
            client = await self._client(client_id)
        except DocumentError as error:
            return Refusal(error.reason)
        if client is None:
            return Refusal(
                "This program is not registered here (any more). Remove the connection in the program and "
                "add it again."
            )
        redirect_uri = client.redirect_for(asked.redirect_uri)
        if redirect_uri is None:
            return Refusal(
                "The program wants you to be sent to an address that it did not register. Do not go on if "
                "you did not start this yourself; else remove the connection in the program and add it again."
            )
        try:
            return self._request(asked, client, redirect_uri)
        except OAuth2Error as error:
            refused = self._refused(error, redirect_uri, asked.state or "")
            target = _registered(redirect_uri)
            if target.is_loopback:  # no site of anybody's
                return refused
            return Detour(refused, target.shown, error.get_error_description())

    async def grant(self, request: AuthorizationRequest, user: str, name: str = "") -> Answer | Refusal:
        """``user`` allowed it: the client is sent a code. ``name``: what the grant is called from now on."""
        return await self._auth.transact(
            lambda tx: self._granted(tx, request, user, name or request.client_name)
        )

    def denied(self, request: AuthorizationRequest) -> Answer:
        """The person did not allow it."""
        return self._refused(AccessDeniedError(), request.redirect_uri, request.state)

    async def _client(self, client_id: str) -> OAuthClient | None:
        if is_document(client_id):
            if self._documents is None:
                return None
            return of_document(client_id, await self._documents.fetch(client_id))
        row = await self._auth.read(lambda tx: tx.clients.get(client_id))
        return None if row is None else of_row(row)

    def _request(self, asked: Parameters, client: OAuthClient, redirect_uri: str) -> AuthorizationRequest:
        """Raises OAuth2Error."""
        _refuse_what_is_not_served(asked)
        request = FormRequest(asked)
        _Consent(client, None, self._terms).get_consent_grant(request)
        resource = self._resource(asked)
        target = _registered(redirect_uri)
        return AuthorizationRequest(
            client_id=client.client_id,
            client_name=client.name or target.shown,
            redirect_uri=redirect_uri,
            redirect_host=target.shown,
            scopes=tuple((request.scope or self._terms.scope_of(resource)).split()),
            resource=resource,
            challenge=asked.data["code_challenge"],
            state=asked.state or "",
        )

    def _resource(self, asked: Parameters) -> str:
        given: list[str | None] = [*asked.resources]
        meant = {self._terms.canonical_resource(one) for one in given or [None]}
        resource = meant.pop()
        if resource is None or meant:
            raise InvalidTargetError
        return resource

    def _granted(self, tx: AuthTx, request: AuthorizationRequest, user: str, name: str) -> Answer | Refusal:
        client = client_in(tx, request.client_id, request.redirect_uri)
        if client is None:
            return Refusal("This program's registration is over. Start again from the program.")
        core = _Consent(client, tx, self._terms)
        asked = FormRequest(Parameters(_as_pairs(request)))
        grant = core.get_consent_grant(asked, user)
        grant.agreed = (request, name)
        answer: Answer = core.create_authorization_response(asked, user, grant)
        return answer

    def _refused(self, error: OAuth2Error, redirect_uri: str, state: str) -> Answer:
        described = [("error", error.error), ("error_description", error.get_error_description())]
        return redirect(redirect_uri, [*described, *_state_and_issuer(state, self._terms.issuer)])


def _registered(redirect_uri: str) -> Redirect:
    """The address, which matched one of the client's."""
    target = read_redirect(redirect_uri)
    assert isinstance(target, Redirect), "it matched a registered one"
    return target


def _is_state(state: str) -> bool:
    return len(state) <= STATE_CHARS_MAX and _STATE.fullmatch(state) is not None


def client_in(tx: AuthTx, client_id: str, redirect_uri: str = "") -> OAuthClient | None:
    """The client, within a transaction. One by document was found good before anything was issued to it."""
    if is_document(client_id):
        return consented(client_id, redirect_uri)
    row = tx.clients.get(client_id)
    return None if row is None else of_row(row)


def _refuse_what_is_not_served(asked: Parameters) -> None:
    """What Authlib would pass over, or answer in words that may not be sent."""
    doubled = asked.doubled()
    if doubled is not None:
        raise InvalidRequestError("A parameter stands twice.")
    if not asked.response_type:
        raise InvalidRequestError("response_type is missing")
    if asked.response_type != "code":
        raise _UnsupportedResponseTypeError
    if asked.data.get("response_mode", "query") != "query":
        raise InvalidRequestError("response_mode has to be query")


class _Consent(Core):
    """Authlib's server for one request for consent; ``tx`` once there is something to write."""

    def __init__(self, client: OAuthClient, tx: AuthTx | None, terms: Terms) -> None:
        super().__init__(lambda client_id: client if client_id == client.client_id else None)
        self.tx = tx
        self.terms = terms
        self.register_grant(_ConsentGrant, [Challenge(required=True)])


class _ConsentGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    agreed: tuple[AuthorizationRequest, str]

    def create_authorization_response(
        self, redirect_uri: str, grant_user: str
    ) -> tuple[int, bytes, list[tuple[str, str]]]:
        """Authlib's own writes the query of the client's address anew, and says no issuer."""
        request, _ = self.agreed
        code = self.generate_authorization_code()
        self.request.user = grant_user
        self.save_authorization_code(code, self.request)
        answered = _state_and_issuer(request.state, self.server.terms.issuer)
        answer = redirect(redirect_uri, [("code", code), *answered])
        return answer.status, b"", [(name.decode(), value.decode()) for name, value in answer.headers]

    def generate_authorization_code(self) -> str:
        return secrets.token_urlsafe(SECRET_BYTES)

    def save_authorization_code(self, code: str, request: FormRequest) -> None:
        """With the grant, which ends with the code unless that is redeemed."""
        tx: AuthTx = self.server.tx
        asked, name = self.agreed
        ends_at = tx.now + CODE_S
        grant = Grant(
            grant_id=secrets.token_urlsafe(16),
            user=request.user,
            client_id=asked.client_id,
            name=name,
            scope=" ".join(asked.scopes),
            resource=asked.resource,
            created_at=tx.now,
            used_at=tx.now,
            expires_at=ends_at,
        )
        tx.grants.add(grant)
        tx.codes.add(Code(digest(code), grant.grant_id, asked.redirect_uri, asked.challenge, ends_at))
        tx.clients.touch(asked.client_id, tx.now)


def _as_pairs(request: AuthorizationRequest) -> list[tuple[str, str]]:
    return [
        ("response_type", "code"),
        ("client_id", request.client_id),
        ("redirect_uri", request.redirect_uri),
        ("scope", " ".join(request.scopes)),
        ("code_challenge", request.challenge),
        ("code_challenge_method", S256),
    ]


def _state_and_issuer(state: str, issuer: str) -> list[tuple[str, str]]:
    """Source: RFC 9207 section 2: on success and on error."""
    return [*([("state", state)] if state else []), ("iss", issuer)]
