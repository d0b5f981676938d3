"""The keys that sign access tokens: made, published, used, retired; on record sealed, in memory open.

Decides when a key is made, when it begins to sign and when it may be forgotten, so that at every moment every
worker knows every key that signed a token which is not over. Several workers agree through one transaction.
Refuses to know what is signed. Next: :mod:`gateway.auth.oauth.tokens`.
"""

import asyncio
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from joserfc.jwk import RSAKey

from gateway.auth.secret_key import SecretKey
from state.store.auth import AuthDatabase, AuthTx
from state.store.auth_rows import SigningKey
from state.store.errors import StoreError

ALGORITHM: Final = "RS256"
KEY_BITS: Final = 2048
ROTATED_AFTER_S: Final = 90 * 86400.0
PUBLISHED_BEFORE_S: Final = 86400.0  # how long a key stands in the JWKS before it signs: others cache that
TOKEN_S: Final = 3600.0  # the longest that a token lives
# How long a worker may go on with what it read: less than the slack, by which an old key outlasts its tokens.
RELOADED_AFTER_S: Final = 60.0
RETIRED_SLACK_S: Final = 600.0
UNKNOWN_RELOAD_S: Final = 5.0  # an unknown kid is anybody's to send: one look each so many seconds
SET_ASIDE_KEPT_S: Final = ROTATED_AFTER_S  # somebody may find the key that they were sealed with again

_RSA_NUMBERS: Final = ("n", "e", "d", "p", "q", "dp", "dq", "qi")
"""Source: RFC 7518, section 6.3."""

_log = structlog.get_logger()


class KnownKey(NamedTuple):
    """An open one. ``public`` as the JWKS has it."""

    kid: str
    private: RSAKey
    verifying: RSAKey
    public: dict[str, Any]
    created_at: float
    retires_at: float | None = None


def signing_key(keys: Sequence[KnownKey], now: float) -> KnownKey | None:
    """Which one signs at ``now``: the newest that was published for long enough, else the oldest."""
    by_age = sorted(keys, key=lambda key: key.created_at)
    published = [key for key in by_age if key.created_at <= now - PUBLISHED_BEFORE_S]
    return published[-1] if published else next(iter(by_age), None)


def is_due(keys: Sequence[KnownKey], now: float) -> bool:
    """Whether another key has to be made: there is none that goes on, or the newest of these is old."""
    lasting = [key for key in keys if key.retires_at is None]
    return all(key.created_at <= now - ROTATED_AFTER_S for key in lasting)


