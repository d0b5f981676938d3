"""Access policies and accounts: which rules are well-formed, who a provider's subject is, what compares."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from state.kinds.access_policy import RULES_COUNT_MAX, USERS_COUNT_MAX, AccessPolicySpec, Role, Rule
from state.kinds.account import CLAIM_VALUES_MAX, Claims, account_name, folded, provider_user
from state.kinds.resource import Name, User

NAME: TypeAdapter[str] = TypeAdapter(Name)
USER: TypeAdapter[str] = TypeAdapter(User)
PLAIN = string.ascii_letters + string.digits + "._@+-"
PROVIDERS = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
SUBJECTS = st.one_of(
    st.text(min_size=1, max_size=200),
    st.text(PLAIN, min_size=1, max_size=200),
    st.text(PLAIN, min_size=1, max_size=80).map("sha256.".__add__),
)

WELL_FORMED: list[tuple[str, dict[str, Any]]] = [
    ("everybody", {"provider": "any"}),
    ("everybody of a provider", {"provider": "google"}),
    ("nobody", {"provider": "any", "allow": False}),
    ("an address of any provider", {"email": "a@example.com"}),
    ("a domain in capitals", {"emailDomain": "Example.COM"}),
    ("a domain without a dot", {"emailDomain": "localhost"}),
    ("a GitHub organization", {"provider": "github", "organization": "acme"}),
    ("a GitHub team", {"provider": "github", "team": "acme/a.b_c"}),
    ("users of two providers", {"users": ["github:1", "google:2"]}),
    ("an admin", {"users": ["github:1"], "role": "admin", "template": "demo"}),
    ("a refusal of a team", {"provider": "github", "team": "acme/fired", "allow": False}),
    ("as many users as there may be", {"users": [f"github:{n}" for n in range(USERS_COUNT_MAX)]}),
]
MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    ("no condition", {}, "everybody"),
    ("no condition but a gift", {"template": "demo"}, "everybody"),
    ("an address left blank", {"provider": "any", "email": None}, "email is left blank"),
    ("a domain left blank", {"emailDomain": None}, "emailDomain is left blank"),
    (
        "an organization left blank",
        {"provider": "github", "organization": None},
        "organization is left blank",
    ),
    ("users left blank", {"provider": "any", "users": None}, "users is left blank"),
    ("users of whom none is left", {"provider": "any", "users": []}, "users is left blank"),
    ("an organization of any provider", {"organization": "acme"}, "provider: github"),
    ("an organization of another provider", {"provider": "google", "organization": "a"}, "provider: github"),
    ("a team of any provider", {"team": "acme/a"}, "provider: github"),
    ("a refusal with a role", {"provider": "any", "allow": False, "role": "admin"}, "allow: false"),
    ("a refusal with a template", {"provider": "any", "allow": False, "template": "a"}, "allow: false"),
    ("a provider in capitals", {"provider": "GitHub"}, "pattern"),
    ("an empty provider", {"provider": ""}, "pattern"),
    ("an address for a domain", {"emailDomain": "a@example.com"}, "pattern"),
    ("a domain with its @", {"emailDomain": "@example.com"}, "pattern"),
    ("a domain with a star", {"emailDomain": "*.example.com"}, "pattern"),
    ("a domain that ends in a dot", {"emailDomain": "example.com."}, "pattern"),
    ("a domain that goes on in another line", {"emailDomain": "example.com\n"}, "pattern"),
    ("a domain for an address", {"email": "example.com"}, "pattern"),
    ("two addresses in one", {"email": "a@example.com b@example.com"}, "pattern"),
    ("a team without its organization", {"provider": "github", "team": "developers"}, "pattern"),
    ("a user without a provider", {"users": ["alice"]}, "pattern"),
    ("more users than there may be", {"users": ["github:1"] * (USERS_COUNT_MAX + 1)}, "at most"),
    ("a role that nobody has", {"provider": "any", "role": "root"}, "'user' or 'admin'"),
    ("a field misspelt", {"provider": "any", "domain": "example.com"}, "not permitted"),
]


@pytest.mark.parametrize("rule", [rule for _, rule in WELL_FORMED], ids=[name for name, _ in WELL_FORMED])
def test_a_rule_may_be_for(rule: dict[str, Any]) -> None:
    found = Rule.model_validate(rule)
    assert Rule.model_validate_json(found.model_dump_json(by_alias=True)) == found
    assert Rule.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("rule", "says"), [one[1:] for one in MALFORMED], ids=[name for name, _, _ in MALFORMED]
)
def test_no_rule_may_have(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Rule.model_validate(rule)


def test_a_rule_gives_nothing_unless_it_says_so() -> None:
    rule = Rule.model_validate({"provider": "any"})
    assert (rule.allow, rule.template, rule.role) == (True, None, Role.USER)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"rules": [{"provider": "any"}] * (RULES_COUNT_MAX + 1)},
        {"rules": [], "reverifyAfter": 0},
        {"rules": [], "reverifyAfter": "-1h"},
        {"rules": [], "reverifyAfter": "tomorrow"},
        {"rules": [], "default": "allow"},
    ],
    ids=["no rules", "too many rules", "no time", "a negative time", "a word for a time", "an unknown field"],
)
def test_no_policy_has(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AccessPolicySpec.model_validate(spec)


def test_a_policy_asks_for_a_sign_in_a_day_unless_it_says_otherwise() -> None:
    assert AccessPolicySpec.model_validate({"rules": []}).reverify_after == 86400
    assert AccessPolicySpec.model_validate({"rules": [], "reverifyAfter": "12h"}).reverify_after == 43200


# Who a provider's subject is


@given(PROVIDERS, SUBJECTS)
def test_whatever_a_provider_calls_somebody_is_a_user(provider: str, subject: str) -> None:
    user = provider_user(provider, subject)
    assert USER.validate_python(user) == user
    assert user.startswith(f"{provider}:")


@given(PROVIDERS, SUBJECTS, PROVIDERS, SUBJECTS)
def test_two_subjects_are_never_the_same_user(one: str, subject: str, other: str, another: str) -> None:
    are_same = provider_user(one, subject) == provider_user(other, another)
    assert are_same == ((one, subject) == (other, another))


@given(PROVIDERS, SUBJECTS)
def test_nobody_is_taken_for_whom_another_subject_stands_for(provider: str, subject: str) -> None:
    """A provider that lets people choose their subject lets nobody choose a hash of another's."""
    user = provider_user(provider, subject)
    _, _, shown = user.partition(":")
    assert shown == subject or provider_user(provider, shown) != user


