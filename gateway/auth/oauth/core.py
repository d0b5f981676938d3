"""Where Authlib is spoken to: requests as it reads them, its server for one request, PKCE as we ask for it.

Decides how a client says who it is and how an Authlib answer becomes ours; the rest is Authlib's. One Core
lives for one request, inside one transaction, so that nothing of a request is kept anywhere else.
Next: :mod:`gateway.auth.oauth.authorize`, :mod:`gateway.auth.oauth.exchange`.
"""

import base64
import binascii
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

import orjson
from authlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749 import (  # type: ignore[import-untyped]
    AuthorizationServer,
    InvalidClientError,
    InvalidRequestError,
    JsonPayload,
    JsonRequest,
    OAuth2Payload,
    OAuth2Request,
)
from authlib.oauth2.rfc7636 import CodeChallenge  # type: ignore[import-untyped]

from gateway.auth.oauth.answers import Answer
from gateway.auth.oauth.client_metadata import NONE
from gateway.auth.oauth.clients import CLIENT_ID_CHARS_MAX, OAuthClient

Pairs = Iterable[tuple[str, str]]

PARAMETER_CHARS_MAX: Final = 8192
PARAMETERS_COUNT_MAX: Final = 64
TOLERATED_SCOPE: Final = "offline_access"  # clients of OIDC providers ask for it; refresh tokens come anyhow
S256: Final = "S256"

# Authlib asks for the request's URI and refuses one that is no https; it is used for nothing else. Ours are
# built from the issuer, whatever address a request came by.
_URI: Final = "https://localhost/"
_BASIC = re.compile(r"basic +([A-Za-z0-9+/]{1,8192}=*)", re.IGNORECASE)
# Source: RFC 7636 section 4.2: the SHA-256 of a verifier, in base64url without padding.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")

logging.getLogger("authlib").setLevel(logging.INFO)  # its DEBUG lines hold tokens


class Parameters(OAuth2Payload):  # type: ignore[misc]
    """A query's or a form's. What has no value counts as left out (RFC 6749 section 3.1)."""

    def __init__(self, pairs: Pairs) -> None:
        self._lists: defaultdict[str, list[str]] = defaultdict(list)
        self.are_too_many = False
        for number, (name, value) in enumerate(pairs, 1):
            if number > PARAMETERS_COUNT_MAX or len(value) > PARAMETER_CHARS_MAX:
                self.are_too_many = True
                break
            if value:
                self._lists[name].append(value)
        self._first = {name: values[0] for name, values in self._lists.items()}

    @property
    def data(self) -> dict[str, str]:
        return self._first

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        return self._lists

    @property
    def scope(self) -> str | None:
        words = [word for word in self._first.get("scope", "").split() if word != TOLERATED_SCOPE]
        return " ".join(words) or None

    @property
    def resources(self) -> list[str]:
        """Each once: the one parameter that may stand several times (RFC 8707 section 2)."""
        return list(dict.fromkeys(self._lists.get("resource", [])))

    def doubled(self) -> str | None:
        """A parameter that stands twice though it must not."""
        doubled = (name for name, values in self._lists.items() if len(values) > 1 and name != "resource")
        return next(doubled, None)


class FormRequest(OAuth2Request):  # type: ignore[misc]
    """What Authlib reads of a request. ``authorization``: the header of that name."""

    def __init__(self, parameters: Parameters, authorization: str = "") -> None:
        super().__init__("POST", _URI, headers={"Authorization": authorization})
        self.payload = parameters

    @property
    def args(self) -> dict[str, str]:
        return self.form

    @property
    def form(self) -> dict[str, str]:
        found: dict[str, str] = self.payload.data
        return found


class _JsonMembers(JsonPayload):  # type: ignore[misc]
    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = dict(members)

    @property
    def data(self) -> dict[str, Any]:
        return self._members


class JsonBody(JsonRequest):  # type: ignore[misc]
    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__("POST", _URI)
        self.payload = _JsonMembers(members)


