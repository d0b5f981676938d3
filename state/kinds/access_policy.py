"""AccessPolicy: who may come in, and as what. The first rule that matches decides; nobody else may.

Decides which rules are well-formed; whether somebody matches one is :mod:`gateway.auth.admission`'s to say.
Next: :mod:`state.kinds.account`, what a rule is held against.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.alias_generators import to_camel

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
    str,
    Field(
        pattern=r"^[^@\s]{1,64}@[^@\s]{1,255}$",
        description="A verified e-mail address.",
        examples=["alice@example.com"],
    ),
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
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,98}$",
        description="A GitHub organization's login.",
        examples=["acme"],
    ),
]
Team = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,98}/[A-Za-z0-9._-]{1,100}$",
        description="A GitHub team: <organization>/<slug>.",
        examples=["acme/developers"],
    ),
]


_CONDITIONS = ("provider", "email", "email_domain", "organization", "team", "users")


class Role(StrEnum):
    """What somebody who was let in may do beyond their own container."""

    USER = "user"
    ADMIN = "admin"


class Rule(Shape):
    """Matches who meets every condition that it names; with none but a provider, everybody there.

    Addresses, domains, organizations and teams compare without regard to case, and as a whole.
    """

    provider: ProviderName = ANY_PROVIDER
    email: Email | None = None
    email_domain: Annotated[EmailDomain | None, Field(alias="emailDomain")] = None
    organization: Organization | None = None
    team: Team | None = None
    users: Annotated[
        tuple[User, ...] | None,
        Field(
            max_length=USERS_COUNT_MAX,
            description="Any of these, by <provider>:<subject>.",
        ),
    ] = None
    allow: Annotated[bool, Field(description="false: whoever matches is refused.")] = True
    template: Annotated[
        Name | None, Field(description="What their containers are made of; DEFAULT_TEMPLATE if not said.")
    ] = None
    role: Annotated[Role, Field(description="What they may do beyond their own container.")] = Role.USER

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.organization or self.team) and self.provider != GITHUB:
            raise ValueError("organization and team are GitHub's; write provider: github beside them")
        named = [name for name in _CONDITIONS if name in self.model_fields_set]
        blank = next((to_camel(name) for name in named if not getattr(self, name)), None)
        if blank is not None:
            raise ValueError(
                f"{blank} is left blank and would match everybody; give it a value, or remove it"
            )
        if not named:
            raise ValueError("a rule without conditions speaks of everybody; write provider: any if it shall")
        if not self.allow and (self.template or self.role is not Role.USER):
            raise ValueError("a rule with allow: false gives no template and no role; leave them out")
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        """What was not said is not stored either: read again, it would look like a condition left blank."""
        return {name: value for name, value in dump(self).items() if value is not None}


class AccessPolicySpec(Spec):
    """Of several policies, the rules of the one whose name sorts first come first."""

    rules: Annotated[
        tuple[Rule, ...],
        Field(
            max_length=RULES_COUNT_MAX,
            description="The first that matches decides; whoever matches none is not let in.",
        ),
    ]
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
