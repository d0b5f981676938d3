"""Accounts on record: what a provider said at a sign-in, what an admin decided, what was withdrawn.

Decides who writes which part of an Account, and that whatever takes a right away is in force on every worker
before it is answered for: it is written, then the barrier is passed. Refuses to know whether somebody may
come in (:mod:`gateway.auth.admission`). Next: :mod:`gateway.auth.people`.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeAlias

import structlog

from gateway.auth.identity import Identity
from gateway.problems import Problem, unavailable
from state.kinds.account import Account, AccountSpec, Claims, Decision, account_name
from state.kinds.resource import Metadata
from state.store.auth import AuthDatabase
from state.store.errors import BarrierTimeout, NotFound
from state.store.port import Store, Tx

BARRIER_S: Final = 15.0  # longer than a dead worker's lease
TURN_S: Final = BARRIER_S  # for another announcement to end: not a queue of barriers
KNOWN_S: Final = 2.0  # for a sign-in, which nobody is hurt by hearing of later
ANNOUNCED_AT_ONCE_MAX: Final = 500  # grants a round: one transaction in each file
ROUNDS_MAX: Final = 100

_Write: TypeAlias = Callable[[Tx], int | None]  # returns the revision if it wrote

_log = structlog.get_logger(__name__)


class Accounts:
    """One a worker. All may raise StoreError.

    All but a sign-in may raise Problem (503): what was asked for stands, but a worker may not know it yet.
    """

    def __init__(self, store: Store, *, worker: str) -> None:
        self._store = store
        self._actor = f"gateway:{worker}"

    async def remember(self, identity: Identity) -> Account:
        """Put on record what a provider has just said. What was decided of them stays as it is.

        Every worker knows of it then: whoever is sent on may come to another one. One that does not answer
        is not waited for; it asks them to sign in once more.
        """
        account = await self._store.transact(lambda tx: _remembered(tx, identity), actor=self._actor)
        try:
            await self._store.barrier(account.metadata.resource_version, KNOWN_S)
        except BarrierTimeout as error:
            _log.warning("account.unheard", why=str(error))
        return account

    async def sign_out(self, user: str) -> None:
        """End every session that ``user`` has, wherever it was opened."""
        await self._change(lambda tx: _changed(tx, user, signed_out_at=tx.now))

    async def decide(
        self, user: str, decision: Decision, actor: str, *, only_from: Collection[Decision] = tuple(Decision)
    ) -> bool:
        """Put on record what ``actor`` decided of ``user``; whether it was, for it replaces none but
        ``only_from``. Raises NotFound for who never signed in.
        """

        def write(tx: Tx) -> int | None:
            account = tx.get(Account, account_name(user))
            if account is None:
                raise NotFound(f"{user} has never signed in; whoever may come in by a rule needs no decision")
            return _changed(tx, user, decision=decision) if account.spec.decision in only_from else None

        return await self._change(write, actor)

    async def forget(self, user: str) -> None:
        """Nothing that was known of ``user`` is known any more, but for a ban: that outlives the account."""
        await self._change(lambda tx: _forgotten(tx, user))

    async def _change(self, write: _Write, actor: str = "") -> bool:
        """Whether anything was written; then every worker has heard of it."""
        revision = await self._store.transact(write, actor=actor or self._actor)
        if revision is None:
            return False
        await _pass_barrier(self._store, revision)
        return True


class Announcer:
    """Tells every worker of grants that ended. One a worker; several may be at it together.

    A grant that was revoked is unannounced until each worker asks again before it believes what came of it:
    every caller that is kept is kept with its Account, which has another epoch then. A user without Account
    is believed nowhere, so there is nothing to raise, and none is made; the barrier is passed all the same.
    A death between the steps leaves the grant unannounced, and the next call begins anew.
    """

    def __init__(self, auth: AuthDatabase, store: Store, *, worker: str) -> None:
        self._auth = auth
        self._store = store
        self._actor = f"gateway:{worker}"
        self._turn = asyncio.Lock()

    async def announce(self) -> None:
        """Return once every grant that had ended before the call is believed nowhere.

        Raises StoreError; Problem (503) where a worker does not answer: the end stands, and is announced by
        a later call.
        """
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            raise _unheard() from None  # whoever is at it waits for a worker, and so would we
        try:
            for _ in range(ROUNDS_MAX):
                if not await self._announced_some():
                    return
        finally:
            self._turn.release()
        _log.warning("revocation.deferred", rounds=ROUNDS_MAX)
        raise _unheard()

    async def _announced_some(self) -> bool:
        ended = await self._auth.read(lambda tx: tx.grants.unannounced(ANNOUNCED_AT_ONCE_MAX))
        if not ended:
            return False
        users = sorted({user for _, user in ended})
        revision = await self._store.transact(lambda tx: _raised(tx, users), actor=self._actor)
        await _pass_barrier(self._store, await self._store.revision() if revision is None else revision)
        await self._auth.transact(lambda tx: tx.grants.set_announced([grant_id for grant_id, _ in ended]))
        return True


async def _pass_barrier(store: Store, revision: int) -> None:
    """Raises Problem (503), with one line in the log that names the workers."""
    try:
        await store.barrier(revision, BARRIER_S)
    except BarrierTimeout as error:
        _log.warning("revocation.unheard", why=str(error))
        raise _unheard() from None


def _unheard() -> Problem:
    return unavailable(
        "Not every part of the gateway has heard of it yet",
        "What you asked for is on record and stands. For a moment some requests may still be answered as "
        "before; look again then.",
        "NotAnnounced",
        5.0,
    )


# Inside a transaction


def _remembered(tx: Tx, identity: Identity) -> Account:
    account = tx.get(Account, account_name(identity.user))
    if account is None:
        spec = AccountSpec(user=identity.user, claims=identity.claims, claims_at=tx.now)
        return tx.create(Account(metadata=Metadata(name=account_name(identity.user)), spec=spec))
    said = {"claims": identity.claims, "claims_at": tx.now}
    return tx.update_spec(account.replaced(spec=account.spec.model_copy(update=said)))


def _raised(tx: Tx, users: Iterable[str]) -> int | None:
    revisions = [_changed(tx, user) for user in users]
    return max((revision for revision in revisions if revision is not None), default=None)


def _changed(tx: Tx, user: str, **parts: object) -> int | None:
    """Every change but a sign-in raises the epoch. None where ``user`` has no Account."""
    account = tx.get(Account, account_name(user))
    if account is None:
        return None
    spec = account.spec.model_copy(update={**parts, "epoch": account.spec.epoch + 1})
    return tx.update_spec(account.replaced(spec=spec)).metadata.resource_version


def _forgotten(tx: Tx, user: str) -> int | None:
    account = tx.get(Account, account_name(user))
    if account is None:
        return None
    if account.spec.decision is Decision.BANNED:
        return _changed(tx, user, claims=Claims(), signed_out_at=tx.now)
    tx.delete(account)
    return tx.revision
