"""Access tokens: JWTs that say who let which program do what where, and until when.

Decides what a token says and which ones are believed: signed by a key of ours, of the one kind that we issue,
by this issuer, for one resource, and not over. Whether the grant behind it stands is the caller's to ask.
Source: RFC 9068, RFC 8725 section 3. Next: :mod:`gateway.auth.callers`.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.errors import JoseError

from gateway.auth.oauth.keys import ALGORITHM, TOKEN_S, KnownKey, SigningKeys
from state.store.auth_rows import Grant

TYPE: Final = "at+jwt"
TOKEN_CHARS_MAX: Final = 4096
HEADER_CHARS_MAX: Final = 256
GRANT_CLAIM: Final = "grant"

_HEADER: Final = {"alg", "typ", "kid"}  # what we write, and so all that may stand there
_TEXTS: Final = ("sub", "aud", "client_id", "scope", GRANT_CLAIM)


class InvalidToken(ValueError):
    """It is no good access token of ours."""


class UnknownKey(InvalidToken):
    """It names a key that this worker does not know; another may just have made it."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a good one says."""

    user: str
    grant_id: str
    client_id: str
    scope: str  # space-separated
    resource: str
    expires_at: float  # Unix seconds


class AccessTokens:
    """One a worker."""

    def __init__(self, keys: SigningKeys, issuer: str, now: Callable[[], float]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._now = now

    def mint(self, key: KnownKey, grant: Grant, scope: str, expires_at: float) -> str:
        """A token for what ``grant`` allows, or the part of it that ``scope`` names."""
        now = self._now()
        claims = {
            "iss": self._issuer,
            "sub": grant.user,
            "aud": grant.resource,
            "exp": int(min(expires_at, now + TOKEN_S)),
            "iat": int(now),
            "jti": secrets.token_urlsafe(16),
            "client_id": grant.client_id,
            "scope": scope,
            GRANT_CLAIM: grant.grant_id,
        }
        return jwt.encode({"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}, claims, key.private)

    def verify(self, token: str) -> AccessToken:
        """What it says. Raises InvalidToken; UnknownKey where another look at the keys may help."""
        found = self._signed(token)
        if self._now() >= found.expires_at:
            raise InvalidToken("the token is over")
        return found

    async def verified(self, token: str) -> AccessToken:
        """The same, after another look at the keys where one is unknown. May raise StoreError."""
        try:
            return self.verify(token)
        except UnknownKey:
            if not await self._keys.look_again():
                raise
        return self.verify(token)

    def grant_of(self, token: str) -> str | None:
        """The grant of a token that we signed, be it over or not."""
        try:
            return self._signed(token).grant_id
        except InvalidToken:
            return None

    def _signed(self, token: str) -> AccessToken:
        key = self._key(token)
        try:
            decoded = jwt.decode(token, key.verifying, algorithms=[ALGORITHM])
        except (JoseError, ValueError):
            raise InvalidToken("the token was changed, or is none") from None
        return self._read(decoded.claims)

    def _key(self, token: str) -> KnownKey:
        segment = token.partition(".")[0]
        if len(token) > TOKEN_CHARS_MAX or len(segment) > HEADER_CHARS_MAX or token.count(".") != 2:
            raise InvalidToken("it is no JWT")
        try:
            header = orjson.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
        except ValueError:
            raise InvalidToken("it is no JWT") from None
        if not isinstance(header, dict) or header.keys() != _HEADER:
            raise InvalidToken("it is no access token")
        kid = header["kid"]
        if header["alg"] != ALGORITHM or header["typ"] != TYPE or not isinstance(kid, str):
            raise InvalidToken("it is no access token")
        key = self._keys.find(kid)
        if key is None:
            raise UnknownKey("its key is unknown")
        return key

    def _read(self, claims: Mapping[str, Any]) -> AccessToken:
        expires_at = claims.get("exp")
        texts = [claims.get(name) for name in _TEXTS]
        if claims.get("iss") != self._issuer or isinstance(expires_at, bool):
            raise InvalidToken("another issued it")
        if not isinstance(expires_at, int | float) or not all(isinstance(text, str) for text in texts):
            raise InvalidToken("it does not say what an access token has to")
        user, resource, client_id, scope, grant_id = map(str, texts)
        return AccessToken(user, grant_id, client_id, scope, resource, float(expires_at))
