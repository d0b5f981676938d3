"""UserInputs: what a user filled in of the inputs that their template declares.

Named like its UserContainer, and the user's own even where an operator declared that. Plain values are text;
secrets are sealed for the reconciler (:mod:`state.sealing`), which alone opens them.
Next: :mod:`state.kinds.user_headers`.
"""

from typing import Annotated, ClassVar, Final, Self

from pydantic import AwareDatetime, Field, model_validator

from state.kinds.resource import Metadata, Resource, Shape, Spec
from state.kinds.template import INPUTS_COUNT_MAX, EnvName
from state.kinds.user_container import UserContainer

VALUE_BYTES_MAX: Final = 32 << 10
VALUES_BYTES_MAX: Final = 64 << 10  # all of one user's together, with their names
SEALED_CHARS_MAX: Final = 48 << 10  # of a value of VALUE_BYTES_MAX

# A container is not made, and its conditions say so, because
INPUT_MISSING: Final = "InputMissing"  # a required value was not filled in
INPUT_UNREADABLE: Final = "InputUnreadable"  # a secret cannot be opened; it has to be filled in again


class InputValue(Shape):
    """One value: ``text``, or ``sealed`` for a secret."""

    text: Annotated[str, Field(max_length=VALUE_BYTES_MAX)] = ""
    sealed: Annotated[str, Field(max_length=SEALED_CHARS_MAX)] = ""
    set_at: AwareDatetime

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if bool(self.text) == bool(self.sealed):
            raise ValueError("a value is either text or sealed, and never empty")
        return self


InputValues = Annotated[dict[EnvName, InputValue], Field(default_factory=dict, max_length=INPUTS_COUNT_MAX)]


class UserInputsSpec(Spec):
    user_container: str  # its uid: what somebody filled in before a reset is not for whoever comes after it
    values: InputValues


class UserInputs(Resource):
    kind: ClassVar[str] = "UserInputs"

    spec: UserInputsSpec


def new_user_inputs(owner: UserContainer, values: dict[str, InputValue]) -> UserInputs:
    return UserInputs(
        metadata=Metadata(name=owner.name), spec=UserInputsSpec(user_container=owner.uid, values=values)
    )


def key_id_of(sealed: str) -> str:
    """Which key a sealed value is for; "" where it says nothing."""
    return sealed.partition(".")[0] if "." in sealed else ""


def why_unfit(value: str) -> str:
    """Why ``value`` cannot be an environment variable's, for a person; "" if it can."""
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        return "It has to be one line, without control characters."
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        return "It is no valid text."
    if len(value.encode()) > VALUE_BYTES_MAX:
        return f"It is too long: {VALUE_BYTES_MAX >> 10} KiB at most."
    return ""
