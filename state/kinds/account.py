"""Account: somebody who signed in at a provider, what it said of them, and what an admin decided.

Written by the gateway at each sign-in, and by admins; whether somebody may come in is not stored but follows
from it (:mod:`gateway.auth.admission`). Users of Apps have none. Next: :mod:`state.kinds.home`.
"""

import base64
import hashlib
import re
import string
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime, Field

from state.kinds.resource import Resource, Shape, Spec, User

CLAIM_VALUES_MAX = 256
# The subject's alphabet of resource.USER_PATTERN.
_PLAIN_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,159}")
_HASHED = "sha256."
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(text: str) -> str:
    """As it compares with another: without regard to the case of ASCII's letters, and of no others.

    Unicode's case folds characters together that are not the same: ``str.lower`` of the Kelvin sign is ``k``,
    so whoever registers an address with it would be whoever has the one with the letter.
    """
    return text.translate(_ASCII_LOWER)


Words = Annotated[
    tuple[Annotated[str, Field(max_length=320), AfterValidator(folded)], ...],
    Field(max_length=CLAIM_VALUES_MAX),
]


class Claims(Shape):
    """What a provider said. None: it was not asked, or gave no answer; an empty tuple: there are none.

    Compared without regard to case (:func:`folded`), and kept so but for ``login`` and ``name``.
    """

    login: Annotated[str, Field(max_length=320)] = ""  # to show; it may pass to somebody else
    name: Annotated[str, Field(max_length=320)] = ""  # to show
    emails: Words | None = None  # verified ones alone
    organizations: Words | None = None  # logins
    teams: Words | None = None  # <organization>/<slug>


class Decision(StrEnum):
    """What an admin decided of somebody, over or beside the rules."""

    NONE = "None"
    APPROVED = "Approved"  # let in though no rule matches; a rule that refuses them still does
    BANNED = "Banned"  # refused, whatever the rules say


class AccountSpec(Spec):
    user: User
    claims: Claims
    claims_at: AwareDatetime  # when they signed in last
    decision: Decision = Decision.NONE
    signed_out_at: AwareDatetime | None = None  # sessions that were opened until then are over
    epoch: int = 0  # rises when something that was issued to them is withdrawn: ask again before believing it


class Account(Resource):
    kind: ClassVar[str] = "Account"

    spec: AccountSpec

    def unique_keys(self) -> tuple[str, ...]:
        return (f"user:{self.spec.user}",)


def account_name(user: str) -> str:
    """The name of a user's Account: stable, and silent about who it is."""
    digest = hashlib.sha256(user.encode()).digest()
    return "a-" + base64.b32encode(digest[:15]).decode().lower()


def provider_user(provider: str, subject: str) -> str:
    """The user whom ``provider`` calls ``subject``: never the same for two, whatever characters they have.

    A subject that does not fit a user's alphabet stands by its SHA-256; so does one that looks like that.
    """
    if _PLAIN_SUBJECT.fullmatch(subject) and not subject.startswith(_HASHED):
        return f"{provider}:{subject}"
    return f"{provider}:{_HASHED}{hashlib.sha256(subject.encode()).hexdigest()}"
