"""What an admin is shown of people, containers and manifests, in words. Pure; nothing is stored.

Decides what an admin sees first: whatever is not as it should be. Shows nothing that would open somebody
else's pages: a Home's name is a key to its links, and stands nowhere here. Next: :mod:`gateway.pages.admin`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, Generic, TypeVar

from gateway.auth.admission import Admitted, Judgement, Pending, Refused, SignInAgain
from gateway.auth.decisions import emails_in_words, in_words, name_in_words
from gateway.hold.reasons import worst
from gateway.pages.view import phase_of, sentence_of
from gateway.routes.seat import Seat
from state.kinds.access_policy import AccessPolicy
from state.kinds.account import Account, Decision, folded
from state.kinds.app import App, app_of
from state.kinds.report import ManifestFile, Reconciler
from state.kinds.resource import Condition, ConditionType, Resource
from state.kinds.template import ContainerTemplate
from state.manifests.ownership import owning_file
from state.manifests.verdict import FOLDER_PATH

ROWS_MAX: Final = 50  # of people or containers on one page
EMAILS_SHOWN_MAX: Final = 3
TEXT_CHARS_MAX: Final = 100  # of what is searched for
HOME_SHOWN: Final = "<home>"  # in place of a Home's name

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leaf(Generic[T]):
    """One page's rows of a longer list; ``number`` counts from 1."""

    rows: tuple[T, ...]
    number: int
    last: int
    total: int


