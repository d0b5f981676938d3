"""What every object of the desired state has in common: metadata, conditions, spec and status.

Decides shapes and names only. It knows no store, no clock and no engine: times are arguments.
Next: :mod:`state.kinds.template`, the first kind that people write.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

API_VERSION = "mcp-gateway/v1"

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
Name = Annotated[
    str,
    Field(
        pattern=NAME_PATTERN, description="A DNS label: a-z, 0-9, dash; 63 at most.", examples=["my-name-1"]
    ),
]

USER_PATTERN = r"^[a-z][a-z0-9-]{0,31}:[A-Za-z0-9][A-Za-z0-9._@+-]{0,159}$"
User = Annotated[
    str,
    Field(pattern=USER_PATTERN, description="Who it is: <provider>:<subject>.", examples=["github:583231"]),
]

MESSAGE_CHARS_MAX = 1024
CONDITIONS_MAX = 16


class Shape(BaseModel):
    """A frozen value that refuses fields it does not know; camelCase outside, snake_case inside."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, ser_json_inf_nan="null"
    )


class Truth(StrEnum):
    """A condition's status. ``Unknown`` is a value: an engine that does not answer says nothing."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """Every condition that may stand in a status, with the question it answers."""

    READY = "Ready"  # does it answer its probe
    PROGRESSING = "Progressing"  # is the reconciler on its way to the spec
    DEGRADED = "Degraded"  # is something wrong that waiting alone will not mend
    ROUTED = "Routed"  # may the gateway send requests to it
    HIBERNATED = "Hibernated"  # is it asleep, by which tier
    ISOLATED = "Isolated"  # do the fences around it stand
    LIMITS_ENFORCED = "LimitsEnforced"  # does the engine hold containers to their limits
    ENGINE_REACHABLE = "EngineReachable"  # does the engine answer
    APPLIED = "Applied"  # is what a manifest file says in the store
    DESTRUCTION_FROZEN = (
        "DestructionFrozen"  # are removals held back because the store looks older than the world
    )


class Condition(Shape):
    """One answered question. ``since`` moves only when ``status`` does."""

    type: ConditionType
    status: Truth
    reason: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=64)]
    message: Annotated[str, Field(max_length=MESSAGE_CHARS_MAX)] = ""
    since: AwareDatetime

    @property
    def is_true(self) -> bool:
        return self.status is Truth.TRUE

    @property
    def is_trouble(self) -> bool:
        """Whether an operator wants to hear of it: True is bad of some, nothing is of others, and of all that
        remain whatever is not True.
        """
        match self.type:
            case ConditionType.DEGRADED | ConditionType.DESTRUCTION_FROZEN:
                return self.is_true
            case ConditionType.PROGRESSING | ConditionType.HIBERNATED:
                return False
            case _:
                return not self.is_true


class Conditions:
    """Pure operations on a status's tuple of conditions."""

    @staticmethod
    def find(conditions: tuple[Condition, ...], of: ConditionType) -> Condition | None:
        return next((condition for condition in conditions if condition.type is of), None)

    @staticmethod
    def merged(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """``new`` replaces ``old`` by type; ``since`` is kept where the status did not change."""
        before = {condition.type: condition for condition in old}
        for condition in new:
            last = before.get(condition.type)
            if last is not None and last.status is condition.status:
                condition = condition.model_copy(update={"since": last.since})  # noqa: PLW2901 (kept `since` is the point)
            before[condition.type] = condition
        return tuple(sorted(before.values(), key=lambda condition: condition.type))


class Metadata(Shape):
    """Whose object it is and which version of it; set by the store, but for name and owner."""

    name: str
    uid: str = ""
    generation: int = 0  # rises when the spec changes
    resource_version: int = 0  # the store revision that last wrote it
    created_at: AwareDatetime | None = None
    deleted_at: AwareDatetime | None = None  # set: finalizers are at work
    finalizers: tuple[str, ...] = ()
    managed_by: str = "api"  # "api", or "file:<path>": a whole object belongs to one of them

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None


class Spec(Shape):
    """What is wanted."""


class Status(Shape):
    """What was seen, by the reconciler alone."""

    observed_generation: int = 0
    conditions: Annotated[tuple[Condition, ...], Field(max_length=CONDITIONS_MAX)] = ()

    def condition(self, of: ConditionType) -> Condition | None:
        return Conditions.find(self.conditions, of)


class Resource(BaseModel):
    """An object of the store: ``metadata``, ``spec``, ``status``. Subclasses narrow the latter two.

    ``unique_keys`` names what no two live objects of the kind may share besides the name; the store
    refuses a second holder. ``kind`` is what manifests and the change log call it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)
    kind: ClassVar[str]

    metadata: Metadata
    spec: Spec
    status: Status = Status()

    def unique_keys(self) -> tuple[str, ...]:
        return ()

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def uid(self) -> str:
        return self.metadata.uid

    def replaced(self, **parts: object) -> Self:
        """A copy with ``metadata``, ``spec`` or ``status`` replaced; the parts are already validated."""
        return self.model_copy(update=parts)


class Key(Shape):
    """The name of an object in the store."""

    kind: str
    name: str

    def __hash__(self) -> int:
        return hash((self.kind, self.name))
