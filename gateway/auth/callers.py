"""Who asks with a bearer token: an App's key, a person's access token, or a personal access token.

Decides what a token is good for, and for how long that may be believed without asking again: until it or the
claims behind it are over, an Account, a policy or an App changes. Whatever is known costs a hash and a look
into a table; the rest is asked of ``auth.db`` once. An App's word for whom it asks is read each time anew.
Only the header counts: a token in the query, or a cookie, is nobody. Next: :mod:`gateway.doors`, which hold a
caller against the resource that is asked for.
"""

import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from gateway.auth.admission import Admitted, Pending, Refused, SignInAgain
from gateway.auth.people import People, is_since
from gateway.auth.resources import SCOPES
from gateway.auth.throttle import Throttle
from gateway.head import Head
from gateway.problems import bad_request, unavailable
from gateway.routes.table import Table
from state.kinds.access_policy import AccessPolicy, Role
from state.kinds.account import Account
from state.kinds.app import KEY_PREFIX, App, app_user, key_sha256
from state.store.auth import AuthDatabase
from state.store.auth_rows import Grant

TOKENS_KNOWN_MAX: Final = 8192
TOKENS_KNOWN_EACH_MAX: Final = 64  # of one person, whose programs may ask for a new one all day long
PERSONAL_PREFIX: Final = "mcpgw_pat_"
BURST_S: Final = 10.0  # what an App saved up it may use at once
UNTIL_S: Final = 3600.0  # the longest anything is believed: as long as an access token lives
USED_EVERY_S: Final = UNTIL_S  # how old the written time of a personal token's last use is before it is due
USES_NOTED_MAX: Final = 8192  # grants whose last use is not written yet; of more, it is not known

READS_MAX: Final = 5
_KEY_PREFIX: Final = KEY_PREFIX.encode()
_OVER: Final = "The token was withdrawn, or is over. Connect again."

# Source: RFC 6750 section 2.1 (b64token); the scheme's case does not matter (RFC 9110 section 11.1).
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]{1,4096}=*)", re.IGNORECASE)


class NotIdentifiedError(Exception):
    """Nobody, or nobody who may come in. ``error`` is RFC 6750's, empty where no credentials were sent."""

    def __init__(self, detail: str, error: str = "invalid_token") -> None:
        super().__init__(detail)
        self.detail = detail
        self.error = error


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose token is good. ``user`` is None where an App did not say for whom it asks."""

    user: str | None
    template: str
    app: str = ""  # the App for whose users alone this speaks; empty: a person, for themselves
    is_admin: bool = False
    resource: str | None = None  # the only one it is good for; None: any, as an App's key is
    scopes: frozenset[str] = SCOPES
    until: float = float("inf")  # Unix seconds
    throttle: Throttle | None = None  # of an App that may not call as often as it likes


class VerifiedToken(Protocol):
    """What a good access token says: :class:`gateway.auth.oauth.tokens.AccessToken`."""

    @property
    def user(self) -> str: ...
    @property
    def grant_id(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def expires_at(self) -> float: ...


class _Known(NamedTuple):
    """A caller, with what the table held when that was found: another now means to find out again."""

    caller: Caller
    user: str  # the caller's
    account: Account
    policies: tuple[AccessPolicy, ...]
    apps_version: int


class _Tokens:
    """What good tokens are known for, by their hashes: so many of one person, and so many of all together.

    Nobody pushes out more than their own and the oldest of all.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}
        self._of_user: dict[str, dict[bytes, None]] = {}  # in the order they came

    def __len__(self) -> int:
        return len(self._known)

    def get(self, digest: bytes) -> _Known | None:
        return self._known.get(digest)

    def keep(self, digest: bytes, user: str, known: _Known) -> None:
        self.forget(digest)
        self._known[digest] = known
        theirs = self._of_user.setdefault(user, {})
        theirs[digest] = None
        if len(theirs) > TOKENS_KNOWN_EACH_MAX:
            self.forget(next(iter(theirs)))
        elif len(self._known) > TOKENS_KNOWN_MAX:
            self.forget(next(iter(self._known)))

    def forget(self, digest: bytes) -> None:
        """What is not known is forgotten already."""
        known = self._known.pop(digest, None)
        if known is None:
            return
        theirs = self._of_user[known.user]
        del theirs[digest]
        if not theirs:
            del self._of_user[known.user]


