"""What an admin can decide of somebody, and how that and what holds of them is said.

Decides the words, which are the same at the operator's verbs (:mod:`mcpgw.people`) and at the admin's pages
(:mod:`gateway.pages.admin`). What holds of somebody is :mod:`gateway.auth.admission`'s to judge, and that a
decision is in force on every worker is :mod:`gateway.auth.accounts`'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from gateway.auth.accounts import Accounts
from gateway.auth.admission import Admission, Admitted, Judgement, Pending, Refused, SignInAgain
from state.kinds.account import Claims, Decision


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to decide. ``only_from``: what it replaces; ``otherwise``: what is said where it does not."""

    decision: Decision
    done: str
    only_from: frozenset[Decision] = frozenset(Decision)
    otherwise: str = ""


APPROVE: Final = Act(
    Decision.APPROVED,
    "approved",
    frozenset({Decision.NONE, Decision.APPROVED}),
    "is banned, and an approval lifts no ban: unban first",
)
BAN: Final = Act(Decision.BANNED, "banned")
UNBAN: Final = Act(Decision.NONE, "no longer banned", frozenset({Decision.BANNED}), "was not banned")
ACTS: Final[Mapping[str, Act]] = {"approve": APPROVE, "ban": BAN, "unban": UNBAN}


async def carry_out(act: Act, user: str, accounts: Accounts, actor: str) -> bool:
    """Decide it, in force on every worker; whether it was, or could not be for what stands already.

    Raises NotFound for who never signed in, StoreError; Problem (503) where a worker does not answer.
    """
    return await accounts.decide(user, act.decision, actor, only_from=act.only_from)


def outcome(act: Act, user: str, judgement: Judgement) -> str:
    """What is said once it is done: a rule may stand against it."""
    return f"{user} is {act.done}; now: {in_words(judgement.admission)} ({judgement.because})"


def nothing_done(act: Act, user: str) -> str:
    return f"{user} {act.otherwise}; nothing is changed"


def in_words(admission: Admission) -> str:
    """What holds of somebody."""
    match admission:
        case Admitted(template, role):
            return f"{role}, template {template}"
        case SignInAgain():
            return "has to sign in again"
        case Pending():
            return "waits for approval"
        case Refused():
            return "refused"
    assert_never(admission)


def name_in_words(claims: Claims) -> str:
    """What a provider calls somebody; empty where it said nothing."""
    return claims.login or claims.name


def emails_in_words(claims: Claims, shown_max: int | None = None) -> str:
    """Their verified addresses, or so many of them."""
    if claims.emails is None:
        return "not known"
    shown = claims.emails[:shown_max]
    more = len(claims.emails) - len(shown)
    return (",".join(shown) + (f" and {more} more" if more else "")) or "none"
