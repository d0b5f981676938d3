"""The operator's verbs about people: who signed in, whether they may come in, and to decide it by hand.

Decides how that is said. What the policies say of somebody is :mod:`gateway.auth.admission`'s, and that a
decision is in force on every worker is :mod:`gateway.auth.accounts`'.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, assert_never

from gateway.auth.accounts import Accounts
from gateway.auth.admission import (
    Admission,
    Admitted,
    House,
    Judgement,
    Pending,
    Refused,
    SignInAgain,
    judged,
)
from gateway.problems import Problem
from gateway.settings import GatewaySettings
from mcpgw.verbs import aligned, local, with_store
from state.kinds.access_policy import AccessPolicy, Role
from state.kinds.account import Account, Decision, folded
from state.kinds.app import App, app_of
from state.manifests.problem import did_you_mean
from state.settings import load_settings
from state.store.port import Store, Tx

ACTOR: Final = "operator"
NAMES_SHOWN_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class _Town:
    """Everybody who signed in, and all that decides on them."""

    accounts: Sequence[Account]
    policies: Sequence[AccessPolicy]
    templates: dict[str, str]  # of Apps

    def account(self, user: str) -> Account | None:
        return next((one for one in self.accounts if one.spec.user == user), None)


def users(env_file: Path) -> int:
    """A line for everybody who signed in."""
    house = _house(env_file)
    town = with_store(env_file, _town)
    rows = [_row(account, _judgement(account, town, house)) for account in town.accounts]
    header = ("USER", "LOGIN", "E-MAILS", "SIGNED IN", "NOW", "BECAUSE")
    print(aligned([header, *rows]) if rows else "nobody has signed in yet")
    return 0


def approve(env_file: Path, user: str) -> int:
    """Let somebody in though no rule matches them."""
    return _decide(env_file, user, Decision.APPROVED, "approved")


def ban(env_file: Path, user: str) -> int:
    """Keep somebody out, from the next request on."""
    return _decide(env_file, user, Decision.BANNED, "banned")


def unban(env_file: Path, user: str) -> int:
    """Leave it to the rules again; an approval stays one."""
    return _decide(env_file, user, Decision.NONE, "no longer banned", only_from=Decision.BANNED)


def _decide(
    env_file: Path, user: str, decision: Decision, done: str, *, only_from: Decision | None = None
) -> int:
    house = _house(env_file)

    async def write(store: Store) -> tuple[_Town, bool]:
        account = (await _town(store)).account(user)
        may = account is not None and only_from in (None, account.spec.decision)
        if may:
            await Accounts(store, worker="mcpgw").decide(user, decision, ACTOR)
        return await _town(store), may

    try:
        town, is_done = with_store(env_file, write)
    except Problem as problem:
        print(f"mcpgw: {user} is {done}. {problem.title}: {problem.detail}", file=sys.stderr)
        return 1
    account = town.account(user)
    if account is None:
        print(f"mcpgw: {_plain(user)} has never signed in; {_meant(user, town.accounts)}", file=sys.stderr)
        return 1
    if not is_done:
        print(f"{user} was not banned; nothing is changed")
        return 0
    now, because = _said(_judgement(account, town, house))
    print(f"{user} is {done}; now: {now} ({because})")
    return 0


def _house(env_file: Path) -> House:
    settings = load_settings(GatewaySettings, env_file=env_file)
    keeps_unmatched = settings.unmatched_users == "pending"
    return House(frozenset(settings.admin_emails), settings.default_template, keeps_unmatched)


async def _town(store: Store) -> _Town:
    def read(tx: Tx) -> _Town:
        accounts = sorted(tx.list(Account), key=lambda account: account.spec.user)
        templates = {app.name: app.spec.template for app in tx.list(App)}
        return _Town(accounts, tx.list(AccessPolicy), templates)

    return await store.read(read)


def _judgement(account: Account, town: _Town, house: House) -> Judgement:
    """As the gateway judges, which does not hold policies against an App's users (the local developer)."""
    now = datetime.now(UTC)
    app = app_of(account.spec.user)
    if not app or account.spec.decision is Decision.BANNED:
        return judged(account, town.policies, house, now)
    template = town.templates.get(app, house.default_template)
    return Judgement(Admitted(template, Role.USER, now), f"a user of App {app}")


def _row(account: Account, judgement: Judgement) -> tuple[str, ...]:
    spec = account.spec
    emails = "not known" if spec.claims.emails is None else ",".join(spec.claims.emails) or "none"
    login = spec.claims.login or spec.claims.name
    return spec.user, _plain(login), _plain(emails), local(spec.claims_at), *_said(judgement)


def _said(judgement: Judgement) -> tuple[str, str]:
    return _in_words(judgement.admission), judgement.because


def _in_words(admission: Admission) -> str:
    match admission:
        case Admitted(template, role):
            return f"{role}, template {template}"
        case SignInAgain():
            return "has to sign in again"
        case Pending():
            return "waits for `mcpgw approve`"
        case Refused():
            return "refused"
    assert_never(admission)


def _meant(word: str, accounts: Iterable[Account]) -> str:
    """Whom ``word`` may stand for. A login or an address is never taken for a user: it may change hands."""
    by_name: dict[str, list[str]] = {}
    for account in accounts:
        spec = account.spec
        for name in {spec.user, spec.claims.login, *(spec.claims.emails or ())} - {""}:
            by_name.setdefault(folded(name), []).append(spec.user)
    close = folded(word) if folded(word) in by_name else did_you_mean(folded(word), by_name)
    if close is None:
        return "`mcpgw users` lists who has"
    return f"did you mean {' or '.join(by_name[close][:NAMES_SHOWN_MAX])}?"


def _plain(text: str) -> str:
    """What a provider says of somebody may hold what a terminal obeys."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
