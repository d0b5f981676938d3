"""Whether an id_token is the provider's word about this very sign-in. Pure: keys and time are handed in.

Decides which algorithms and keys may sign, and what the claims have to say.
Source: OpenID Connect Core 1.0 section 3.1.3.7, RFC 8725 sections 3.1 and 3.2.
Next: :mod:`gateway.auth.providers.oidc`, which asks.
"""

import hmac
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from gateway.auth.providers.limits import KIB, LEEWAY_S
from gateway.auth.providers.port import ProviderError
from gateway.auth.providers.wire import nonsense

Key = RSAKey | ECKey | OKPKey
ID_TOKEN_CHARS_MAX: Final = 128 * KIB
SUBJECT_CHARS_MAX: Final = 255  # Source: OpenID Connect Core 1.0 section 2
_HEADER_BYTES_MAX: Final = 8 * KIB

# Signatures that only the provider can make. Never "none", and never HS*, whose key is a secret that both
# have, or (with a public key taken for one) that everybody has.
_KEY_TYPES: Final[Mapping[str, type[RSAKey] | type[ECKey] | type[OKPKey]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSAKey),
    **dict.fromkeys(("ES256", "ES384", "ES512"), ECKey),
    **dict.fromkeys(("EdDSA", "Ed25519"), OKPKey),
}
ALGORITHMS: Final = frozenset(_KEY_TYPES)
_IMPORTED: Final[Mapping[object, type[RSAKey] | type[ECKey] | type[OKPKey]]] = {
    "RSA": RSAKey,
    "EC": ECKey,
    "OKP": OKPKey,
}


@dataclass(frozen=True, slots=True)
class Keys:
    """A provider's public keys, as far as they can be used."""

    all: tuple[Key, ...]

    def fitting(self, alg: str, kid: str | None) -> list[Key]:
        """Those that may have signed so. A token that names no key may be of any."""
        return [
            key
            for key in self.all
            if isinstance(key, _KEY_TYPES[alg])
            and key.get("alg") in (None, alg)
            and (kid is None or key.kid == kid)
        ]


@dataclass(frozen=True, slots=True)
class Expected:
    """What an id_token has to say. ``label`` names the provider to people."""

    label: str
    issuer: str
    client_id: str
    nonce: str


class UnknownKeyError(Exception):
    """None of the keys has signed: they may have changed."""


def parse_keys(document: Mapping[str, Any], label: str, keys_max: int) -> Keys:
    """Source: RFC 7517 section 5: what is not understood is passed over. Raises ProviderError."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise nonsense(label)
    return Keys(tuple(key for key in map(_key, entries[:keys_max]) if key is not None))


def _key(entry: object) -> Key | None:
    """None for a key that is not for signatures, not understood, or too weak."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or not _is_word(entry.get("kty")):
        return None
    imported = _IMPORTED.get(entry["kty"])
    if imported is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)  # an RSA key below 2048 bits
            return imported.import_key(entry)
    except (JoseError, SecurityWarning, ValueError, TypeError, KeyError):
        return None


def verified_claims(token: str, keys: Keys, expected: Expected, now: float) -> dict[str, Any]:
    """The claims. Raises ProviderError, and UnknownKeyError where other keys may help."""
    alg, kid = _header(token, expected.label)
    claims = _signed(token, alg, keys.fitting(alg, kid), expected.label)
    _refuse_unwritable(claims, expected.label)
    _check(claims, expected, now)
    return claims


def _header(token: str, label: str) -> tuple[str, str | None]:
    if not token:
        raise ProviderError(
            "IdTokenMissing",
            f"{label} did not say who you are (no id_token). Its client has to be one for OpenID Connect.",
            retryable=False,
        )
    if len(token) > ID_TOKEN_CHARS_MAX or not token.isascii():
        raise nonsense(label)
    try:
        header = jws.extract_compact(token.encode(), registry=_registry()).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        raise nonsense(label) from None
    alg, kid = header.get("alg"), header.get("kid")
    if not _is_word(alg) or alg not in ALGORITHMS:
        raise _refused("BadAlgorithm", label, "is signed in a way that anybody could")
    if kid is not None and not isinstance(kid, str):
        raise nonsense(label)
    return str(alg), kid


def _registry() -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = _HEADER_BYTES_MAX
    return registry


def _signed(token: str, alg: str, candidates: list[Key], label: str) -> dict[str, Any]:
    for key in candidates:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # the name EdDSA is old, the algorithm good
                return jwt.decode(token, key, algorithms=[alg], registry=_registry()).claims
        except RecursionError:
            raise nonsense(label) from None
        except (JoseError, ValueError, TypeError):
            continue
    raise UnknownKeyError(label)


def _refuse_unwritable(claims: Mapping[str, Any], label: str) -> None:
    """Half a character (a lone surrogate) passes Python's JSON, and can then be neither hashed nor kept.

    Source: RFC 7493 section 2.1; answers that are no tokens are read as strictly by :class:`wire.Answer`.
    """
    try:
        orjson.dumps(claims)
    except TypeError:
        raise nonsense(label) from None


def _check(claims: Mapping[str, Any], expected: Expected, now: float) -> None:
    registry = jwt.JWTClaimsRegistry(
        now=int(now),
        leeway=LEEWAY_S,
        iss={"essential": True, "value": expected.issuer},
        sub={"essential": True},
        aud={"essential": True, "value": expected.client_id},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True},
    )
    try:
        registry.validate(dict(claims))
    except ExpiredTokenError:
        raise _refused("TokenExpired", expected.label, "is over: its clock or ours is wrong") from None
    except (MissingClaimError, InvalidClaimError) as error:
        raise _unfit(error.claim, expected.label) from None
    _check_nonce(claims["nonce"], expected)
    _check_party(claims, expected)
    if not _is_word(claims["sub"]) or not 1 <= len(claims["sub"]) <= SUBJECT_CHARS_MAX:
        raise nonsense(expected.label)


def _check_nonce(nonce: object, expected: Expected) -> None:
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise _unfit("nonce", expected.label)


def _check_party(claims: Mapping[str, Any], expected: Expected) -> None:
    """With further audiences, it has to say that it was made for us."""
    audience, party = claims["aud"], claims.get("azp")
    if isinstance(audience, list) and len(audience) > 1 and party is None:
        raise _unfit("azp", expected.label)
    if party is not None and party != expected.client_id:
        raise _unfit("azp", expected.label)


_REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "nonce": ("BadNonce", "belongs to another sign-in"),
    "aud": ("BadAudience", "is meant for another program"),
    "azp": ("BadAudience", "is meant for another program"),
    "iss": ("BadIssuer", "comes from somebody else"),
    "exp": ("TokenExpired", "does not say until when it is good"),
    "iat": ("TokenAhead", "is from the future: its clock or ours is wrong"),
    "nbf": ("TokenAhead", "is from the future: its clock or ours is wrong"),
}


def _unfit(claim: str, label: str) -> ProviderError:
    reason, what = _REASONS.get(claim, ("BadToken", "does not say all that it has to"))
    return _refused(reason, label, what)


def _refused(reason: str, label: str, what: str) -> ProviderError:
    return ProviderError(
        reason,
        f"What {label} said of you {what}, so nobody was signed in. Begin anew; if it happens again, tell "
        "whoever runs this gateway.",
        retryable=False,
    )


def _is_word(value: object) -> bool:
    return isinstance(value, str)
