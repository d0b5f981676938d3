"""Worlds to plan in: one user called alice, and whatever a test adds to the picture.

A Scene starts with a wanted user and nothing else; each method adds one fact and returns another Scene.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from reconciler.core.ceiling import Ceiling
from reconciler.core.container import ContainerState, Identity, ObservedContainer
from reconciler.core.effective import Wanted, wanted_of
from reconciler.core.planned import Plan
from reconciler.core.target import as_record
from reconciler.core.world import EngineView, Health, ImageView, Site, World
from state.kinds.app import App
from state.kinds.demand import Demand, DemandSpec
from state.kinds.home import Home, HomeSpec, HomeStatus, Owner
from state.kinds.incarnation import (
    Incarnation,
    IncarnationNames,
    IncarnationSpec,
    IncarnationState,
    IncarnationStatus,
)
from state.kinds.request import Request, RequestSpec, Verb
from state.kinds.resource import Metadata
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec
from state.kinds.user_container import (
    DATA_FINALIZER,
    EndpointStatus,
    Overrides,
    Power,
    UserContainer,
    UserContainerSpec,
    UserContainerStatus,
)
from state.kinds.user_inputs import InputValue, UserInputs, new_user_inputs

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PROJECT = "p"
UID = "uid-alice"
HOME = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
NAME = IncarnationNames.container(PROJECT, HOME)
ADDRESS = "127.0.0.1:21000"
EPOCH = 7
OTHER_HASH = "0" * 32

CEILING = Ceiling(
    images=("demo:*",), memory_bytes_max=4 << 30, cpus_max=4, pids_max=4096, shm_bytes_max=1 << 30
)
KEY_ID = "0123456789abcdef"
SITE = Site(PROJECT, CEILING, KEY_ID, egress_proxy="http://10.211.8.2:3128")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def template(**spec: Any) -> ContainerTemplate:
    return ContainerTemplate(
        metadata=Metadata(name="demo", uid="uid-demo", generation=1),
        spec=ContainerTemplateSpec.model_validate({"image": "demo:1", "port": 8080, **spec}),
    )


def alice(**metadata: Any) -> UserContainer:
    return UserContainer(
        metadata=Metadata(name="alice", uid=UID, generation=1, finalizers=(DATA_FINALIZER,), **metadata),
        spec=UserContainerSpec(user="github:1", template="demo"),
    )


def home() -> Home:
    owner = Owner(user_container="alice", uid=UID, user="github:1")
    return Home(metadata=Metadata(name=HOME, uid="uid-home"), spec=HomeSpec(template="demo", owner=owner))


def record(
    state: IncarnationState = IncarnationState.STARTED,
    *,
    number: int = 1,
    spec_hash: str,
    address: str = ADDRESS,
    of: str = HOME,
    owner: str = UID,
) -> Incarnation:
    started_at = ago(60) if state is IncarnationState.STARTED else None
    return Incarnation(
        metadata=Metadata(name=IncarnationNames.record(of, number), uid=f"uid-{of}-{number}"),
        spec=IncarnationSpec(
            home=of,
            user_container=owner,
            number=number,
            spec_hash=spec_hash,
            container_name=IncarnationNames.container(PROJECT, of),
            address=address,
            port=8080,
            epoch=EPOCH,
        ),
        status=IncarnationStatus(state=state, started_at=started_at),
    )


def ours(
    spec_hash: str, number: int = 1, *, of: str = HOME, owner: str = UID, epoch: int = EPOCH
) -> Identity:
    return Identity(PROJECT, of, owner, number, spec_hash, epoch)


def shown(
    state: ContainerState = ContainerState.RUNNING,
    *,
    identity: Identity | None,
    name: str = NAME,
    **changes: Any,
) -> ObservedContainer:
    endpoint: dict[str, Any] = {}
    if state is ContainerState.RUNNING:
        endpoint = {"endpoint_host": "127.0.0.1", "endpoint_port": 21000}
    return ObservedContainer(
        id=f"id-{name}", name=name, identity=identity, state=state, address=ADDRESS, **{**endpoint, **changes}
    )


def value_of(value: str) -> InputValue:
    kept = {"sealed": value} if "." in value else {"text": value}
    return InputValue(**kept, set_at=ago(3600))


@dataclass(frozen=True)
class Scene:
    """The facts so far. ``world`` is what a pass would see."""

    owner: UserContainer = field(default_factory=alice)
    template: ContainerTemplate | None = field(default_factory=template)
    home: Home | None = None
    live: Incarnation | None = None
    quarantined: tuple[Incarnation, ...] = ()
    containers: tuple[ObservedContainer, ...] | None = ()
    image: ImageView = field(default_factory=lambda: ImageView(present=True))
    health: Health | None = None
    requests: tuple[Request, ...] = ()
    inputs: UserInputs | None = None
    others: tuple[tuple[str, Any], ...] = ()  # fields of World that nothing else sets

    @property
    def wanted(self) -> Wanted | None:
        if self.template is None:
            return None
        return wanted_of(self.template, self.owner, self.inputs, SITE.egress_proxy)

    @property
    def hash(self) -> str:
        return self.wanted.hash if self.wanted is not None else OTHER_HASH

    @property
    def world(self) -> World:
        facts: dict[str, Any] = {"site": SITE, "epoch": EPOCH, "now": NOW, **dict(self.others)}
        return World(
            user_container=self.owner,
            template=self.template,
            wanted=self.wanted,
            home=self.home,
            incarnation=self.live,
            quarantined=self.quarantined,
            engine=EngineView(self.containers, "it hangs" if self.containers is None else ""),
            image=self.image,
            health=self.health,
            requests=self.requests,
            inputs=self.inputs,
            **facts,
        )

    # What is wanted.

    def templated(self, **spec: Any) -> Self:
        return replace(self, template=template(**spec))

    def untemplated(self) -> Self:
        return replace(self, template=None)

    def overriding(self, **overrides: Any) -> Self:
        spec = self.owner.spec.model_copy(update={"overrides": Overrides.model_validate(overrides)})
        return replace(self, owner=self.owner.replaced(spec=spec))

    def filled_in(self, **values: str) -> Self:
        """What alice filled in. ``<key id>.…`` is sealed."""
        made = {name: value_of(value) for name, value in values.items()}
        return replace(self, inputs=new_user_inputs(self.owner, made))

    def powered(self, power: Power) -> Self:
        return replace(
            self, owner=self.owner.replaced(spec=self.owner.spec.model_copy(update={"power": power}))
        )

    def deleted(self) -> Self:
        metadata = self.owner.metadata.model_copy(update={"deleted_at": ago(1)})
        return replace(self, owner=self.owner.replaced(metadata=metadata))

    def asked(self, verb: Verb = Verb.RESTART, *, seconds_ago: float = 1) -> Self:
        """Later than whatever was asked before."""
        spec = RequestSpec(user_container="alice", verb=verb, asked_by="github:1", asked_at=ago(seconds_ago))
        request = Request(metadata=Metadata(name=f"r-{len(self.requests)}"), spec=spec)
        return replace(self, requests=(*self.requests, request))

    def of_app(self, *, came_seconds_ago: float = 3600, **spec: Any) -> Self:
        """alice is a one-time user of the App shop, unless ``spec`` says otherwise."""
        wanted = {"keySha256": "0" * 64, "template": "demo", "persistent": False, "endAfter": "10m", **spec}
        app = App.model_validate({"metadata": {"name": "shop"}, "spec": wanted})
        owner = self.owner.replaced(
            spec=self.owner.spec.model_copy(update={"user": "app:shop.42"}),
            metadata=self.owner.metadata.model_copy(update={"created_at": ago(came_seconds_ago)}),
        )
        return replace(self, owner=owner).but(app=app)

    def used(self, *, seconds_ago: float) -> Self:
        spec = DemandSpec(last_activity_at=ago(seconds_ago))
        return self.but(demand=Demand(metadata=Metadata(name="alice"), spec=spec))

    # What is on record.

    def seated(self, **status: Any) -> Self:
        """alice has a Home."""
        seat = self.home or home()
        return replace(self, home=seat.replaced(status=seat.status.model_copy(update=status)))

    def recorded(
        self, state: IncarnationState = IncarnationState.STARTED, *, number: int = 1, of: str = ""
    ) -> Self:
        """alice has a live incarnation, of the wanted spec unless ``of`` names another hash."""
        scene = self.seated(last_incarnation=number)
        return replace(scene, live=record(state, number=number, spec_hash=of or self.hash))

    def resting(self, number: int = 1, address: str = ADDRESS) -> Self:
        """An earlier incarnation's address is in quarantine."""
        scene = self.seated(last_incarnation=max(number, self._last_incarnation()))
        gone = record(IncarnationState.QUARANTINED, number=number, spec_hash=self.hash, address=address)
        return replace(scene, quarantined=(*self.quarantined, gone))

    def told(self, **status: Any) -> Self:
        """What the UserContainer's status says."""
        updated: UserContainerStatus = self.owner.status.model_copy(update=status)
        return replace(self, owner=self.owner.replaced(status=updated))

    def asleep(self) -> Self:
        """alice was put to sleep a minute ago."""
        return self.told(asleep_since=ago(60))

    def routed(self, incarnation: str = "") -> Self:
        name = incarnation or (self.live.name if self.live is not None else f"{HOME}-1")
        return self.told(endpoint=EndpointStatus(host="127.0.0.1", port=21000, incarnation=name))

    def once_good(self, **spec: Any) -> Self:
        """Another spec got ready in this Home before; its hash is :meth:`good_hash`."""
        good = wanted_of(template(**spec), alice())
        return self.seated(last_good=as_record(good.spec))

    # What the engine shows.

    def showing(self, state: ContainerState = ContainerState.RUNNING, **changes: Any) -> Self:
        """The recorded container, or one of ours if there is no record."""
        number = self.live.spec.number if self.live is not None else 1
        spec_hash = self.live.spec.spec_hash if self.live is not None else self.hash
        return self.beside(shown(state, identity=ours(spec_hash, number), **changes))

    def beside(self, one: ObservedContainer) -> Self:
        return replace(self, containers=(*(self.containers or ()), one))

    def with_only(self, one: ObservedContainer) -> Self:
        return replace(self, containers=(one,))

    def blind(self) -> Self:
        return replace(self, containers=None)

    # What is observed besides.

    def healthy(self, *, failures: int = 0) -> Self:
        assert self.live is not None, "only what is on record is probed"
        health = Health(self.live.name, since=ago(60), passed_at=ago(50), failures=failures, message="dead")
        return replace(self, health=health if failures else replace(health, message=""))

    def starting(self, *, seconds: float, message: str = "refused") -> Self:
        assert self.live is not None, "only what is on record is probed"
        return replace(self, health=Health(self.live.name, since=ago(seconds), message=message))

    def found_again(self) -> Self:
        """By a reconciler that has just started: it was ready before, and has not answered yet."""
        assert self.live is not None, "only what is on record is probed"
        health = Health(self.live.name, since=ago(1), failures=1, message="refused", was_ready=True)
        return replace(self, health=health)

    def imaged(self, **view: Any) -> Self:
        return replace(self, image=ImageView(**view))

    def but(self, **facts: Any) -> Self:
        """Facts of the pass itself: frozen destruction, a suspect prober, capacity, the site."""
        return replace(self, others=(*self.others, *facts.items()))

    def _last_incarnation(self) -> int:
        return (self.home.status if self.home is not None else HomeStatus()).last_incarnation


def alive(**template_spec: Any) -> Scene:
    """alice's container runs, answers and is routed: nothing is to be done."""
    scene = Scene(template=template(**template_spec)).recorded().showing().healthy().routed()
    return scene.told(ready_at=ago(50), home=HOME)


def good_hash(**spec: Any) -> str:
    return wanted_of(template(**spec), alice()).hash


def in_words(decided: Plan) -> str:
    """A plan as tables write it: ``Retire(OOMKilled)``, ``blocked: NameTaken``, ``nothing``."""
    if decided.action is not None:
        name, reason = type(decided.action).__name__, getattr(decided.action, "reason", "")
        return f"{name}({reason})" if reason else name
    if decided.blocked is not None:
        return f"blocked: {decided.blocked.reason}"
    return f"waiting: {decided.waiting.reason}" if decided.waiting is not None else "nothing"
