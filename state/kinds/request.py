"""Request: what is asked for once, by a user, an admin, or a call that finds its container asleep.

Never a spec edit, done once, then forgotten. There is one a UserContainer at the most: the newest counts.

Next: :mod:`state.kinds.log_view`.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from state.kinds.resource import MESSAGE_CHARS_MAX, Name, Resource, Spec, Status


class Verb(StrEnum):
    RESTART = "Restart"
    SLEEP = "Sleep"
    WAKE = "Wake"


class Outcome(StrEnum):
    PENDING = "Pending"
    DONE = "Done"
    REFUSED = "Refused"


class RequestSpec(Spec):
    user_container: Name
    verb: Verb
    asked_by: Annotated[str, Field(max_length=256)]
    asked_at: AwareDatetime


class RequestStatus(Status):
    outcome: Outcome = Outcome.PENDING
    message: Annotated[str, Field(max_length=MESSAGE_CHARS_MAX)] = ""
    finished_at: AwareDatetime | None = None


class Request(Resource):
    kind: ClassVar[str] = "Request"

    spec: RequestSpec
    status: RequestStatus = RequestStatus()

    def unique_keys(self) -> tuple[str, ...]:
        return (request_key(self.spec.user_container),)


def request_key(user_container: str) -> str:
    """The unique key of a UserContainer's Request."""
    return f"of:{user_container}"
