"""Request: what a user or an admin asks for once. Never a spec edit, done once, then forgotten.

Next: :mod:`state.kinds.report`.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from state.kinds.resource import MESSAGE_CHARS_MAX, Name, Resource, Spec, Status


class Verb(StrEnum):
    RESTART = "Restart"


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
