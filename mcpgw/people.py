"""The operator's verbs about people: who signed in, whether they may come in, and to decide it by hand.

Decides how that is printed. What is done, and the words, are :mod:`gateway.auth.decisions`', which the
admin's pages share.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gateway.auth.accounts import Accounts
from gateway.auth.admission import House
from gateway.auth.decisions import (
    APPROVE,
    BAN,
    UNBAN,
    Act,
    carry_out,
    emails_in_words,
    in_words,
    name_in_words,
    nothing_done,
    outcome,
)
from gateway.auth.people import People
from gateway.problems import Problem
from gateway.routes.table import Table
from gateway.settings import GatewaySettings
from mcpgw.terminal import aligned, local, plain
from mcpgw.verbs import with_store
from state.kinds.access_policy import AccessPolicy
from state.kinds.account import Account, folded
from state.kinds.app import App
from state.manifests.problem import did_you_mean
from state.settings import load_settings
from state.store.port import Batch, Store, Tx

ACTOR: Final = "operator"
NAMES_SHOWN_MAX: Final = 3


def users(env_file: Path) -> int:
    """A line for everybody who signed in."""
    settings = load_settings(GatewaySettings, env_file=env_file)
    table = with_store(env_file, _table)
    people = _people(table, settings)
    rows = [_row(account, people) for account in _by_user(table)]
    header = ("USER", "LOGIN", "E-MAILS", "SIGNED IN", "NOW", "BECAUSE")
    print(aligned([header, *rows]) if rows else "nobody has signed in yet")
    return 0


def approve(env_file: Path, user: str) -> int:
    """Let somebody in though no rule matches them."""
    return _decide(env_file, user, APPROVE)


def ban(env_file: Path, user: str) -> int:
    """Keep somebody out, from the next request on."""
    return _decide(env_file, user, BAN)


def unban(env_file: Path, user: str) -> int:
    """Leave it to the rules again; an approval stays one."""
    return _decide(env_file, user, UNBAN)


def _decide(env_file: Path, user: str, act: Act) -> int:
    settings = load_settings(GatewaySettings, env_file=env_file)

    async def write(store: Store) -> tuple[Table, bool]:
        is_known = (await _table(store)).account(user) is not None
        is_done = is_known and await carry_out(act, user, Accounts(store, worker="mcpgw"), ACTOR)
        return await _table(store), is_done

    try:
        table, is_done = with_store(env_file, write)
    except Problem as problem:
        print(f"mcpgw: {user} is {act.done}. {problem.title}: {problem.detail}", file=sys.stderr)
        return 1
    account = table.account(user)
    if account is None:
        meant = _meant(user, _by_user(table))
        print(f"mcpgw: {plain(user)} has never signed in; {meant}", file=sys.stderr)
        return 1
    judgement = _people(table, settings).judgement(account)
    print(outcome(act, user, judgement) if is_done else nothing_done(act, user))
    return 0


async def _table(store: Store) -> Table:
    """Everybody who signed in, and all that decides on them, as a gateway worker knows it."""

    def read(tx: Tx) -> Batch:
        return Batch(tx.revision, (*tx.list(Account), *tx.list(AccessPolicy), *tx.list(App)), ())

    table = Table()
    table.replace(await store.read(read))
    return table


def _people(table: Table, settings: GatewaySettings) -> People:
    """Who judges as the gateway does; that it listens on this machine alone is taken for granted."""
    keeps_unmatched = settings.unmatched_users == "pending"
    house = House(frozenset(settings.admin_emails), settings.default_template, keeps_unmatched)
    return People(table, house, has_local_sign_in=not settings.oauth_providers)


def _by_user(table: Table) -> list[Account]:
    return sorted(table.accounts, key=lambda account: account.spec.user)


def _row(account: Account, people: People) -> tuple[str, ...]:
    spec, judgement = account.spec, people.judgement(account)
    login, emails = plain(name_in_words(spec.claims)), plain(emails_in_words(spec.claims))
    now = in_words(judgement.admission)
    return spec.user, login, emails, local(spec.claims_at), now, judgement.because


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