@pytest.mark.parametrize("subject", ["583231", "a@example.com", "Alice", "x" * 160], ids=len)
def test_a_plain_subject_stands_as_it_is(subject: str) -> None:
    assert provider_user("github", subject) == f"github:{subject}"


@pytest.mark.parametrize(
    "subject",
    ["a|b", "auth0|1", "ü", "x" * 161, "-a", "a/b", "a:b", "a\n", "a%2fb", "", "sha256.", "sha256.ab"],
)
def test_what_could_bend_a_path_stands_by_its_hash(subject: str) -> None:
    user = provider_user("oidc", subject)
    assert user.startswith("oidc:sha256.")
    assert USER.validate_python(user) == user


@given(SUBJECTS)
def test_an_account_has_a_name_that_says_nothing_of_whose_it_is(subject: str) -> None:
    user = provider_user("github", subject)
    name = account_name(user)
    assert NAME.validate_python(name) == name
    assert account_name(user) == name != account_name(user + "x")


# What compares


def test_claims_are_kept_as_they_compare_and_shown_as_they_were() -> None:
    claims = Claims(
        login="Alice", name="Alice A", emails=("A@Example.COM",), organizations=("Acme",), teams=("Acme/A",)
    )
    assert (claims.login, claims.name) == ("Alice", "Alice A")
    assert (claims.emails, claims.organizations, claims.teams) == (
        ("a@example.com",),
        ("acme",),
        ("acme/a",),
    )


@pytest.mark.parametrize("letter", ["\N{KELVIN SIGN}", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "É", "ẞ"])
def test_only_the_letters_of_ascii_have_a_case(letter: str) -> None:
    assert folded(letter) == letter


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert len(folded(text)) == len(text)


def test_a_claim_has_a_limit() -> None:
    with pytest.raises(ValidationError):
        Claims(organizations=("a",) * (CLAIM_VALUES_MAX + 1))
    with pytest.raises(ValidationError):
        Claims(emails=("a" * 321,))
