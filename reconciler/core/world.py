"""The world of one UserContainer as one pass sees it: plain values, with ``now`` among them.

What an engine could not tell is None, and None is never read as absence.
Next: :mod:`reconciler.core.actions`, then :mod:`reconciler.core.plan`.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.core.ceiling import Ceiling
from reconciler.core.container import ContainerState, Identity, ObservedContainer
from reconciler.core.effective import Wanted
from state.kinds.app import App
from state.kinds.demand import Demand
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationNames
from state.kinds.request import Request
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import UserContainer
from state.kinds.user_headers import UserHeaders
from state.kinds.user_inputs import UserInputs


@dataclass(frozen=True, slots=True)
class Health:
    """What the prober knows of one incarnation."""

    incarnation: str
    since: datetime  # when this prober began to look
    passed_at: datetime | None = None  # the startup probe passed
    failures: int = 0  # liveness probes failed in a row
    message: str = ""  # why the last one failed
    was_ready: bool = False  # it was routed before this prober began to look

    @property
    def is_past_startup(self) -> bool:
        """Whether it is to be judged by its liveness: it passed, or it was ready before and fails now."""
        return self.passed_at is not None or (self.was_ready and self.failures > 0)


@dataclass(frozen=True, slots=True)
class ImageView:
    """Whether the wanted image is there. ``failed`` says why the last attempt to get it did not work."""

    present: bool = False
    fetching: bool = False
    failed_reason: str = ""
    failed_message: str = ""
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EngineView:
    """What the engine shows of one Home. ``containers`` is None while the engine cannot tell.

    It holds everything that bears our name for the Home, or labels of the Home or its owner.
    """

    containers: tuple[ObservedContainer, ...] | None
    message: str = ""  # why it cannot tell

    def named(self, name: str) -> ObservedContainer | None:
        """The container of that name, ours or foreign."""
        return next((one for one in self.containers or () if one.name == name), None)


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What a Home takes of the disk, as the last measurement found it."""

    data_bytes: int  # counted no further than the limit
    beyond: str = ""  # what its data has too much of to be counted, "" if it was
    layer_bytes: int = 0  # what the container that it has now wrote outside of mounts
    layer_beyond: str = ""  # likewise

    @property
    def bytes_used(self) -> int:
        return self.data_bytes + self.layer_bytes

    @property
    def is_countless(self) -> bool:
        """Whether there is too much of something to be counted."""
        return bool(self.beyond or self.layer_beyond)

    @property
    def of_data(self) -> "DiskUse":
        """What is left of it without the container."""
        return replace(self, layer_bytes=0, layer_beyond="")

    @property
    def of_layer(self) -> "DiskUse":
        """What goes with the container."""
        return replace(self, data_bytes=0, beyond="")


@dataclass(frozen=True, slots=True)
class Site:
    """What is the same for every pass: whose reconciler this is and what it may do."""

    project: str
    ceiling: Ceiling
    key_id: str = ""  # of the key that users' secrets have to be sealed with
    egress_proxy: str = ""  # the URL of the one way out of the proxy zone
    requires_isolation: bool = False  # nothing is made or started outside of a fence


@dataclass(frozen=True, slots=True)
class World:
    now: datetime
    epoch: int
    site: Site
    user_container: UserContainer
    template: ContainerTemplate | None
    wanted: Wanted | None  # None without a template
    home: Home | None
    incarnation: Incarnation | None  # the one record that is not quarantined
    quarantined: tuple[Incarnation, ...]
    engine: EngineView
    image: ImageView
    health: Health | None
    app: App | None = None  # whose user this is; None: a person, or nobody's any more
    demand: Demand | None = None  # what gateways saw of their use; None: nothing yet
    watched_since: datetime | None = None  # when this process began to look; None: long ago
    clock_set_at: datetime | None = None  # when somebody last set the clock that all times are of
    inputs: UserInputs | None = None  # what the user filled in
    headers: UserHeaders | None = None  # what the user's calls said last
    requests: tuple[Request, ...] = ()  # pending ones, oldest first
    destruction_frozen: str = ""  # why nothing may be removed, "" if it may
    not_isolated: str = ""  # why nothing may be made or started, "" if it may
    disk_full: str = ""  # likewise, for want of room
    disk: DiskUse | None = None  # None: nobody has measured it
    prober_suspect: bool = False  # so many fail at once that the prober is the likelier culprit
    capacity_left: int = 1  # containers that the ceiling still allows

    @property
    def container_name(self) -> str:
        """The name of the Home's container, "" before there is a Home."""
        return "" if self.home is None else IncarnationNames.container(self.site.project, self.home.name)

    @property
    def is_asleep(self) -> bool:
        return self.user_container.status.asleep_since is not None

    def container(self) -> ObservedContainer | None:
        """The container that the engine shows under our name, ours or foreign."""
        return self.engine.named(self.container_name)

    def is_ours(self, identity: Identity | None) -> bool:
        """Whether labels prove a container to be this Home's and its owner's."""
        return (
            identity is not None
            and self.home is not None
            and identity.project == self.site.project
            and identity.home == self.home.name
            and identity.user_container == self.user_container.uid
        )

    def strays(self) -> tuple[ObservedContainer, ...]:
        """Containers that claim this user under another name, or another Home, than is theirs."""
        name = self.container_name
        return tuple(
            one
            for one in self.engine.containers or ()
            if one.identity is not None
            and one.identity.project == self.site.project
            and one.identity.user_container == self.user_container.uid
            and (one.name != name or not self.is_ours(one.identity))
        )


def is_running(container: ObservedContainer | None) -> bool:
    """Paused counts: it still holds its address and its data directory."""
    return container is not None and container.state in (ContainerState.RUNNING, ContainerState.PAUSED)