class Callers:
    """One a worker. ``verify`` raises ValueError for what is no good access token of ours."""

    def __init__(
        self,
        table: Table,
        auth: AuthDatabase,
        people: People,
        verify: Callable[[str], Awaitable[VerifiedToken]],
        *,
        workers_count: int = 1,
    ) -> None:
        self._table = table
        self._auth = auth
        self._people = people
        self._verify = verify
        self._workers_count = workers_count
        self._throttles: dict[str, tuple[int, Throttle]] = {}  # an App's, with the limit it was made for
        self._tokens = _Tokens()
        self._uses: dict[str, float] = {}  # of personal grants, not written yet

    def known(self, head: Head) -> Caller | None:
        """Who asks, without awaiting; None where it has to be asked: :meth:`identify`.

        Raises NotIdentifiedError where there is nothing to ask, Problem (400) for a malformed user.
        """
        authorization = head.values.get(b"authorization")
        if authorization is None:
            raise NotIdentifiedError("Send Authorization: Bearer <token>.", error="")
        if b"authorization" in head.doubled:
            raise NotIdentifiedError("Send exactly one Authorization header.")
        found = self._tokens.get(_digest(authorization))
        if found is not None and self._stands(found):
            return found.caller
        token = _token(authorization)
        if token.startswith(_KEY_PREFIX):  # of which nothing is remembered that its users could fill up
            return self._program(token.decode("ascii"), head)
        return None

    async def identify(self, head: Head) -> Caller:
        """Who asks. Raises NotIdentifiedError, Problem (400), StoreError where ``auth.db`` is silent."""
        caller = self.known(head)
        if caller is not None:
            return caller
        token = _token(head.values[b"authorization"])
        digest = sha256(token).digest()
        try:
            caller, account = await self._person(token.decode("ascii"))
        except NotIdentifiedError:
            self._tokens.forget(digest)
            raise
        user, table = account.spec.user, self._table
        self._tokens.keep(digest, user, _Known(caller, user, account, table.policies, table.apps_version))
        return caller

    async def write_uses(self) -> None:
        """When personal tokens were used, all in one transaction. Raises StoreError, and keeps them then.

        OAuth clients' grants say so themselves, at each refresh.
        """
        if not self._uses:
            return
        uses = dict(self._uses)
        await self._auth.transact(lambda tx: tx.grants.note_uses(uses))
        self._uses = {grant: at for grant, at in self._uses.items() if uses.get(grant) != at}

    def was_known(self, head: Head) -> bool:
        """Whether this token was good when it was last asked for, whatever changed since."""
        return self._tokens.get(_digest(head.values[b"authorization"])) is not None

    def _stands(self, found: _Known) -> bool:
        table = self._table
        if found.apps_version != table.apps_version or found.policies is not table.policies:
            return False
        return found.account is table.account(found.user) and found.caller.until > time.time()

    def _program(self, key: str, head: Head) -> Caller:
        app = self._table.app_with_key(key_sha256(key))
        if app is None:
            raise NotIdentifiedError(
                "The key is unknown. Mint one with `mcpgw app-key` and put its hash into the App's manifest."
            )
        throttle = self._throttle(app)
        return Caller(_claimed_user(app, head), app.spec.template, app=app.name, throttle=throttle)

    def _throttle(self, app: App) -> Throttle | None:
        """This worker's share of what the App may ask; kept while its limit stays."""
        limit = app.spec.limits.requests_per_minute
        if limit is None:
            return None
        made_for, throttle = self._throttles.get(app.name, (0, None))
        if throttle is None or made_for != limit:
            rate_per_s = limit / 60 / self._workers_count
            throttle = Throttle(rate_per_s, max(1, math.ceil(rate_per_s * BURST_S)), keys_max=1)
            self._throttles[app.name] = limit, throttle
        return throttle

    async def _person(self, token: str) -> tuple[Caller, Account]:
        """Whose token it is. Raises NotIdentifiedError, Problem (503)."""
        if token.startswith(PERSONAL_PREFIX):
            said = await self._personal(token)
        else:
            said = await self._verified(token)
        grant, account = await self._standing(said.user, said.grant_id)
        now = time.time()
        means = (said.user, said.resource)
        if grant is None or not grant.lives(now) or (grant.user, grant.resource) != means:
            raise NotIdentifiedError(_OVER)
        if not is_since(account, grant.created_at):
            raise NotIdentifiedError(_OVER)
        caller = self._admitted(grant, account)
        self._note_use(grant, now)
        scopes = caller.scopes & frozenset(said.scope.split())
        ends = (caller.until, grant.expires_at, said.expires_at, now + UNTIL_S)
        return replace(caller, scopes=scopes, until=min(ends)), account

    async def _personal(self, token: str) -> VerifiedToken:
        digest = sha256(token.encode()).hexdigest()
        grant = await self._auth.read(lambda tx: tx.grants.with_token(digest))
        if grant is None:
            raise NotIdentifiedError(_OVER)
        return grant

    def _note_use(self, grant: Grant, now: float) -> None:
        """Not of each request, but where a token is verified anew, which is at least once in UNTIL_S: what is
        written is never older than both spans together.
        """
        is_due = not grant.is_used or now - grant.used_at >= USED_EVERY_S
        if is_due and not grant.client_id and len(self._uses) < USES_NOTED_MAX:
            self._uses[grant.grant_id] = now

    async def _standing(self, user: str, grant_id: str) -> tuple[Grant | None, Account]:
        """The grant, read after the Account that it will be remembered with: a withdrawal changes the one
        before it is announced by the other, so that what was read too early is never believed.
        """
        for _ in range(READS_MAX):
            account = self._table.account(user)
            if account is None:
                raise NotIdentifiedError("This account was deleted. Sign in to begin anew.")
            grant = await self._auth.read(lambda tx: tx.grants.get(grant_id))
            if self._table.account(user) is account:
                return grant, account
        raise unavailable("The account changes all the time", "Ask again.", "AccountUnsettled", 1.0)

    async def _verified(self, token: str) -> VerifiedToken:
        try:
            return await self._verify(token)
        except ValueError:
            raise NotIdentifiedError(
                "The token is not one of ours, was changed, or is over. Connect again."
            ) from None

    def _admitted(self, grant: Grant, account: Account) -> Caller:
        match self._people.admission(account):
            case Admitted() as admitted:
                return Caller(
                    grant.user,
                    admitted.template,
                    is_admin=admitted.role is Role.ADMIN,
                    resource=grant.resource,
                    scopes=frozenset(grant.scope.split()),
                    until=admitted.until.timestamp(),
                )
            case SignInAgain(why) | Refused(why):
                raise NotIdentifiedError(why)
            case Pending():
                raise NotIdentifiedError("An admin has not approved this account yet.")


def _digest(authorization: bytes) -> bytes:
    """The hash of the token of :func:`_token`, without a look at every character; of others, empty."""
    scheme, _, token = authorization.partition(b" ")
    return sha256(token.lstrip(b" ")).digest() if scheme.lower() == b"bearer" else b""


def _token(authorization: bytes) -> bytes:
    match = _BEARER.fullmatch(authorization)
    if match is None:
        raise NotIdentifiedError("Send Authorization: Bearer <token>.", error="")
    return match[1]


def _claimed_user(app: App, head: Head) -> str | None:
    """For whom the App asks. Raises Problem (400) where the id is malformed."""
    claimed = head.values.get(b"x-app-user")
    if claimed is None:
        return None
    if b"x-app-user" in head.doubled:
        raise bad_request("Send exactly one X-App-User header.", "DoubledUser")
    user = app_user(app.name, claimed.decode("latin-1"))
    if user is None:
        raise bad_request(
            "X-App-User must be 1 to 96 of the characters A-Z a-z 0-9 . _ @ + -, and begin with a letter or "
            "digit.",
            "MalformedUser",
        )
    return user
