"""Who is let in: every row of the rules, and what holds whatever the rules are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.admission import (
    AHEAD_S_MAX,
    CLOSED,
    NOT_LET_IN,
    NOT_SAID,
    TOO_OLD,
    Admission,
    Admitted,
    House,
    Pending,
    Refused,
    SignInAgain,
    judged,
    wants,
)
from state.kinds.access_policy import REVERIFY_AFTER_S, AccessPolicy, AccessPolicySpec, Role, Rule
from state.kinds.account import Account, AccountSpec, Claims, Decision, account_name
from state.kinds.resource import Metadata

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUSE = House(frozenset({"Root@Example.com"}), "demo", keeps_unmatched=False)
KEEPING = replace(HOUSE, keeps_unmatched=True)
KELVIN = "\N{KELVIN SIGN}"  # its lower case is the letter k


def account(
    user: str = "github:1",
    *,
    age_s: float = 60.0,
    decision: Decision = Decision.NONE,
    **claims: Any,
) -> Account:
    spec = AccountSpec(
        user=user,
        claims=Claims(**claims),
        claims_at=NOW - timedelta(seconds=age_s),
        decision=decision,
    )
    return Account(metadata=Metadata(name=account_name(user)), spec=spec)


def policy(*rules: dict[str, Any], name: str = "default", **spec: Any) -> AccessPolicy:
    content = AccessPolicySpec.model_validate({"rules": rules, **spec})
    return AccessPolicy(metadata=Metadata(name=name), spec=content)


def admission(who: Account, policies: Sequence[AccessPolicy], house: House, now: datetime) -> Admission:
    return judged(who, policies, house, now).admission


def admitted(template: str = "demo", role: Role = Role.USER, *, for_s: float = REVERIFY_AFTER_S) -> Admitted:
    return Admitted(template, role, NOW - timedelta(seconds=60) + timedelta(seconds=for_s))


ALICE = account(
    emails=("alice@example.com", "alice@home.example"),
    organizations=("acme",),
    teams=("acme/developers",),
)
ANYBODY = {"provider": "any"}
NOBODY = {"provider": "any", "allow": False}


@dataclass(frozen=True)
class Case:
    because: str
    rules: list[dict[str, Any]]
    comes_of_it: Admission
    who: Account = ALICE
    house: House = HOUSE


CASES = [
    Case("by default nobody comes in", [], Refused(NOT_LET_IN)),
    Case("whoever matches nothing waits, if that is set", [], Pending(), house=KEEPING),
    Case("a refusal is none to wait for", [NOBODY], Refused(NOT_LET_IN), house=KEEPING),
    Case("a rule for everybody lets in", [ANYBODY], admitted()),
    Case("a rule names template and role", [{**ANYBODY, "template": "big", "role": "admin"}],
         admitted("big", Role.ADMIN)),
    Case("a provider", [{"provider": "github"}], admitted()),
    Case("another provider", [{"provider": "google"}], Refused(NOT_LET_IN)),
    Case("a provider that begins alike", [{"provider": "git"}], Refused(NOT_LET_IN)),
    Case("an address", [{"email": "alice@home.example"}], admitted()),
    Case("an address in other case", [{"email": "Alice@HOME.example"}], admitted()),
    Case("another address", [{"email": "bob@example.com"}], Refused(NOT_LET_IN)),
    Case("a domain", [{"emailDomain": "Example.COM"}], admitted()),
    Case("a domain above it", [{"emailDomain": "example"}], Refused(NOT_LET_IN)),
    Case("a domain below it", [{"emailDomain": "mail.example.com"}], Refused(NOT_LET_IN)),
    Case("the end of a domain", [{"emailDomain": "ample.com"}], Refused(NOT_LET_IN)),
    Case("a domain in front of another @", [{"emailDomain": "example.com"}], Refused(NOT_LET_IN),
         who=account(emails=('"x@example.com"@evil.example',))),
    Case("a letter that only Unicode takes for another", [{"email": "kim@example.com"}], Refused(NOT_LET_IN),
         who=account(emails=(f"{KELVIN}im@example.com",))),
    Case("an organization", [{"provider": "github", "organization": "ACME"}], admitted()),
    Case("the beginning of an organization", [{"provider": "github", "organization": "acm"}],
         Refused(NOT_LET_IN)),
    Case("a team", [{"provider": "github", "team": "Acme/Developers"}], admitted()),
    Case("another organization's team", [{"provider": "github", "team": "other/developers"}],
         Refused(NOT_LET_IN)),
    Case("a user", [{"users": ["github:2", "github:1"]}], admitted()),
    Case("other users", [{"users": ["github:10", "google:1"]}], Refused(NOT_LET_IN)),
    Case("all conditions of a rule", [{"emailDomain": "example.com", "users": ["github:1"]}], admitted()),
    Case("all conditions but one", [{"emailDomain": "example.com", "users": ["github:2"]}],
         Refused(NOT_LET_IN)),
    Case("the first that matches lets in", [{"users": ["github:1"]}, NOBODY], admitted()),
    Case("the first that matches keeps out", [{"users": ["github:1"], "allow": False}, ANYBODY],
         Refused(NOT_LET_IN)),
    Case("the first that matches gives the template",
         [{"provider": "google", "template": "one"}, {"provider": "github", "template": "two"},
          {**ANYBODY, "template": "three"}], admitted("two")),
    # What the snapshot does not tell
    Case("an address that is not known", [{"email": "alice@example.com"}], SignInAgain(NOT_SAID),
         who=account()),
    Case("a domain that is not known", [{"emailDomain": "example.com"}], SignInAgain(NOT_SAID),
         who=account()),
    Case("organizations that are not known", [{"provider": "github", "organization": "acme"}, ANYBODY],
         SignInAgain(NOT_SAID), who=account(emails=())),
    Case("teams that are not known, and would keep out",
         [{"provider": "github", "team": "acme/fired", "allow": False}, ANYBODY],
         SignInAgain(NOT_SAID), who=account()),
    Case("unknown teams of somebody whom the rule does not mean",
         [{"provider": "github", "team": "acme/fired", "users": ["github:2"], "allow": False}, ANYBODY],
         admitted(), who=account()),
    Case("unknown organizations at another provider",
         [{"provider": "github", "organization": "acme"}, ANYBODY], admitted(), who=account("google:1")),
    Case("an approval does not stand in for what is unknown", [{"email": "alice@example.com"}],
         SignInAgain(NOT_SAID), who=account(decision=Decision.APPROVED)),
    Case("no addresses at all are known ones", [{"emailDomain": "example.com"}], Refused(NOT_LET_IN),
         who=account(emails=())),
    # What stands beside the rules
    Case("a ban", [ANYBODY], Refused(CLOSED), who=account(decision=Decision.BANNED)),
    Case("a ban of an admin", [ANYBODY], Refused(CLOSED),
         who=account(decision=Decision.BANNED, emails=("root@example.com",))),
    Case("a ban of somebody whose sign-in is old", [ANYBODY], Refused(CLOSED),
         who=account(decision=Decision.BANNED, age_s=10 * REVERIFY_AFTER_S)),
    Case("an admin by address", [NOBODY], admitted("demo", Role.ADMIN),
         who=account(emails=("other@example.com", "ROOT@example.com"))),
    Case("nobody is an admin by an address that is not known", [], Refused(NOT_LET_IN), who=account()),
    Case("an approval", [], admitted(), who=account(decision=Decision.APPROVED)),
    Case("an approval beside a rule that keeps out", [NOBODY], Refused(NOT_LET_IN),
         who=account(decision=Decision.APPROVED)),
    Case("an approval beside a rule that lets in", [{**ANYBODY, "template": "big"}], admitted("big"),
         who=account(decision=Decision.APPROVED)),
    # What is too old
    Case("an old sign-in", [ANYBODY], SignInAgain(TOO_OLD), who=account(age_s=REVERIFY_AFTER_S)),
    Case("an old sign-in that a rule keeps out", [NOBODY], SignInAgain(TOO_OLD),
         who=account(age_s=REVERIFY_AFTER_S)),
    Case("an admin's old sign-in", [], SignInAgain(TOO_OLD),
         who=account(age_s=REVERIFY_AFTER_S, emails=("root@example.com",))),
    Case("an old sign-in of somebody approved", [], SignInAgain(TOO_OLD),
         who=account(age_s=REVERIFY_AFTER_S, decision=Decision.APPROVED)),
    Case("a sign-in in a time to come", [ANYBODY], SignInAgain(TOO_OLD), who=account(age_s=-AHEAD_S_MAX - 1)),
    Case("an admin's sign-in in a time to come", [], SignInAgain(TOO_OLD),
         who=account(age_s=-AHEAD_S_MAX - 1, emails=("root@example.com",))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.because for case in CASES])
def test_of(case: Case) -> None:
    policies = (policy(*case.rules),) if case.rules else ()
    assert admission(case.who, policies, case.house, NOW) == case.comes_of_it


def test_clocks_may_differ_a_little() -> None:
    found = admission(account(age_s=-AHEAD_S_MAX), (policy(ANYBODY),), HOUSE, NOW)
    assert isinstance(found, Admitted)


def test_each_policy_says_for_itself_how_old_a_sign_in_may_be() -> None:
    strict = policy({"users": ["github:2"]}, name="a", reverifyAfter="30s")
    lax = policy(ANYBODY, name="b", reverifyAfter="48h")
    old = account(age_s=REVERIFY_AFTER_S)
    assert isinstance(admission(old, (lax,), HOUSE, NOW), Admitted)
    assert admission(old, (lax, strict), HOUSE, NOW) == admission(old, (lax,), HOUSE, NOW)
    assert admission(old, (strict, lax), HOUSE, NOW) == SignInAgain(TOO_OLD)
    young = admission(account(age_s=10), (strict, lax), HOUSE, NOW)
    assert isinstance(young, Admitted)
    assert young.until == NOW + timedelta(seconds=20), "as long as every policy on the way still speaks"


def test_policies_come_in_the_order_given() -> None:
    first, second = policy({**ANYBODY, "template": "a"}, name="a"), policy(NOBODY, name="b")
    assert admission(ALICE, (first, second), HOUSE, NOW) == admitted("a")
    assert admission(ALICE, (second, first), HOUSE, NOW) == Refused(NOT_LET_IN)


@pytest.mark.parametrize(
    ("who", "rules", "because"),
    [
        (ALICE, [{"users": ["github:2"]}, ANYBODY], "rule 2 of default"),
        (ALICE, [], "no rule matches"),
        (account(age_s=REVERIFY_AFTER_S), [ANYBODY], "reverifyAfter of default"),
        (account(decision=Decision.BANNED), [ANYBODY], "banned"),
        (account(decision=Decision.APPROVED), [], "approved"),
        (account(emails=("root@example.com",)), [NOBODY], "ADMIN_EMAILS"),
    ],
)
def test_an_operator_is_told_what_decided(who: Account, rules: list[dict[str, Any]], because: str) -> None:
    policies = (policy(*rules),) if rules else ()
    assert judged(who, policies, HOUSE, NOW).because == because


@pytest.mark.parametrize(
    ("user", "named", "is_admin"),
    [
        ("google:1", "google:Ann@example.com", True),
        ("github:1", "google:ann@example.com", False),
        ("google2:1", "google:ann@example.com", False),
        ("github:1", "ann@example.com", True),
        ("google:1", "google:bob@example.com", False),
    ],
)
def test_an_admins_address_may_be_one_providers_word_alone(user: str, named: str, is_admin: bool) -> None:
    house = House(frozenset({named}), "demo", keeps_unmatched=False)
    found = admission(account(user, emails=("ann@EXAMPLE.com",)), (policy(NOBODY),), house, NOW)
    assert isinstance(found, Admitted) is is_admin


def test_no_address_passes_for_another_providers_word() -> None:
    """A local part may hold a colon, and a provider may vouch for whatever it likes."""
    house = House(frozenset({"google:ann@example.com"}), "demo", keeps_unmatched=False)
    for user in ("oidc:1", "google:1"):
        who = account(user, emails=("google:ann@example.com",))
        assert isinstance(admission(who, (policy(NOBODY),), house, NOW), Refused), user


@pytest.mark.parametrize("why", [TOO_OLD, NOT_SAID, CLOSED, NOT_LET_IN])
def test_a_reason_fits_an_error_description(why: str) -> None:
    assert why.isascii()
    assert why.isprintable()
    assert not set(why) & set('"\\')


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([], (False, False)),
        ([ANYBODY, {"email": "a@b.example"}], (False, False)),
        ([{"provider": "github", "organization": "acme"}], (True, False)),
        ([ANYBODY, {"provider": "github", "team": "acme/a", "allow": False}], (False, True)),
    ],
    ids=["no rule", "other claims", "an organization", "a team, to keep out"],
)
def test_github_is_asked_for_what_a_rule_needs_alone(
    rules: list[dict[str, Any]], wanted: tuple[bool, bool]
) -> None:
    assert wants((policy(name="a"), policy(*rules, name="b"))) == wanted


# Whatever the rules are

EMAILS = ("alice@example.com", "bob@Example.com", "root@example.com", "alice@other.example")
ORGANIZATIONS = ("acme", "Acme", "other")
TEAMS = ("acme/a", "acme/b")
USERS = ("github:1", "github:2", "google:1")
TEMPLATES = ("one", "two")


def _some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | st.lists(st.sampled_from(values), max_size=3).map(tuple)


def _rule(written: dict[str, Any]) -> Rule:
    if "organization" in written or "team" in written:
        written["provider"] = "github"
    if not written["allow"]:
        written = {key: value for key, value in written.items() if key not in ("template", "role")}
    return Rule.model_validate(written)


RULES = st.fixed_dictionaries(
    {"provider": st.sampled_from(("any", "github", "google")), "allow": st.booleans()},
    optional={
        "email": st.sampled_from(EMAILS),
        "emailDomain": st.sampled_from(("example.com", "EXAMPLE.com", "other.example")),
        "organization": st.sampled_from(ORGANIZATIONS),
        "team": st.sampled_from(TEAMS),
        "users": st.lists(st.sampled_from(USERS), min_size=1, max_size=2),
        "template": st.sampled_from(TEMPLATES),
        "role": st.sampled_from(list(Role)),
    },
).map(_rule)
REVERIFY = st.sampled_from((60.0, 3600.0, REVERIFY_AFTER_S, 2 * REVERIFY_AFTER_S))
SPECS = st.builds(
    lambda rules, reverify_after: AccessPolicySpec(rules=tuple(rules), reverify_after=reverify_after),
    st.lists(RULES, max_size=4),
    REVERIFY,
)
POLICIES = st.lists(SPECS, max_size=3).map(
    lambda specs: tuple(
        AccessPolicy(metadata=Metadata(name=f"p{number}"), spec=spec) for number, spec in enumerate(specs)
    )
)
ACCOUNTS = st.builds(
    account,
    st.sampled_from(USERS),
    age_s=st.sampled_from((0.0, 59.0, 60.0, 3599.0, 3600.0, 86399.0, 86400.0, 10e6, -10e6)),
    decision=st.sampled_from(list(Decision)),
    emails=_some(EMAILS),
    organizations=_some(ORGANIZATIONS),
    teams=_some(TEAMS),
)
HOUSES = st.builds(
    House,
    st.sampled_from((frozenset[str](), frozenset({"ROOT@example.com"}))),
    st.just("demo"),
    st.booleans(),
)
Policies = tuple[AccessPolicy, ...]


@given(ACCOUNTS, POLICIES, HOUSES)
def test_it_is_a_function_of_what_it_is_given(who: Account, policies: Policies, house: House) -> None:
    again = Account.model_validate_json(who.model_dump_json(by_alias=True))
    stored = tuple(AccessPolicy.model_validate_json(one.model_dump_json(by_alias=True)) for one in policies)
    assert admission(who, policies, house, NOW) == admission(again, stored, house, NOW)


@given(ACCOUNTS, POLICIES, HOUSES)
def test_nobody_who_is_banned_comes_in(who: Account, policies: Policies, house: House) -> None:
    banned = who.replaced(spec=who.spec.model_copy(update={"decision": Decision.BANNED}))
    assert isinstance(admission(banned, policies, house, NOW), Refused)


@given(ACCOUNTS, POLICIES, HOUSES, st.floats(0, 3 * REVERIFY_AFTER_S))
def test_nobody_comes_in_on_an_old_sign_in(
    who: Account, policies: Policies, house: House, later_s: float
) -> None:
    longest_s = max([REVERIFY_AFTER_S, *(one.spec.reverify_after for one in policies)])
    at = who.spec.claims_at + timedelta(seconds=longest_s + later_s)
    assert not isinstance(admission(who, policies, house, at), Admitted)


@given(ACCOUNTS, POLICIES, HOUSES, st.floats(0, 1, exclude_max=True))
def test_whoever_came_in_stays_in_until_then_and_no_longer(
    who: Account, policies: Policies, house: House, share: float
) -> None:
    found = admission(who, policies, house, NOW)
    if isinstance(found, Admitted):
        assert found.until > NOW
        between = NOW + (found.until - NOW) * share
        assert admission(who, policies, house, min(between, found.until - timedelta.resolution)) == found
        assert admission(who, policies, house, found.until) == SignInAgain(TOO_OLD)


@given(ACCOUNTS, POLICIES, HOUSES)
def test_a_first_rule_against_everybody_leaves_admins_alone(
    who: Account, policies: Policies, house: House
) -> None:
    closed = (policy(NOBODY, name="0"), *policies)
    found = admission(who, closed, house, NOW)
    if isinstance(found, Admitted):
        assert found.role is Role.ADMIN
        assert judged(who, closed, house, NOW).because == "ADMIN_EMAILS"
    else:
        assert isinstance(found, Refused | SignInAgain)


@given(ACCOUNTS, POLICIES, HOUSES)
def test_what_comes_after_a_rule_for_everybody_changes_nothing(
    who: Account, policies: Policies, house: House
) -> None:
    open_ = policy(ANYBODY, name="0", reverifyAfter=60)
    assert admission(who, (open_, *policies), house, NOW) == admission(who, (open_,), house, NOW)


@given(ACCOUNTS, POLICIES, HOUSES)
def test_the_first_rule_that_matches_alone_decides_the_same(
    who: Account, policies: Policies, house: House
) -> None:
    """Rules that do not speak of somebody could as well not be there."""
    found, because = judged(who, policies, house, NOW)
    if because.startswith("rule "):
        _, number, _, name = because.split()
        index = next(at for at, one in enumerate(policies) if one.name == name)
        decisive = policies[index].spec.rules[int(number) - 1]
        shortest = min(one.spec.reverify_after for one in policies[: index + 1])
        alone = AccessPolicySpec(rules=(decisive,), reverify_after=shortest)
        assert (
            admission(who, (AccessPolicy(metadata=Metadata(name="alone"), spec=alone),), house, NOW) == found
        )


CLAIMS: dict[str, Callable[[Rule], object]] = {
    "emails": lambda rule: rule.email or rule.email_domain,
    "organizations": lambda rule: rule.organization,
    "teams": lambda rule: rule.team,
}


@given(ACCOUNTS, POLICIES, HOUSES, st.sampled_from(sorted(CLAIMS)))
def test_to_lack_a_claim_never_lets_in_whom_it_would_keep_out(
    who: Account, policies: Policies, house: House, claim: str
) -> None:
    """Whatever the provider would have said, whoever comes in without it comes in just so with it.

    But for admins by address, who lose their role with it, and gain nothing.
    """
    lacking = who.spec.claims.model_copy(update={claim: None})
    found = admission(
        who.replaced(spec=who.spec.model_copy(update={"claims": lacking})), policies, house, NOW
    )
    full, because = judged(who, policies, house, NOW)
    if isinstance(found, Admitted) and because != "ADMIN_EMAILS":
        assert full == found


@given(ACCOUNTS, POLICIES)
def test_claims_that_nobody_wants_change_nothing(who: Account, policies: Policies) -> None:
    """What is not asked for at the sign-in is never missed afterwards."""
    organizations, teams = wants(policies)
    unasked = {}
    if not organizations:
        unasked["organizations"] = None
    if not teams:
        unasked["teams"] = None
    claims = who.spec.claims.model_copy(update=unasked)
    other = who.replaced(spec=who.spec.model_copy(update={"claims": claims}))
    assert admission(other, policies, HOUSE, NOW) == admission(who, policies, HOUSE, NOW)
