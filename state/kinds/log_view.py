"""LogView: somebody looks at the log of a container, and this is how it ends at the moment.

Named like its UserContainer. Gateways say until when it is wanted, the reconciler reads it for as long and
deletes it then: nothing is read, and nothing is kept, for anybody who is not looking.
Next: :mod:`state.kinds.user_inputs`.
"""

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from state.kinds.resource import MESSAGE_CHARS_MAX, Resource, Spec, Status

LOG_LINES_MAX = 500
LOG_BYTES_MAX = 32 * 1024  # in UTF-8


class LogViewSpec(Spec):
    user_container: str  # its uid: the name may be another's by now, whose log is not to be shown
    wanted_until: AwareDatetime


class LogViewStatus(Status):
    """``observed_generation`` tells up to which wish it was read: while it lags, nobody reads."""

    text: Annotated[str, Field(max_length=LOG_BYTES_MAX)] = ""  # as it was when it could last be read
    incarnation: str = ""  # whose words these are; empty: there is no container
    read_at: AwareDatetime | None = None
    message: Annotated[str, Field(max_length=MESSAGE_CHARS_MAX)] = ""  # why it cannot be read now


class LogView(Resource):
    kind: ClassVar[str] = "LogView"

    spec: LogViewSpec
    status: LogViewStatus = LogViewStatus()
