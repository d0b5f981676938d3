"""Accounts on record, and how every worker comes to hear that something was withdrawn."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs

from gateway.auth import accounts as accounts_module
from gateway.auth.accounts import Accounts, Announcer
from gateway.auth.identity import Identity
from gateway.problems import Problem
from state.kinds.account import Account, Claims, Decision, account_name
from state.store.auth import AuthDatabase, AuthTx, open_auth
from state.store.auth_rows import Grant
from state.store.errors import NotFound, Unavailable
from state.store.memory import MemoryBackend
from state.store.port import Store
from state.store.rowstore import RowStore

T = TypeVar("T")
PATIENCE_S = 20.0
SHORT_S = 0.05
CLAIMS = Claims(login="alice", emails=("alice@example.com",))
ALICE = Identity("github", "1", CLAIMS)
BOB = Identity("github", "2", Claims(login="bob"))


class Clock:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Desk:
    """Two files, and whoever works with them."""

    def __init__(self, auth: AuthDatabase) -> None:
        self.clock = Clock()
        self.backend = MemoryBackend()
        self.store: Store = RowStore(self.backend, now=self.clock)
        self.auth = auth
        self.accounts = Accounts(self.store, worker="one")
        self.announcer = Announcer(auth, self.store, worker="one")

    async def find(self, identity: Identity = ALICE) -> Account | None:
        return await self.store.read(lambda tx: tx.get(Account, account_name(identity.user)))

    async def get(self, identity: Identity = ALICE) -> Account:
        found = await self.find(identity)
        assert found is not None, f"{identity.user} has an Account"
        return found

    async def actors(self) -> list[str]:
        return [change.actor for change in await self.store.changes(0, 100)]

    async def end(self, grant_id: str, user: str) -> None:
        """A grant that is revoked, and unannounced."""

        def write(tx: AuthTx) -> None:
            grant = Grant(
                grant_id, user, "c1", "A client", "mcp", "http://x/mcp", tx.now, tx.now, tx.now + 60
            )
            tx.grants.add(grant)
            tx.grants.revoke(grant_id, tx.now)

        await self.auth.transact(write)

    async def unannounced(self) -> list[str]:
        found = await self.auth.read(lambda tx: tx.grants.unannounced(100_000))
        return sorted(grant_id for grant_id, _ in found)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    auth = await open_auth(tmp_path / "auth.db")
    try:
        yield Desk(auth)
    finally:
        await auth.close()


@asynccontextmanager
async def worker(desk: Desk, *, name: str = "other", is_deaf: bool = False) -> AsyncIterator[list[int]]:
    """Another worker, for which barriers wait; yields the revisions that it has applied. A deaf one none."""
    applied: list[int] = []
    store = RowStore(desk.backend)
    await store.join(name, ttl_s=60)

    async def follow() -> None:
        async for batch in store.watch((Account,)):
            applied.append(batch.revision)
            await store.acknowledge(name, batch.revision)

    following = None if is_deaf else asyncio.create_task(follow())
    try:
        yield applied
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await store.leave(name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "BARRIER_S", SHORT_S)
    monkeypatch.setattr(accounts_module, "KNOWN_S", SHORT_S)


# Signing in


async def test_a_first_sign_in_makes_an_account(desk: Desk) -> None:
    account = await desk.accounts.remember(ALICE)
    assert account == await desk.get()
    spec = account.spec
    assert (spec.user, spec.claims, spec.claims_at) == ("github:1", CLAIMS, desk.clock.now)
    assert (spec.decision, spec.epoch) == (Decision.NONE, 0)
    assert await desk.actors() == ["gateway:one"]


async def test_another_sign_in_brings_new_claims_and_leaves_the_rest(desk: Desk) -> None:
    first = await desk.accounts.remember(ALICE)
    await desk.accounts.decide(ALICE.user, Decision.APPROVED, "operator")
    desk.clock.now += timedelta(hours=1)
    again = Identity("github", "1", Claims(login="alice2", emails=()))
    account = await desk.accounts.remember(again)
    assert (account.uid, account.spec.user) == (first.uid, first.spec.user)
    assert (account.spec.claims, account.spec.claims_at) == (again.claims, desk.clock.now)
    assert (account.spec.decision, account.spec.epoch) == (Decision.APPROVED, 1)


async def test_a_sign_in_that_says_the_same_counts_as_one(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    desk.clock.now += timedelta(hours=1)
    await desk.accounts.remember(ALICE)
    assert (await desk.get()).spec.claims_at == desk.clock.now


async def test_a_sign_in_lifts_no_ban(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    await desk.accounts.decide(ALICE.user, Decision.BANNED, "operator")
    account = await desk.accounts.remember(ALICE)
    assert account.spec.decision is Decision.BANNED


async def test_two_people_who_sign_in_together_each_have_an_account(desk: Desk) -> None:
    people = [Identity("github", str(number), CLAIMS) for number in range(20)] * 2
    await asyncio.gather(*(desk.accounts.remember(one) for one in people))
    assert len(await desk.store.read(lambda tx: tx.list(Account))) == 20


async def test_every_worker_knows_who_signed_in_before_they_are_sent_on(desk: Desk) -> None:
    async with worker(desk) as applied:
        account = await desk.accounts.remember(ALICE)
        assert max(applied) >= account.metadata.resource_version


@pytest.mark.usefixtures("impatient")
async def test_a_worker_that_does_not_answer_keeps_nobody_out(desk: Desk) -> None:
    async with worker(desk, is_deaf=True):
        with capture_logs() as logs:
            account = await desk.accounts.remember(ALICE)
    assert account == await desk.get()
    assert [line["event"] for line in logs] == ["account.unheard"]
    assert "alice" not in str(logs)


# Deciding, and withdrawing

CHANGES: dict[str, Callable[[Accounts], Any]] = {
    "a decision": lambda accounts: accounts.decide(ALICE.user, Decision.BANNED, "operator"),
    "signing out": lambda accounts: accounts.sign_out(ALICE.user),
    "forgetting": lambda accounts: accounts.forget(ALICE.user),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_every_worker_knows_when_it_returns(desk: Desk, change: Callable[[Accounts], Any]) -> None:
    await desk.accounts.remember(ALICE)
    async with worker(desk) as applied:
        await change(desk.accounts)
        assert applied[-1] == await desk.store.revision()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_it_stands_though_a_worker_does_not_answer(
    desk: Desk, change: Callable[[Accounts], Any]
) -> None:
    before = await desk.accounts.remember(ALICE)
    async with worker(desk, is_deaf=True):
        with capture_logs() as logs, pytest.raises(Problem) as refused:
            await change(desk.accounts)
    assert (refused.value.status, refused.value.reason) == (503, "NotAnnounced")
    assert [line["event"] for line in logs] == ["revocation.unheard"]
    assert "other" in logs[0]["why"], "the line names the worker"
    assert await desk.find() != before


async def test_a_decision_says_whose_it_is_and_raises_the_epoch(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    await desk.accounts.decide(ALICE.user, Decision.BANNED, "operator")
    spec = (await desk.get()).spec
    assert (spec.decision, spec.epoch, spec.claims) == (Decision.BANNED, 1, CLAIMS)
    assert (await desk.actors())[-1] == "operator"
    await desk.accounts.decide(ALICE.user, Decision.BANNED, "operator")
    assert (await desk.get()).spec.epoch == 2, "who asks again, after a silence, is heard again"


async def test_a_decision_replaces_only_what_it_is_meant_for(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    revision = await desk.store.revision()
    banned = (Decision.BANNED,)
    assert not await desk.accounts.decide(ALICE.user, Decision.NONE, "operator", only_from=banned)
    assert await desk.store.revision() == revision
    assert await desk.accounts.decide(ALICE.user, Decision.BANNED, "operator")
    assert await desk.accounts.decide(ALICE.user, Decision.NONE, "operator", only_from=banned)
    assert (await desk.get()).spec.decision is Decision.NONE


async def test_nothing_is_decided_of_who_never_signed_in(desk: Desk) -> None:
    with pytest.raises(NotFound, match=r"github:2 has never signed in"):
        await desk.accounts.decide(BOB.user, Decision.APPROVED, "operator")
    assert await desk.find(BOB) is None


async def test_an_epoch_rises_for_its_user_alone(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    await desk.accounts.remember(BOB)
    await desk.accounts.sign_out(ALICE.user)
    assert [(await desk.get(one)).spec.epoch for one in (ALICE, BOB)] == [1, 0]


@pytest.mark.parametrize("change", [CHANGES[name] for name in ("signing out", "forgetting")])
async def test_whoever_has_no_account_needs_none(desk: Desk, change: Callable[[Accounts], Any]) -> None:
    revision = await desk.store.revision()
    await change(desk.accounts)
    assert await desk.store.revision() == revision
    assert await desk.find() is None


async def test_signing_out_puts_the_time_on_record(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    desk.clock.now += timedelta(hours=1)
    await desk.accounts.sign_out(ALICE.user)
    spec = (await desk.get()).spec
    assert (spec.signed_out_at, spec.epoch) == (desk.clock.now, 1)


async def test_an_account_that_is_forgotten_begins_anew(desk: Desk) -> None:
    first = await desk.accounts.remember(ALICE)
    await desk.accounts.decide(ALICE.user, Decision.APPROVED, "operator")
    await desk.accounts.forget(ALICE.user)
    assert await desk.find() is None
    again = await desk.accounts.remember(ALICE)
    assert again.uid != first.uid
    assert again.spec.decision is Decision.NONE


async def test_a_ban_outlives_the_account(desk: Desk) -> None:
    """Else whoever is banned would delete the account, and come in as somebody new."""
    await desk.accounts.remember(ALICE)
    await desk.accounts.decide(ALICE.user, Decision.BANNED, "operator")
    await desk.accounts.forget(ALICE.user)
    spec = (await desk.get()).spec
    assert (spec.decision, spec.claims) == (Decision.BANNED, Claims())


# Announcing


async def test_grants_that_ended_are_announced_to_every_worker(desk: Desk) -> None:
    for one in (ALICE, BOB):
        await desk.accounts.remember(one)
    await desk.end("g1", ALICE.user)
    await desk.end("g2", ALICE.user)
    async with worker(desk) as applied:
        await desk.announcer.announce()
        assert applied[-1] == await desk.store.revision()
    assert await desk.unannounced() == []
    assert [(await desk.get(one)).spec.epoch for one in (ALICE, BOB)] == [1, 0]


async def test_with_nothing_to_announce_nothing_is_written(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    revision = await desk.store.revision()
    await desk.announcer.announce()
    assert await desk.store.revision() == revision


async def test_all_users_of_a_round_are_one_transaction(desk: Desk) -> None:
    people = [Identity("github", str(number), CLAIMS) for number in range(10)]
    for one in people:
        await desk.accounts.remember(one)
        await desk.end(f"g{one.subject}", one.user)
    revision = await desk.store.revision()
    await desk.announcer.announce()
    assert await desk.store.revision() == revision + 1
    assert {(await desk.get(one)).spec.epoch for one in people} == {1}


async def test_more_than_a_round_takes_are_all_announced(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "ANNOUNCED_AT_ONCE_MAX", 2)
    await desk.accounts.remember(ALICE)
    for number in range(5):
        await desk.end(f"g{number}", ALICE.user)
    await desk.announcer.announce()
    assert await desk.unannounced() == []
    assert (await desk.get()).spec.epoch == 3


async def test_it_does_not_go_on_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "ANNOUNCED_AT_ONCE_MAX", 1)
    monkeypatch.setattr(accounts_module, "ROUNDS_MAX", 2)
    for number in range(3):
        await desk.end(f"g{number}", ALICE.user)
    with pytest.raises(Problem):
        await desk.announcer.announce()
    assert len(await desk.unannounced()) == 1


async def test_the_end_of_a_grant_without_an_account_makes_none(desk: Desk) -> None:
    await desk.end("g1", "app:shop.1")
    async with worker(desk):
        await desk.announcer.announce()
    assert await desk.unannounced() == []
    assert await desk.store.read(lambda tx: tx.list(Account)) == []


@pytest.mark.usefixtures("impatient")
async def test_what_a_worker_has_not_heard_is_announced_by_a_later_call(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    await desk.end("g1", ALICE.user)
    async with worker(desk, is_deaf=True):
        with capture_logs() as logs, pytest.raises(Problem) as refused:
            await desk.announcer.announce()
    assert (refused.value.status, refused.value.reason) == (503, "NotAnnounced")
    assert [line["event"] for line in logs] == ["revocation.unheard"]
    assert await desk.unannounced() == ["g1"]
    await desk.announcer.announce()
    assert await desk.unannounced() == []


class DyingAt:
    """Stands before an object and raises the ``call``-th time that ``method`` is called; others pass."""

    def __init__(self, target: Any, method: str) -> None:
        self._target, self._method, self.is_dying = target, method, True

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name != self._method:
            return found

        async def die(*args: Any, **named: Any) -> Any:
            if self.is_dying:
                raise Unavailable("the power went")
            return await found(*args, **named)

        return die


@pytest.mark.parametrize(
    ("of_store", "method"),
    [(False, "read"), (True, "transact"), (True, "barrier"), (False, "transact")],
    ids=["before it begins", "before the epoch", "before the barrier", "before it is put on record"],
)
async def test_after_a_death_between_the_steps_the_next_call_mends_it(
    desk: Desk, of_store: bool, method: str
) -> None:
    await desk.accounts.remember(ALICE)
    await desk.end("g1", ALICE.user)
    dying = DyingAt(desk.store if of_store else desk.auth, method)
    parts: Any = (desk.auth, dying) if of_store else (dying, desk.store)
    announcer = Announcer(*parts, worker="dying")
    with pytest.raises(Unavailable):
        await announcer.announce()
    assert await desk.unannounced() == ["g1"]
    dying.is_dying = False
    async with worker(desk) as applied:
        await announcer.announce()
        assert applied[-1] == await desk.store.revision()
    assert await desk.unannounced() == []
    assert (await desk.get()).spec.epoch >= 1


async def test_one_at_a_time_announces_and_each_caller_hears_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.accounts.remember(ALICE)
    barrier = desk.store.barrier
    inside_count = most_count = barriers_count = 0

    async def slowly(*args: Any) -> None:
        nonlocal inside_count, most_count, barriers_count
        inside_count, barriers_count = inside_count + 1, barriers_count + 1
        most_count = max(most_count, inside_count)
        await asyncio.sleep(0.01)
        await barrier(*args)
        inside_count -= 1

    monkeypatch.setattr(desk.store, "barrier", slowly)

    async def withdraw(number: int) -> None:
        await desk.end(f"g{number}", ALICE.user)
        await desk.announcer.announce()
        assert f"g{number}" not in await desk.unannounced()

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(withdraw(number) for number in range(20)))
    assert most_count == 1
    assert barriers_count < 20, "those who wait are served together"


async def test_a_caller_who_gives_up_hinders_nobody(desk: Desk) -> None:
    await desk.accounts.remember(ALICE)
    await desk.end("g1", ALICE.user)
    async with worker(desk, is_deaf=True):
        waiting = asyncio.create_task(desk.announcer.announce())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(PATIENCE_S):
        await desk.announcer.announce()
    assert await desk.unannounced() == []
