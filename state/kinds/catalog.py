"""Every kind by its name, and which of them people write.

A kind not listed here can neither be stored nor stand in a manifest.
"""

from typing import Final

from state.kinds.access_policy import AccessPolicy
from state.kinds.account import Account
from state.kinds.app import App
from state.kinds.demand import Demand
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation
from state.kinds.log_view import LogView
from state.kinds.report import ManifestFile, Reconciler
from state.kinds.request import Request
from state.kinds.resource import Resource
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import UserContainer
from state.kinds.user_headers import UserHeaders
from state.kinds.user_inputs import UserInputs

WRITTEN_BY_PEOPLE: Final[tuple[type[Resource], ...]] = (
    ContainerTemplate,
    UserContainer,
    App,
    AccessPolicy,
)
WRITTEN_BY_PROCESSES: Final[tuple[type[Resource], ...]] = (
    Account,
    Home,
    Incarnation,
    Demand,
    Request,
    LogView,
    UserInputs,
    UserHeaders,
    Reconciler,
    ManifestFile,
)
KINDS: Final[dict[str, type[Resource]]] = {
    kind.kind: kind for kind in (*WRITTEN_BY_PEOPLE, *WRITTEN_BY_PROCESSES)
}
