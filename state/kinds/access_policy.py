"""AccessPolicy: who may come in, and as what. The first rule that matches decides; nobody else may.

Decides which rules are well-formed; whether somebody matches one is :mod:`gateway.auth.admission`'s to say.
Next: :mod:`state.kinds.account`, what a rule is held against.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from state.kinds.quantity import Seconds
from state.kinds.resource import Name, Resource, Shape, Spec, User

PROVIDER_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"
ANY_PROVIDER = "any"
GITHUB = "github"  # the one provider that knows organizations and teams
RULES_COUNT_MAX = 256
USERS_COUNT_MAX = 1024
REVERIFY_AFTER_S = 24 * 3600.0

ProviderName = Annotated[
    str, Field(pattern=PROVIDER_PATTERN, description="github, google, oidc …, or any.", examples=["github"])
]
Email = Annotated[
    str, Field(pattern=r"^[^@\s]{1,64}@[^@\s]{1,255}$", description="A verified e-mail address.")
]
EmailDomain = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$",
        description="The part behind the @ of a verified e-mail address, exactly.",
        examples=["example.com"],
    ),
]
Organization = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,98}$", description="A GitHub organization's login.")
]
Team = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,98}/[A-Za-z0-9._-]{1,100}$",
        description="A GitHub team: <organization>/<slug>.",
        examples=["acme/developers"],
    ),
]


class Role(StrEnum):
    """What somebody who was let in may do beyond their own container."""

    USER = "user"
    ADMIN = "admin"


class Rule(Shape):
    """Matches who meets every condition that it names; with none but a provider, everybody there."""

    provider: ProviderName = ANY_PROVIDER
    email: Email | None = None
    email_domain: Annotated[EmailDomain | None, Field(alias="emailDomain")] = None
    organization: Organization | None = None
    team: Team | None = None
    users: Annotated[tuple[User, ...], Field(max_length=USERS_COUNT_MAX)] = ()
    allow: bool = True
    template: Annotated[
        Name | None, Field(description="What their containers are made of; DEFAULT_TEMPLATE if not said.")
    ] = None
    role: Role = Role.USER

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.organization or self.team) and self.provider != GITHUB:
            raise ValueError("organization and team are GitHub's; write provider: github beside them")
        if not self.allow and (self.template or self.role is not Role.USER):
            raise ValueError("a rule with allow: false gives no template and no role; leave them out")
        return self


class AccessPolicySpec(Spec):
    """Of several policies, the rules of the one whose name sorts first come first."""

    rules: Annotated[tuple[Rule, ...], Field(max_length=RULES_COUNT_MAX)]
    reverify_after: Annotated[
        Seconds,
        Field(
            alias="reverifyAfter",
            gt=0,
            description="How old what a provider said of somebody may be before they have to sign in again.",
        ),
    ] = REVERIFY_AFTER_S


class AccessPolicy(Resource):
    kind: ClassVar[str] = "AccessPolicy"

    spec: AccessPolicySpec