def leaf(rows: Sequence[T], asked: str) -> Leaf[T]:
    """The page that is asked for; the nearest there is, and the first for what is no number."""
    last = max(1, -(-len(rows) // ROWS_MAX))
    wanted = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < len("1000000") else 1
    number = min(max(1, wanted), last)
    first = (number - 1) * ROWS_MAX
    return Leaf(tuple(rows[first : first + ROWS_MAX]), number, last, len(rows))


def is_found(text: str, *among: str) -> bool:
    """Whether ``text`` (folded) stands in any; an empty one does."""
    return not text or any(text in folded(one) for one in among)


# People


@dataclass(frozen=True, slots=True)
class PersonView:
    """Somebody who signed in. ``acts``: what may be decided of them here; ``barred``: why no ban may."""

    user: str
    name: str
    provider: str
    emails: str
    first_at: datetime | None
    signed_in_at: datetime
    now: str
    tone: str
    because: str
    containers_count: int
    acts: tuple[str, ...]
    barred: str


def person_view(
    account: Account, judgement: Judgement, containers_count: int, *, is_self: bool, is_named: bool
) -> PersonView:
    spec = account.spec
    barred = "this is you" if is_self else "named in ADMIN_EMAILS" if is_named else ""
    return PersonView(
        user=spec.user,
        name=name_in_words(spec.claims),
        provider=spec.user.partition(":")[0],
        emails=emails_in_words(spec.claims, EMAILS_SHOWN_MAX),
        first_at=account.metadata.created_at,
        signed_in_at=spec.claims_at,
        now=in_words(judgement.admission),
        tone=_tone(judgement),
        because=judgement.because,
        containers_count=containers_count,
        acts=_acts(account, judgement, is_self=is_self, is_named=is_named),
        barred=barred,
    )


def is_person_found(account: Account, text: str) -> bool:
    claims = account.spec.claims
    return is_found(text, account.spec.user, claims.login, claims.name, *(claims.emails or ()))


def _tone(judgement: Judgement) -> str:
    match judgement.admission:
        case Admitted():
            return "good"
        case Pending():
            return "busy"
        case Refused():
            return "bad"
        case SignInAgain():
            return "quiet"


def _acts(account: Account, judgement: Judgement, *, is_self: bool, is_named: bool) -> tuple[str, ...]:
    if is_self:
        return ()
    if account.spec.decision is Decision.BANNED:
        return ("unban",)
    waits = isinstance(judgement.admission, Pending | Refused) and not app_of(account.spec.user)
    may_approve = waits and account.spec.decision is Decision.NONE
    return (*(("approve",) if may_approve else ()), *(() if is_named else ("ban",)))


# Containers


class Gravity(IntEnum):
    """How much a container needs somebody to look at it; the worst first."""

    TROUBLE = 0  # something is wrong that waiting alone will not mend
    UNSETTLED = 1  # on its way, or waiting for its own user
    WELL = 2


@dataclass(frozen=True, slots=True)
class ContainerView:
    name: str
    user: str
    called: str  # what the user's provider calls them; empty: nobody knows
    template: str
    phase: str
    tone: str
    why: str
    since: datetime | None
    restart_count: int


def gravity(seat: Seat) -> Gravity:
    if trouble_of(seat) is not None:
        return Gravity.TROUBLE
    is_well = seat.endpoint is not None or seat.is_stopped or seat.is_asleep
    return Gravity.WELL if is_well and not seat.is_deleted else Gravity.UNSETTLED


def trouble_of(seat: Seat) -> Condition | None:
    """The condition that says what is wrong. A container may serve on all the same."""
    found = map(seat.condition, (ConditionType.DEGRADED, ConditionType.ENGINE_REACHABLE))
    return next((one for one in found if one is not None and one.is_trouble), None)


def container_view(seat: Seat, account: Account | None) -> ContainerView:
    (phase, tone), trouble = phase_of(seat), trouble_of(seat)
    if trouble is not None and tone != "bad":
        phase, tone = f"{phase}, in trouble", "bad"
    condition = trouble or worst(seat) or seat.condition(ConditionType.READY)
    return ContainerView(
        name=seat.name,
        user=seat.user,
        called="" if account is None else name_in_words(account.spec.claims),
        template=seat.template,
        phase=phase,
        tone=tone,
        why=sentence_of(seat) if trouble is None else _said(trouble),
        since=None if condition is None else condition.since,
        restart_count=seat.resource.status.restart_count,
    )


def without_home(words: str, seat: Seat) -> str:
    """What a container printed, without its Home's name: it stands in every line about a hosted link."""
    return words.replace(seat.home, HOME_SHOWN) if seat.home else words


def is_container_found(seat: Seat, account: Account | None, text: str) -> bool:
    called = "" if account is None else name_in_words(account.spec.claims)
    return is_found(text, seat.name, seat.user, seat.template, called)


# What operators declared, and what came of it


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not as it should be, other than a container. ``since`` is None where nobody knows."""

    about: str
    what: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class FileView:
    path: str
    what: str
    is_applied: bool
    since: datetime | None


@dataclass(frozen=True, slots=True)
class DeclaredView:
    """An object that people write. ``file``: where it is declared; empty: it came by the API."""

    kind: str
    name: str
    file: str
    what: str


def reported_troubles(reconcilers: Iterable[Reconciler], files: Iterable[ManifestFile]) -> Iterator[Trouble]:
    """What the reconciler says is wrong with itself, its engine, and each manifest file."""
    reported = list(reconcilers)
    if not reported:
        yield Trouble("Reconciler", "NotReported: no reconciler has reported yet; is it running?")
    for one in reported:
        yield from _troubles(f"Reconciler {one.name}", one.status.conditions)
    for file in files:
        yield from _troubles(_file_name(file), file.status.conditions)


def missing_templates(
    policies: Iterable[AccessPolicy], apps: Iterable[App], default: str, existing: frozenset[str]
) -> Iterator[Trouble]:
    """Templates that are given to people and are not there: whoever gets one of them has no container."""
    givers: dict[str, str] = {}
    for policy in policies:
        for number, rule in enumerate(policy.spec.rules, 1):
            if rule.allow:
                giver = f"rule {number} of {policy.name}"
                named = f"{giver} gives it" if rule.template else f"DEFAULT_TEMPLATE of {giver}"
                givers.setdefault(rule.template or default, named)
    for app in apps:
        givers.setdefault(app.spec.template, f"App {app.name} gives it")
    for template, giver in givers.items():
        if template not in existing:
            mend = "add it to the manifests folder, or name another"
            what = f"TemplateMissing: {giver}, and it is not there; {mend}"
            yield Trouble(f"ContainerTemplate {template}", what)


def file_view(file: ManifestFile) -> FileView:
    applied = file.status.condition(ConditionType.APPLIED)
    if applied is None:
        return FileView(_file_name(file), "not read yet", is_applied=False, since=None)
    return FileView(_file_name(file), _said(applied), is_applied=applied.is_true, since=applied.since)


def declared_view(obj: Resource) -> DeclaredView:
    what = f"{_what(obj)}; being deleted" if obj.metadata.is_deleted else _what(obj)
    return DeclaredView(obj.kind, obj.name, owning_file(obj) or "", what)


def _what(obj: Resource) -> str:
    match obj:
        case AccessPolicy():
            rules_count, hours = len(obj.spec.rules), obj.spec.reverify_after / 3600
            return f"{rules_count} rule{'s' if rules_count != 1 else ''}, reverifyAfter {hours:g} h"
        case ContainerTemplate():
            return f"image {obj.spec.image}"
        case App():
            return f"template {obj.spec.template}"
    raise AssertionError(f"{obj.kind} is not shown here")


def _troubles(about: str, conditions: Iterable[Condition]) -> Iterator[Trouble]:
    for condition in conditions:
        if condition.is_trouble:
            yield Trouble(about, _said(condition), condition.since)


def _file_name(file: ManifestFile) -> str:
    return "The manifests folder" if file.spec.path == FOLDER_PATH else file.spec.path


def _said(condition: Condition) -> str:
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason
