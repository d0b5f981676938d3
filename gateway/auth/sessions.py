"""Sessions of people at pages: a cookie that is a secret, and a record of it that the server keeps.

Decides names and attributes of cookies, how long a session lives, and what a form must carry. Two kinds of
session never stand for each other: one at the gateway's origin, and one at a single Home's, which ends with
the gateway session that opened it. A cookie carries a mark of ours: one that somebody made up costs no look
into the store, and takes nobody's place among those that are known.
Next: :mod:`gateway.auth.local` and :mod:`gateway.auth.home_entry`.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.auth.people import is_since
from gateway.auth.secret_key import MARK_CHARS, SecretKey
from gateway.head import Head, cookies
from state.kinds.account import Account
from state.store.errors import Replaced, StoreError

SECRET_BYTES = 32
SECRET_CHARS = 43  # as `mint_secret` makes them
_SECRET = re.compile(rf"[\w-]{{{SECRET_CHARS + MARK_CHARS}}}", re.ASCII)
SESSION_S = 30 * 86400.0
HOME_SESSION_S = 86400.0
TRUSTED_S = 2.0  # how long a worker believes a session without asking again: the delay of another's sign-out
SILENT_TRUSTED_S = 600.0  # and how long it goes on believing one while nobody can be asked
KNOWN_MAX = 4096
OVER_MAX = 1024  # sessions that are known to be over: the only cookies that come to nothing after a look
COOKIES_TRIED_MAX = 32  # a sibling's page may set cookies of our name beside ours, and in front of it


class Tickets(Protocol):
    """Where sessions and codes are on record: :class:`state.store.tickets.Tickets`. All may raise StoreError.

    ``key`` is the SHA-256 of what the person holds (:func:`key_of`), so that one record may name another
    without being good for it; the store hashes it once more.
    """

    async def put(self, kind: str, key: str, record: Mapping[str, str], ttl_s: float, /) -> None: ...

    async def get(self, kind: str, key: str, /) -> Mapping[str, str] | None:
        """The record, unless it is unknown or over."""
        ...

    async def take(self, kind: str, key: str, /) -> Mapping[str, str] | None:
        """The record, once: whoever asks again gets None."""
        ...

    async def revoke(self, kind: str, key: str, /) -> None: ...

    async def sweep(self) -> int:
        """Drop what is over; how many."""
        ...


class TicketKind(StrEnum):
    SESSION = "session"
    HOME_SESSION = "home-session"
    SIGN_IN_CODE = "sign-in-code"
    HOME_CODE = "home-code"
    LOGIN_STATE = "login-state"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a good session. ``home``: the only Home it is good for; empty at the gateway's."""

    user: str
    key: str  # of the session's record
    csrf: str
    opened_at: float  # Unix seconds
    home: str = ""


