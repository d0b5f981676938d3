"""Who may come in, and as what: a pure function of an Account, the policies, the settings and the time.

Decides by what stands in the Account's snapshot of claims alone; refuses to know the store, the clock and the
provider. What is not known is never guessed: a rule that needs a claim which the snapshot lacks asks for
another sign-in, be it one that lets in or one that keeps out. Next: :mod:`gateway.auth.people`, which asks.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from state.kinds.access_policy import ANY_PROVIDER, REVERIFY_AFTER_S, AccessPolicy, Role, Rule
from state.kinds.account import Account, Decision, folded

FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)
AHEAD_S_MAX: Final = 300.0  # how far a snapshot may lie in the future: clocks differ, and are set back

# What people read. It says what they can do, and not which rule met them. ASCII without quotes, as an
# error_description has to be (RFC 6749 section 5.2).
TOO_OLD: Final = "Your last sign-in is too long ago. Sign in again."
NOT_SAID: Final = (
    "What your provider said of you when you signed in is not enough to let you in. Sign in again, and allow "
    "everything that is asked for."
)
CLOSED: Final = "An operator has closed this account."
NOT_LET_IN: Final = "Nobody has let you in here. Ask whoever runs this gateway."


@dataclass(frozen=True, slots=True)
class House:
    """What the settings say. Addresses compare without regard to case.

    ``admin_emails``: ``provider:address``, or an address alone, of which any provider's word will do.
    """

    admin_emails: frozenset[str]
    default_template: str
    keeps_unmatched: bool  # whoever matches no rule waits for an admin, instead of being refused


@dataclass(frozen=True, slots=True)
class Admitted:
    """``until``: from then on the snapshot is too old, and they have to sign in again."""

    template: str
    role: Role
    until: datetime


@dataclass(frozen=True, slots=True)
class SignInAgain:
    why: str


@dataclass(frozen=True, slots=True)
class Pending:
    """An admin has to approve them first."""


@dataclass(frozen=True, slots=True)
class Refused:
    why: str


Admission: TypeAlias = Admitted | SignInAgain | Pending | Refused


class Judgement(NamedTuple):
    """``because`` is for the operator, and names the rule."""

    admission: Admission
    because: str


class Wanted(NamedTuple):
    """What a sign-in at GitHub has to ask for besides who it is."""

    organizations: bool
    teams: bool


def judged(account: Account, policies: Sequence[AccessPolicy], house: House, now: datetime) -> Judgement:
    """Whether ``account`` may come in at ``now``, and why. ``policies`` in the order of their names.

    A ban stands above all, ADMIN_EMAILS above every rule; then the first rule that matches decides. Of each
    policy on the way the snapshot has to be young enough, so that one that no longer is cannot match.
    """
    if account.spec.decision is Decision.BANNED:
        return Judgement(Refused(CLOSED), "banned")
    age = _Age(account, now)
    if is_named_admin(account, house):
        return Judgement(_by_name(house, Role.ADMIN, age, REVERIFY_AFTER_S), "ADMIN_EMAILS")
    reverify_after_s = float("inf")
    for policy in policies:
        reverify_after_s = min(reverify_after_s, policy.spec.reverify_after)
        if age.is_over(reverify_after_s):
            return Judgement(SignInAgain(TOO_OLD), f"reverifyAfter of {policy.name}")
        for number, rule in enumerate(policy.spec.rules, 1):
            found = _by_rule(rule, account, house, age.until(reverify_after_s))
            if found is not None:
                return Judgement(found, f"rule {number} of {policy.name}")
    return _unmatched(account, house, age, reverify_after_s)


def wants(policies: Iterable[AccessPolicy]) -> Wanted:
    """Which claims of GitHub's any rule needs; nothing else is asked for."""
    rules = [rule for policy in policies for rule in policy.spec.rules]
    return Wanted(
        organizations=any(rule.organization is not None for rule in rules),
        teams=any(rule.team is not None for rule in rules),
    )


class _Age:
    """How long an Account's snapshot of claims may still be believed."""

    def __init__(self, account: Account, now: datetime) -> None:
        self._at = account.spec.claims_at
        self._now = now

    def until(self, reverify_after_s: float) -> datetime:
        return self._at + timedelta(seconds=reverify_after_s)

    def is_over(self, reverify_after_s: float) -> bool:
        """Also where it was taken in a time that is not yet: no clock can tell how old it is."""
        is_ahead = self._at > self._now + timedelta(seconds=AHEAD_S_MAX)
        return is_ahead or self._now >= self.until(reverify_after_s)


def is_named_admin(account: Account, house: House) -> bool:
    """Whether ADMIN_EMAILS names them.

    Whoever's addresses are not known is none: it only ever gives, so passing over it lets nobody in. No
    provider's word reaches an entry of another provider, be it that an address looks like such an entry.
    """
    provider = account.spec.user.partition(":")[0]
    admins = {folded(email) for email in house.admin_emails}
    for email in map(folded, account.spec.claims.emails or ()):
        if f"{provider}:{email}" in admins or (":" not in email and email in admins):
            return True
    return False


def _by_rule(rule: Rule, account: Account, house: House, until: datetime) -> Admission | None:
    """What the rule says of them; None where it does not speak of them."""
    conditions = list(_conditions(rule, account))
    if False in conditions:
        return None
    if None in conditions:
        return SignInAgain(NOT_SAID)
    if not rule.allow:
        return Refused(NOT_LET_IN)
    return Admitted(rule.template or house.default_template, rule.role, until)


def _conditions(rule: Rule, account: Account) -> Iterator[bool | None]:
    """Each condition that the rule names: whether it is met; None: the snapshot does not tell."""
    user, claims = account.spec.user, account.spec.claims
    if rule.provider != ANY_PROVIDER:
        yield rule.provider == user.partition(":")[0]
    if rule.users is not None:
        yield user in rule.users
    if rule.email is not None:
        yield _is_among(rule.email, claims.emails)
    if rule.email_domain is not None:
        domains = None if claims.emails is None else [email.rpartition("@")[2] for email in claims.emails]
        yield _is_among(rule.email_domain, domains)
    if rule.organization is not None:
        yield _is_among(rule.organization, claims.organizations)
    if rule.team is not None:
        yield _is_among(rule.team, claims.teams)


def _is_among(wanted: str, claimed: Iterable[str] | None) -> bool | None:
    return None if claimed is None else folded(wanted) in map(folded, claimed)


def _unmatched(account: Account, house: House, age: _Age, reverify_after_s: float) -> Judgement:
    if account.spec.decision is Decision.APPROVED:
        reverify_after_s = min(reverify_after_s, REVERIFY_AFTER_S)
        return Judgement(_by_name(house, Role.USER, age, reverify_after_s), "approved")
    if house.keeps_unmatched:
        return Judgement(Pending(), "no rule matches; UNMATCHED_USERS=pending")
    return Judgement(Refused(NOT_LET_IN), "no rule matches")


def _by_name(house: House, role: Role, age: _Age, reverify_after_s: float) -> Admission:
    """For whom the settings or an admin let in by themselves, whatever the rules say."""
    if age.is_over(reverify_after_s):
        return SignInAgain(TOO_OLD)
    return Admitted(house.default_template, role, age.until(reverify_after_s))
