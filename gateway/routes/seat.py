"""A Seat: one UserContainer as the data path sees it, updated in place for as long as the object lives.

Refuses to know where the news comes from; :mod:`gateway.routes.table` brings it, whoever must wait for a
change awaits its :meth:`~gateway.changing.Changing.next_change`.
"""

from datetime import datetime

from gateway.changing import Changing
from gateway.proxy import Endpoint
from gateway.use import Ledger, Use
from state.kinds.resource import Condition, ConditionType
from state.kinds.user_container import Power, UserContainer
from state.kinds.user_inputs import INPUT_MISSING, INPUT_UNREADABLE


class Seat(Changing):
    """``endpoint`` is where this user's requests may go now, or None: hold them."""

    __slots__ = (
        "_is_gone",
        "endpoint",
        "held_count",
        "listening_count",
        "resource",
        "use",
    )

    def __init__(self, resource: UserContainer, ledger: Ledger) -> None:
        super().__init__()
        self.resource = resource
        self.endpoint = _endpoint(resource)
        self._is_gone = False
        self.held_count = 0  # requests waiting for an endpoint
        self.listening_count = 0  # clients that listen while it sleeps
        self.use = Use(resource.metadata.name, ledger)

    @property
    def name(self) -> str:
        return self.resource.metadata.name

    @property
    def user(self) -> str:
        return self.resource.spec.user

    @property
    def template(self) -> str:
        return self.resource.spec.template

    @property
    def home(self) -> str:
        """The Home's hostname; empty until it has one."""
        return self.resource.status.home

    @property
    def is_deleted(self) -> bool:
        """Whether it is going, or gone: nothing will be routed here any more."""
        return self._is_gone or self.resource.metadata.is_deleted

    @property
    def is_stopped(self) -> bool:
        """Whether its spec says that it shall not run: waiting would be in vain."""
        return self.resource.spec.power is Power.STOPPED

    @property
    def wanting(self) -> Condition | None:
        """The condition that says which value its user has to fill in, as long as one is wanting."""
        conditions = self.resource.status.conditions
        return next((one for one in conditions if one.reason in (INPUT_MISSING, INPUT_UNREADABLE)), None)

    @property
    def is_asleep(self) -> bool:
        """Whether it was put to sleep: it stays so until somebody asks for it to be woken."""
        return self.resource.status.asleep_since is not None

    @property
    def restart_after(self) -> datetime | None:
        return self.resource.status.restart_after

    def condition(self, of: ConditionType) -> Condition | None:
        return self.resource.status.condition(of)

    def update(self, resource: UserContainer) -> Endpoint | None:
        """Take the news in. Returns the endpoint that must no longer be used, if one was dropped."""
        before, now = self.endpoint, _endpoint(resource)
        self.resource = resource
        self.endpoint = before if now == before else now
        self.wake()
        return before if before is not None and now != before else None

    def drop(self) -> Endpoint | None:
        """The object is gone; returns what was routed to it."""
        before, self.endpoint = self.endpoint, None
        self._is_gone = True
        self.wake()
        return before


def _endpoint(resource: UserContainer) -> Endpoint | None:
    at = resource.status.endpoint
    if at is None or resource.metadata.is_deleted:
        return None
    return Endpoint(at.host, at.port, at.incarnation)