class SigningKeys:
    """One a worker. ``now`` is Unix seconds. What awaits may raise StoreError."""

    def __init__(self, auth: AuthDatabase, secret_key: SecretKey, now: Callable[[], float]) -> None:
        self._auth = auth
        self._secret_key = secret_key
        self._now = now
        self._known: dict[str, KnownKey] = {}
        self._set_aside: frozenset[str] = frozenset()
        self._loaded_at = float("-inf")  # by the loop's clock
        self._one_at_a_time = asyncio.Lock()

    def signer(self) -> KnownKey | None:
        return signing_key(list(self._known.values()), self._now())

    def find(self, kid: str) -> KnownKey | None:
        """By what is in memory."""
        return self._known.get(kid)

    def jwks(self) -> dict[str, Any]:
        """Source: RFC 7517 section 5."""
        return {"keys": [key.public for key in self._known.values()]}

    async def refresh(self) -> None:
        """See to it that there is a key, and that what others made lately is known.

        While the store is silent what is known goes on.
        """
        if self.signer() is not None and not self._is_older_than(RELOADED_AFTER_S):
            return
        try:
            await self.keep()
        except StoreError:
            if self.signer() is None:
                raise

    async def look_again(self) -> bool:
        """For a kid that is unknown: another worker may have made it. Whether anybody looked."""
        if not self._is_older_than(UNKNOWN_RELOAD_S):
            return False
        async with self._one_at_a_time:
            if self._is_older_than(UNKNOWN_RELOAD_S):
                await self._load()
        return True

    async def keep(self) -> None:
        """Load, make what is due, drop what is over."""
        async with self._one_at_a_time:
            rows = await self._load()
            now = self._now()
            if is_due(list(self._known.values()), now):
                fresh = await asyncio.to_thread(self._made, now)
                if await self._auth.transact(lambda tx: self._add_if_due(tx, fresh)):
                    _log.info("signing_key.made", kid=fresh.kid)
            elif any(_is_over(row, self._set_aside, now) for row in rows):
                await self._auth.transact(self._drop_over)
            else:
                return
            await self._load()

    async def _load(self) -> list[SigningKey]:
        rows = await self._auth.read(lambda tx: tx.signing_keys.all())
        opened = self._open(rows)
        set_aside = frozenset(row.kid for row in rows) - frozenset(opened)
        if set_aside - self._set_aside:
            _log.warning("signing_keys.set_aside", count=len(set_aside), mend="restore SECRET_KEY_FILE's key")
        if self._known.keys() - opened.keys():
            _log.info("signing_keys.forgotten", count=len(self._known.keys() - opened.keys()))
        self._known, self._set_aside = opened, set_aside
        self._loaded_at = asyncio.get_running_loop().time()
        return rows

    def _open(self, rows: Sequence[SigningKey]) -> dict[str, KnownKey]:
        """Those that our secret key sealed. What a row itself says of the public half is not believed."""
        opened = {}
        for row in rows:
            known = self._known.get(row.kid)
            private = None if known else self._secret_key.unseal(row.sealed, _name(row.kid))
            if private is not None:
                known = _known(row.kid, _as_made(orjson.loads(private)), row.created_at)
            if known is not None:
                opened[row.kid] = known._replace(retires_at=row.retires_at)
        return opened

    def _made(self, now: float) -> SigningKey:
        """A new one, which takes a while."""
        kid = secrets.token_urlsafe(12)
        key = RSAKey.generate_key(KEY_BITS)
        sealed = self._secret_key.seal(orjson.dumps(key.as_dict(private=True)), _name(kid))
        public = orjson.dumps(_known(kid, key, now).public).decode()
        return SigningKey(kid, sealed, public, now)

    def _add_if_due(self, tx: AuthTx, fresh: SigningKey) -> bool:
        """Add ``fresh`` unless another worker was faster. The others sign for a while, and verify longer."""
        rows = tx.signing_keys.all()
        if not is_due(list(self._open(rows).values()), tx.now):
            return False
        over_at = tx.now + PUBLISHED_BEFORE_S + TOKEN_S + RETIRED_SLACK_S
        for row in rows:
            if row.retires_at is None:
                tx.signing_keys.retire(row.kid, over_at)
        tx.signing_keys.add(fresh)
        return True

    def _drop_over(self, tx: AuthTx) -> None:
        for row in tx.signing_keys.all():
            if _is_over(row, self._set_aside, tx.now):
                tx.signing_keys.drop(row.kid)

    def _is_older_than(self, age_s: float) -> bool:
        return asyncio.get_running_loop().time() - self._loaded_at >= age_s


def _is_over(row: SigningKey, set_aside: frozenset[str], now: float) -> bool:
    if row.retires_at is None:
        return False
    return now >= row.retires_at + (SET_ASIDE_KEPT_S if row.kid in set_aside else 0.0)


def _name(kid: str) -> str:
    return f"signing key {kid}"


def _known(kid: str, key: RSAKey, created_at: float) -> KnownKey:
    """Source: RFC 7517 section 4 (use, alg, kid), RFC 7518 section 6.3.1."""
    described = {"kid": kid, "use": "sig", "alg": ALGORITHM}
    public = {**key.as_dict(private=False), **described}
    public = {name: public[name] for name in ("kty", "n", "e", "use", "alg", "kid")}
    return KnownKey(kid, key, RSAKey.import_key(public), public, created_at)


def _as_made(private: dict[str, str]) -> RSAKey:
    """The key that was sealed as a JWK. That its primes are some was seen to when it was made: to try them
    again would take every worker 0.13 s.
    """
    number = {name: int.from_bytes(urlsafe_b64decode(private[name] + "==")) for name in _RSA_NUMBERS}
    numbers = RSAPrivateNumbers(
        p=number["p"],
        q=number["q"],
        d=number["d"],
        dmp1=number["dp"],
        dmq1=number["dq"],
        iqmp=number["qi"],
        public_numbers=RSAPublicNumbers(number["e"], number["n"]),
    )
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return RSAKey(key, key)