class ClientRefusedError(InvalidClientError):  # type: ignore[misc]
    """401; with a challenge only for who came by Basic (RFC 6749 section 5.2)."""

    status_code = 401

    def __init__(self, description: str, *, by_basic: bool) -> None:
        super().__init__(description)
        self._by_basic = by_basic

    def get_headers(self) -> list[tuple[str, str]]:
        headers = list(OAuth2Error.get_headers(self))
        return [*headers, ("WWW-Authenticate", 'Basic realm="OAuth client"')] if self._by_basic else headers


class Core(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server for one request. ``find``: a client by its id, from where this request has them."""

    def __init__(self, find: Callable[[str], OAuthClient | None]) -> None:
        super().__init__()
        self._find = find

    def query_client(self, client_id: str) -> OAuthClient | None:
        return self._find(client_id) if len(client_id) <= CLIENT_ID_CHARS_MAX else None

    def authenticate_client(
        self, request: FormRequest, methods: list[str], endpoint: str = "token"
    ) -> OAuthClient:
        """Who asks, by the one way it chose. Authlib's own takes whichever of several fits."""
        given = _credentials(request)
        client = self.query_client(given.client_id)
        if client is None:
            raise ClientRefusedError("The client is not known here. Register again.", by_basic=given.by_basic)
        fits = given.method in methods and client.check_endpoint_auth_method(given.method, endpoint)
        if not fits or (given.method != NONE and not client.check_client_secret(given.secret)):
            raise ClientRefusedError("The client did not prove who it is.", by_basic=given.by_basic)
        request.auth_method = given.method
        return client

    def create_oauth2_request(self, request: FormRequest) -> FormRequest:
        return request

    def create_json_request(self, request: JsonBody) -> JsonBody:
        return request

    def handle_response(self, status: int, body: Any, headers: Iterable[tuple[str, str]]) -> Answer:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return Answer(
            status, tuple((name.lower().encode(), value.encode()) for name, value in headers), content
        )

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Authlib wants one. Nobody listens."""


class Challenge(CodeChallenge):  # type: ignore[misc]
    """PKCE for everybody, and by S256 alone. Source: OAuth 2.1 section 4.1.1, RFC 9700 section 2.1.1."""

    DEFAULT_CODE_CHALLENGE_METHOD = S256
    SUPPORTED_CODE_CHALLENGE_METHOD: Final = [S256]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        given = grant.request.payload.data
        if given.get("code_challenge_method") != S256:
            raise InvalidRequestError("code_challenge_method has to be S256")
        if not _CHALLENGE.fullmatch(given.get("code_challenge", "")):
            raise InvalidRequestError("code_challenge has to be the S256 challenge of a verifier")
        super().validate_code_challenge(grant, redirect_uri)

    def validate_code_verifier(self, grant: Any, result: object) -> None:
        if not grant.request.form.get("code_verifier"):
            raise InvalidRequestError("code_verifier is missing")
        super().validate_code_verifier(grant, result)


class _Credentials(NamedTuple):
    client_id: str
    secret: str
    method: str

    @property
    def by_basic(self) -> bool:
        return self.method == "client_secret_basic"


def _credentials(request: FormRequest) -> _Credentials:
    form = request.form
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    basic = _basic(request.headers["Authorization"])
    if basic is None:
        return _Credentials(client_id, secret, "client_secret_post" if secret else NONE)
    if secret or client_id not in ("", basic.client_id):
        raise InvalidRequestError("The client says who it is in more than one way.")
    return basic


def _basic(authorization: str) -> _Credentials | None:
    """None where it is of another scheme. Source: RFC 6749 section 2.3.1 (both halves are form-encoded)."""
    if not authorization.lower().startswith("basic"):
        return None
    match = _BASIC.fullmatch(authorization)
    try:
        decoded = base64.b64decode(match[1]).decode() if match else ""
    except (binascii.Error, UnicodeDecodeError):
        decoded = ""
    client_id, colon, secret = decoded.partition(":")
    if not colon:
        raise ClientRefusedError("The Authorization header cannot be read.", by_basic=True)
    return _Credentials(unquote_plus(client_id), unquote_plus(secret), "client_secret_basic")
