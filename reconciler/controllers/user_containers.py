"""The pass of one UserContainer: observe → plan → check → actuate → report.

It reads as that sentence and decides nothing itself: the plan is the core's, the judgement the
invariants', the carrying out the actuator's. Next: :mod:`reconciler.controllers.homes`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog

from reconciler.controllers.freeze import Freeze
from reconciler.core.actions import Action, Create, FetchImage, Remove, Retire, Start
from reconciler.core.conditions import conditions_of
from reconciler.core.container import ContainerState
from reconciler.core.disk import counted_bytes_max, writing_container
from reconciler.core.effective import Wanted, wanted_of
from reconciler.core.errors import ActionError
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from reconciler.core.planned import Blocked, Plan
from reconciler.core.target import target_of
from reconciler.core.trouble import Trouble, after_failure, given_up, tempered
from reconciler.core.world import EngineView, ImageView, World
from reconciler.loop import records
from reconciler.loop.actuator import ACTOR, Actuator, Hands
from reconciler.loop.disk import Allowance
from reconciler.loop.prober import Prober, Target
from reconciler.loop.wall_clock import WallClock
from state.kinds.demand import Demand
from state.kinds.incarnation import Incarnation, IncarnationNames, IncarnationState
from state.kinds.resource import Resource
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import EndpointStatus, Power, UserContainer
from state.kinds.user_inputs import UserInputs
from state.store.errors import Fenced, StoreError
from state.store.port import Tx

# Actions that take long enough for people to want to know that they are under way.
_SLOW: Final = (FetchImage, Create, Start, Remove)
_NO_IMAGE = ImageView()
_Versions = tuple[tuple[str, int], ...]  # uid and generation of each object that a spec is made of
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """What the queue should do with the key now."""

    again: bool = False  # at once: an action was carried out
    look_again_at: datetime | None = None


DONE = Turn()


class UserContainers:
    """Passes over UserContainers, by name."""

    def __init__(
        self,
        hands: Hands,
        freeze: Freeze,
        prober: Prober,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._hands = hands
        self._freeze = freeze
        self._prober = prober
        self._actuator = Actuator(hands)
        self._now = now
        self._clock = WallClock(now, hands.clock)
        self._jitter = jitter
        self._troubles: dict[str, Trouble] = {}
        self._wanted: dict[str, tuple[_Versions, Wanted]] = {}
        self._began_at: datetime | None = None  # with the first pass
        self._noted: dict[str, _Versions] = {}  # what users filled in, as their claims say it

    async def reconcile(self, name: str, *, urgent: bool) -> Turn:
        """One pass. Never raises for what the world does; a store that is gone comes back as a later turn."""
        world = self.observe(name)
        if world is not None and self._has_unnoted(world):
            await self._note_values(world)
            world = self.observe(name)  # the disk took its time
        if world is None:
            self._forget(name)
            return DONE
        decided = self.decide(world)
        self._probe(world)
        if decided.action is None:
            await self._report(world, decided)
            return Turn(look_again_at=decided.look_again_at)
        if isinstance(decided.action, _SLOW):
            await self._report(world, decided)
        return await self._act(world, decided, urgent=urgent)

    def observe(self, name: str) -> World | None:
        """The world of one UserContainer; None once it is forgotten."""
        owner = self._hands.cache.get(UserContainer, name)
        return None if owner is None else self._with_disk(self._with_image(self._world_of(owner)))

    def _world_of(self, owner: UserContainer) -> World:
        """As far as the store and the engine tell of it."""
        hands, cache = self._hands, self._hands.cache
        template, inputs = cache.get(ContainerTemplate, owner.spec.template), cache.inputs_of(owner)
        home = cache.home_of(owner.uid)
        live, quarantined = cache.incarnations_of(home.name) if home is not None else (None, ())
        now = self._clock.look()
        self._began_at = self._began_at or now
        return World(
            now=now,
            epoch=hands.leader.epoch,
            site=hands.site,
            user_container=owner,
            template=template,
            wanted=self._wanted_of(owner, template, inputs),
            home=home,
            incarnation=live,
            quarantined=quarantined,
            engine=self._engine_view(home.name if home is not None else "", owner.uid),
            image=_NO_IMAGE,
            health=self._prober.health(live.name) if live is not None else None,
            app=cache.app_of(owner.spec.user),
            demand=cache.get(Demand, owner.name),
            watched_since=self._began_at,
            clock_set_at=self._clock.set_at,
            inputs=inputs,
            headers=cache.headers_of(owner),
            requests=cache.requests_of(owner.name),
            destruction_frozen=self._freeze.reason,
            not_isolated=hands.fence.isolation.message if hands.site.requires_isolation else "",
            disk_full=hands.disk.full,
            prober_suspect=self._prober.is_suspect(),
            # What rests of this very user makes room for what comes.
            capacity_left=hands.site.ceiling.containers_max - cache.count(Incarnation) + len(quarantined),
        )

    def decide(self, world: World) -> Plan:
        """The plan, tempered by its last failure, and none at all if it breaks an invariant."""
        owner = world.user_container
        trouble = self._troubles.get(owner.name)
        decided = given_up(plan(world), trouble, world)
        decided = tempered(decided, trouble, owner.metadata.generation, world.now)
        broken = check(world, decided.action)
        if broken:
            _log.error(
                "plan.refused", user_container=owner.name, action=repr(decided.action)[:300], broken=broken
            )
            return Plan(blocked=Blocked("PlanRefused", "; ".join(broken)))
        return decided

    def is_settled(self, name: str) -> bool:
        """Whether a pass would neither act nor tell anything new: what a resync asks of every key."""
        world = self.observe(name)
        if world is None:
            return False
        decided = self.decide(world)
        return decided.action is None and not self._is_news(world, decided) and not self._has_unnoted(world)

    def allowances(self) -> dict[str, Allowance]:
        """What whoever has a container may take of the disk, by Home; who has no limit is left out."""
        allowed = dict[str, Allowance]()
        for owner in self._hands.cache.all(UserContainer):
            world = self._world_of(owner)
            limit = counted_bytes_max(world)
            if world.home is not None and limit and _is_counted(world):
                allowed[world.home.name] = Allowance(limit, writing_container(world))
        return allowed

    async def _act(self, world: World, decided: Plan, *, urgent: bool) -> Turn:
        action, owner = decided.action, world.user_container
        assert action is not None, "only an action is carried out"
        try:
            await self._actuator.carry_out(world, action, urgent=urgent)
        except Fenced:
            raise
        except ActionError as error:
            trouble = after_failure(
                self._troubles.get(owner.name),
                type(action),
                owner.metadata.generation,
                error,
                self._now(),
                self._jitter(),
            )
            self._troubles[owner.name] = trouble
            _log.warning(
                "action.failed",
                user_container=owner.name,
                action=type(action).__name__,
                reason=error.reason,
                message=str(error),
                attempt=trouble.attempt_count,
            )
            return Turn(again=True)
        self._forgive(owner.name, action)
        return Turn(again=True)

    def _forgive(self, name: str, done: Action) -> None:
        """An action that succeeded is no trouble any more; nor is the making of what was given up."""
        last = self._troubles.get(name)
        over = (Create, Start, Retire) if isinstance(done, Retire) else (type(done),)
        if last is not None and last.action in over:
            del self._troubles[name]

    async def _report(self, world: World, decided: Plan) -> None:
        """Write conditions if they changed. A store that does not take them is asked again by the resync."""
        if not self._is_news(world, decided):
            return
        owner, conditions = world.user_container, conditions_of(world, decided)
        generation, epoch = owner.metadata.generation, self._hands.leader.epoch

        def write(tx: Tx) -> records.Written:
            tx.fence(epoch)
            return records.report(tx, owner, conditions, generation)

        try:
            for obj in await self._hands.store.transact(write, actor=ACTOR):
                self._hands.cache.put(obj)
        except Fenced:
            raise
        except StoreError as error:
            _log.warning("status.unwritten", user_container=owner.name, why=str(error))

    async def _note_values(self, world: World) -> None:
        """What users filled in stands beside their data before it is of use: they are not asked again."""
        try:
            is_noted = await self._actuator.note_claim(world)
        except ActionError as error:  # the lease ran out; if it is renewed, another pass notes them
            _log.warning("claim.unwritten", user_container=world.user_container.name, why=str(error))
            return
        if is_noted:
            self._noted[world.user_container.name] = _versions(world.inputs)

    def _has_unnoted(self, world: World) -> bool:
        """An older store does not overwrite what the disk knows better, nor anybody what is put aside."""
        home, owner = world.home, world.user_container
        if world.inputs is None or home is None or world.destruction_frozen or owner.metadata.is_deleted:
            return False
        is_put_aside = home.status.tombstoned_at is not None
        return not is_put_aside and self._noted.get(owner.name) != _versions(world.inputs)

    def _is_news(self, world: World, decided: Plan) -> bool:
        status = world.user_container.status
        if status.observed_generation != world.user_container.metadata.generation:
            return True
        return conditions_of(world, decided) is not status.conditions

    def _probe(self, world: World) -> None:
        """Probe the recorded container while it runs and is meant to stay."""
        incarnation, container, template = world.incarnation, world.container(), world.template
        if incarnation is None or world.engine.containers is None:
            return
        stays = incarnation.status.state is IncarnationState.STARTED and template is not None
        is_up = (
            container is not None and container.state is ContainerState.RUNNING and container.endpoint_port
        )
        if container is None or template is None or not stays or not is_up:
            self._prober.forget(incarnation.name)
            return
        host, port, endpoint = (
            container.endpoint_host,
            container.endpoint_port,
            world.user_container.status.endpoint,
        )
        was_ready = endpoint == EndpointStatus(host=host, port=port, incarnation=incarnation.name)
        self._prober.watch(Target(incarnation.name, host, port, template.spec.probes, was_ready))

    def _engine_view(self, home: str, owner_uid: str) -> EngineView:
        name = IncarnationNames.container(self._hands.site.project, home) if home else ""
        return self._hands.observer.view(name, home, owner_uid)

    def _with_disk(self, world: World) -> World:
        """What the container wrote counts for as long as it is there."""
        if world.home is None:
            return world
        container = world.container()
        use = self._hands.disk.use(world.home.name, container.id if container is not None else "")
        return world if use is None else replace(world, disk=use)

    def _with_image(self, world: World) -> World:
        """The target's image matters only where something is about to be created."""
        if world.wanted is None:
            return world
        record = world.incarnation
        is_made = record is not None and record.status.state is not IncarnationState.INTENDED
        made_of = record.spec.spec_hash if record is not None and is_made else ""
        if made_of == world.wanted.hash:
            return world
        target = target_of(world, world.wanted)
        if made_of == target.hash:
            return world
        view = self._hands.images.view(target.spec.image, target.pull)
        return replace(world, image=view)

    def _wanted_of(
        self, owner: UserContainer, template: ContainerTemplate | None, inputs: UserInputs | None
    ) -> Wanted | None:
        """The effective spec, worked out once for the same objects."""
        if template is None:
            return None
        versions = _versions(owner, template, inputs)
        known = self._wanted.get(owner.name)
        if known is not None and known[0] == versions:
            return known[1]
        wanted = wanted_of(template, owner, inputs, self._hands.site.egress_proxy)
        self._wanted[owner.name] = (versions, wanted)
        return wanted

    def _forget(self, name: str) -> None:
        self._troubles.pop(name, None)
        self._wanted.pop(name, None)
        self._noted.pop(name, None)


def _is_counted(world: World) -> bool:
    """Whoever has a container, be it on record or not; and whom an operator wants up, to be woken."""
    if world.is_asleep and world.user_container.spec.power is Power.RUNNING:
        return True
    return world.incarnation is not None or bool(world.engine.containers)


def _versions(*objects: Resource | None) -> _Versions:
    return tuple((one.uid, one.metadata.generation) for one in objects if one is not None)


def system_jitter() -> float:
    """A number from 0 to 1 to spread retries with; nothing secret hangs on it."""
    return random.random()  # noqa: S311 (spreads retries, guards nothing)
