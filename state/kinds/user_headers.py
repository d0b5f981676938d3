"""UserHeaders: what a user's calls said last, in the headers that their template's files are made of.

Named like its UserContainer, written by gateways when a call says something else than the one before it. Only
values that the template declares are kept. The reconciler, which makes files of them, does not rely on that
and looks at each again. Next: :mod:`state.kinds.report`.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from state.kinds.files import FILES_COUNT_MAX, HEADERS_COUNT_MAX, MEMBERS_COUNT_MAX, Value, ValueName
from state.kinds.resource import Metadata, Resource, Spec
from state.kinds.user_container import UserContainer

HeaderValues = Annotated[
    dict[ValueName, Value],
    Field(default_factory=dict, max_length=FILES_COUNT_MAX * HEADERS_COUNT_MAX * MEMBERS_COUNT_MAX),
]


class UserHeadersSpec(Spec):
    user_container: str  # its uid: what somebody's calls said is not for whoever comes after them
    values: HeaderValues


class UserHeaders(Resource):
    kind: ClassVar[str] = "UserHeaders"

    spec: UserHeadersSpec


def new_user_headers(owner: UserContainer, values: dict[str, str]) -> UserHeaders:
    return UserHeaders(
        metadata=Metadata(name=owner.name), spec=UserHeadersSpec(user_container=owner.uid, values=values)
    )