class Sessions:
    """One a worker. ``account``: a user's Account, as the table has it. ``secret_key``: every worker's."""

    def __init__(
        self,
        tickets: Tickets,
        account: Callable[[str], Account | None],
        secret_key: SecretKey,
        *,
        is_https: bool,
    ) -> None:
        self._tickets = tickets
        self._account = account
        self._secret_key = secret_key
        self._is_https = is_https
        # Each with the time until which it is believed; the one that was asked for longest ago comes first.
        self._known: dict[tuple[TicketKind, str], tuple[Visitor, float]] = {}
        # Filled only by what has been on record: a session that is yet to be opened has a secret of its own.
        self._over: dict[tuple[TicketKind, str], float] = {}

    async def open(self, user: str) -> str:
        """A new session at the gateway's origin; returns the Set-Cookie value."""
        secret = self._mint(TicketKind.SESSION)
        record = {"user": user, "opened_at": repr(time.time())}
        await self._tickets.put(TicketKind.SESSION, key_of(secret), record, SESSION_S)
        return self._cookie(TicketKind.SESSION, secret, SESSION_S)

    async def open_home(self, user: str, home: str, opened_by: str, opened_at: float) -> str:
        """A new session at one Home's origin, by a gateway session of ``opened_at``; the Set-Cookie value."""
        secret = self._mint(TicketKind.HOME_SESSION)
        record = {"user": user, "home": home, "opened_by": opened_by, "opened_at": repr(opened_at)}
        await self._tickets.put(TicketKind.HOME_SESSION, key_of(secret), record, HOME_SESSION_S)
        return self._cookie(TicketKind.HOME_SESSION, secret, HOME_SESSION_S)

    async def close(self, visitor: Visitor) -> str:
        """End a gateway session, and with it the Home sessions it opened; returns the Set-Cookie value."""
        await self._tickets.revoke(TicketKind.SESSION, visitor.key)
        self._known.pop((TicketKind.SESSION, visitor.key), None)
        return self._cookie(TicketKind.SESSION, "", 0)

    async def visitor(self, head: Head) -> Visitor | None:
        """Who comes to the gateway's origin."""
        for secret in self._secrets(head, TicketKind.SESSION):
            found = await self._find(TicketKind.SESSION, secret)
            if found is not None and self._stands(found):
                return found
        return None

    async def home_visitor(self, head: Head, home: str) -> Visitor | None:
        """Who comes to this Home's origin; a session of another Home is none."""
        for secret in self._secrets(head, TicketKind.HOME_SESSION):
            found = await self._find(TicketKind.HOME_SESSION, secret)
            if found is not None and found.home == home and self._stands(found):
                return found
        return None

    def _stands(self, visitor: Visitor) -> bool:
        """Whether the account is there still, and was not signed out everywhere since."""
        account = self._account(visitor.user)
        return account is not None and is_since(account, visitor.opened_at)

    def _mint(self, kind: TicketKind) -> str:
        secret = mint_secret()
        return secret + self._secret_key.mark(secret, kind)

    def _is_marked(self, kind: TicketKind, secret: str) -> bool:
        """Whether it was minted here, for this kind of session: it may be over, but was never made up."""
        if _SECRET.fullmatch(secret) is None:
            return False
        mark = self._secret_key.mark(secret[:SECRET_CHARS], kind)
        return hmac.compare_digest(mark, secret[SECRET_CHARS:])

    def _secrets(self, head: Head, kind: TicketKind) -> list[str]:
        if b"cookie" not in head.values:
            return []
        named = cookies(head, self._name(kind).encode())
        candidates = [secret for secret in named if self._is_marked(kind, secret)]
        if len(candidates) > 1:  # who was in before comes first, so that planted ones cost nothing more
            candidates.sort(key=lambda secret: (kind, key_of(secret)) not in self._known)
        return candidates[:COOKIES_TRIED_MAX]

    async def _find(self, kind: TicketKind, secret: str) -> Visitor | None:
        now = asyncio.get_running_loop().time()
        key = kind, key_of(secret)
        known = self._known.get(key)
        if known is not None and known[1] > now:
            return known[0]
        if self._over.get(key, now) > now:
            return None
        try:
            found = await self._read(*key, secret)
        except Replaced:  # whoever removed the sessions meant it
            raise
        except StoreError:
            if known is None or known[1] + SILENT_TRUSTED_S < now:
                raise
            return known[0]  # who was in stays in while the store is silent: nobody can sign out either
        self._remember(key, found, now + TRUSTED_S)
        return found

    def _remember(self, key: tuple[TicketKind, str], found: Visitor | None, until: float) -> None:
        self._known.pop(key, None)
        self._over.pop(key, None)
        if found is not None:
            self._known[key] = found, until
            if len(self._known) > KNOWN_MAX:
                del self._known[next(iter(self._known))]
        else:
            self._over[key] = until
            if len(self._over) > OVER_MAX:
                del self._over[next(iter(self._over))]

    async def _read(self, kind: TicketKind, key: str, secret: str) -> Visitor | None:
        record = await self._tickets.get(kind, key)
        if record is None:
            return None
        opened_by = record.get("opened_by")
        if opened_by is not None and await self._tickets.get(TicketKind.SESSION, opened_by) is None:
            return None
        return Visitor(
            record["user"],
            key,
            csrf_token(secret),
            float(record.get("opened_at", "0")),
            record.get("home", ""),
        )

    def _name(self, kind: TicketKind) -> str:
        name = "mcpgw-home" if kind is TicketKind.HOME_SESSION else "mcpgw"
        return f"__Host-{name}" if self._is_https else name

    def _cookie(self, kind: TicketKind, secret: str, max_age_s: float) -> str:
        """Source: RFC 6265bis section 4.1.3.2 for the prefix, which keeps siblings from setting it."""
        secure = "; Secure" if self._is_https else ""
        age = f"; Max-Age={int(max_age_s)}"
        return f"{self._name(kind)}={secret}; Path=/; HttpOnly; SameSite=Lax{secure}{age}"


def mint_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def key_of(secret: str) -> str:
    """Under what the record of ``secret`` is kept; a random 256-bit secret needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_token(session_secret: str) -> str:
    """What a form of this session carries: nobody without the cookie can make it."""
    digest = hmac.digest(session_secret.encode(), b"csrf", "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_csrf_token(visitor: Visitor, given: str) -> bool:
    return hmac.compare_digest(visitor.csrf.encode(), given.encode())
