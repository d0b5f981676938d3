"""The plan of one UserContainer: what one pass should do next, why, and when to look again.

It alone decides. It takes a World and gives at most one action, so that a process may die after any of
them and the next pass goes on from what is there. :mod:`reconciler.core.invariants` judges every plan
independently; :mod:`reconciler.core.conditions` tells people what was found.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.core.actions import (
    Action,
    Adopt,
    Answer,
    ClaimHome,
    Create,
    FetchImage,
    Forget,
    Intend,
    Quarantine,
    Release,
    Remove,
    Retire,
    RetireReason,
    Route,
    Start,
    Tombstone,
    Unroute,
)
from reconciler.core.backoff import pace_after_death
from reconciler.core.ceiling import violations
from reconciler.core.container import ContainerState, Identity, ObservedContainer
from reconciler.core.effective import Wanted
from reconciler.core.target import failed_hash, target_of
from reconciler.core.world import Health, World, is_running
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.request import Outcome
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import Power

RETAIN_DAYS_DEFAULT = 30  # where the template that said otherwise is gone
# A container that fails this many times its threshold is not coming back by itself.
UNHEALTHY_RESTART_FACTOR = 2


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why nothing is done although something should be: for the conditions, verbatim."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """``look_again_at`` is when the passing of time alone can change the plan.

    ``blocked`` stands in the way of the spec; ``waiting`` is on its way by itself.
    """

    action: Action | None = None
    blocked: Blocked | None = None
    waiting: Blocked | None = None
    look_again_at: datetime | None = None


NOTHING = Plan()
# Its event, or the next list, brings us back.
REMOVAL_UNDER_WAY = Blocked("Removing", "the engine is removing the container")
PROBER_SUSPECT = Blocked(
    "ProberSuspect", "so many containers fail at once that the prober itself is suspect; nothing is restarted"
)


def plan(world: World) -> Plan:
    """What to do next for one UserContainer.

    While nothing may be removed, nothing that runs is retired: it could not be replaced either.
    """
    decided = _plan(world)
    retired = decided.action.container if isinstance(decided.action, Retire) else None
    if world.destruction_frozen and is_running(retired):
        return Plan(blocked=Blocked("DestructionFrozen", world.destruction_frozen))
    return decided


def _plan(world: World) -> Plan:
    if world.engine.containers is None:
        return Plan(blocked=Blocked("EngineUnknown", world.engine.message))
    if _is_misrouted(world):
        return Plan(Unroute("Misrouted"))
    if world.incarnation is not None and world.incarnation.status.state is IncarnationState.REMOVING:
        return _plan_removal(world, world.incarnation)
    if world.user_container.metadata.is_deleted:
        return _plan_deletion(world)
    if world.user_container.spec.power is Power.STOPPED:
        return _plan_stopped(world)
    return _plan_running(world)


def _plan_running(world: World) -> Plan:
    if world.home is None:
        return _plan_claim(world)
    if world.template is None or world.wanted is None:
        name = world.user_container.spec.template
        return Plan(
            blocked=Blocked("TemplateMissing", f"no ContainerTemplate {name}; apply one, or name another")
        )
    if world.incarnation is None:
        return _plan_birth(world, world.home, world.wanted)
    decided = _plan_life(world, world.home, world.incarnation, world.template, world.wanted)
    if decided.action is None and world.quarantined:
        # It got another address than its predecessor had: that one is freed in a quiet moment.
        return Plan(Release(world.quarantined[0]))
    return decided


def _is_misrouted(world: World) -> bool:
    """Requests go to something else than the incarnation that is on record to stay."""
    endpoint, live = world.user_container.status.endpoint, world.incarnation
    if endpoint is None:
        return False
    is_recorded = live is not None and live.name == endpoint.incarnation
    return not is_recorded or (live is not None and live.status.state is IncarnationState.REMOVING)


def _plan_claim(world: World) -> Plan:
    """A Home only for what may run: a refused spec costs nothing on disk."""
    blocked = _not_allowed(world, world.wanted) if world.wanted is not None else None
    if world.template is None:
        name = world.user_container.spec.template
        blocked = Blocked("TemplateMissing", f"no ContainerTemplate {name}; apply one, or name another")
    return Plan(blocked=blocked) if blocked is not None else Plan(ClaimHome())


# --- no record yet ---------------------------------------------------------------------------------


def _plan_birth(world: World, home: Home, wanted: Wanted) -> Plan:
    target = target_of(world, wanted)
    container = world.container()
    if container is not None:
        return _plan_found(world, home, container, target)
    blocked = _birth_blocked(world, target)
    if blocked is not None:
        return blocked
    if not world.image.present:
        return _plan_image(world, target)
    return Plan(Intend(home, target, world.quarantined))


def _birth_blocked(world: World, target: Wanted) -> Plan | None:
    not_allowed = _not_allowed(world, target)
    if not_allowed is not None:
        return Plan(blocked=not_allowed)
    if world.strays():
        return Plan(blocked=_two_containers(world))
    status = world.user_container.status
    restart_after, is_known_to_crash = status.restart_after, status.spec_hash == target.hash
    if restart_after is not None and restart_after > world.now and is_known_to_crash and not world.requests:
        return Plan(blocked=Blocked("CrashLoop", _crash_message(world)), look_again_at=restart_after)
    if world.capacity_left <= 0:
        message = "as many containers as CEILING_CONTAINERS allows are there; raise it, or remove some"
        return Plan(blocked=Blocked("CapacityReached", message))
    return None


def _plan_found(world: World, home: Home, container: ObservedContainer, target: Wanted) -> Plan:
    """A container of our name that is on no record: adopt what our labels prove ours, or stay away."""
    identity = container.identity
    if identity is None or not world.is_ours(identity):
        return Plan(blocked=_name_taken(container))
    if container.state is ContainerState.REMOVING:
        return Plan(waiting=REMOVAL_UNDER_WAY)
    # A number that was given here and has no record any more was retired: there is no way back from that.
    is_new_to_us = identity.number > home.status.last_incarnation
    if is_new_to_us and (identity.spec_hash == target.hash or world.destruction_frozen):
        return Plan(Adopt(home, container, None))
    return _unless_frozen(world, Remove(None, container, behind_barrier=is_running(container)))


def _name_taken(container: ObservedContainer) -> Blocked:
    return Blocked(
        "NameTaken", f"a container named {container.name} is there that is not ours; rename or remove it"
    )


def _two_containers(world: World) -> Blocked:
    names = ", ".join(one.name for one in world.strays())
    return Blocked("TwoContainers", f"{names} also claims this user; remove it by hand")


def _plan_image(world: World, target: Wanted) -> Plan:
    if world.image.fetching:
        return Plan(waiting=Blocked("FetchingImage", f"{target.spec.image} is being fetched"))
    retry_at = world.image.retry_at
    if retry_at is not None and retry_at > world.now:
        blocked = Blocked(world.image.failed_reason, world.image.failed_message)
        return Plan(blocked=blocked, look_again_at=retry_at)
    return Plan(FetchImage(target))


def _not_allowed(world: World, wanted: Wanted | None) -> Blocked | None:
    reasons = violations(wanted.spec, world.site.ceiling) if wanted is not None else ()
    return Blocked("NotAllowed", "; ".join(reasons)) if reasons else None


def _crash_message(world: World) -> str:
    status = world.user_container.status
    last = status.last_termination
    why = last.reason if last is not None else "Error"
    if why == "OOMKilled" and world.wanted is not None:
        why += f" (limit {world.wanted.spec.memory_bytes >> 20} MiB)"
    until = _clock(status.restart_after)
    return f"ended with {why}, {status.restart_count} times by now; the next start waits until {until}"


def _clock(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%H:%M:%S UTC")


# --- on record and wanted ----------------------------------------------------------------------------


def _plan_life(
    world: World, home: Home, incarnation: Incarnation, template: ContainerTemplate, wanted: Wanted
) -> Plan:
    container = world.container()
    if container is not None and not _is_recorded(world, container, incarnation):
        return _plan_usurped(world, incarnation, container)
    answered = _plan_restart(world, incarnation, container)
    if answered is not None:
        return answered
    match incarnation.status.state:
        case IncarnationState.INTENDED:
            return _plan_intended(world, home, incarnation, container, target_of(world, wanted))
        case IncarnationState.CREATED | IncarnationState.STARTED:
            return _plan_existing(world, incarnation, container, template, wanted)
        case IncarnationState.REMOVING | IncarnationState.QUARANTINED:
            raise AssertionError("a removing or quarantined record is planned elsewhere")


def _is_recorded(world: World, container: ObservedContainer, incarnation: Incarnation) -> bool:
    identity = container.identity
    return world.is_ours(identity) and identity is not None and identity.number == incarnation.spec.number


def _plan_usurped(world: World, incarnation: Incarnation, container: ObservedContainer) -> Plan:
    """Our name is held by something else than what is on record."""
    if not world.is_ours(container.identity):
        if world.user_container.status.endpoint is not None:
            return Plan(Unroute("NameTaken"))
        return Plan(blocked=_name_taken(container))
    return Plan(Retire(incarnation, "Removed", None))


def _plan_restart(world: World, incarnation: Incarnation, container: ObservedContainer | None) -> Plan | None:
    """Restart what was asked to be restarted, once: what started after the asking has already obeyed."""
    if not world.requests:
        return None
    started_at = incarnation.status.started_at
    asked = [one for one in world.requests if started_at is None or one.spec.asked_at > started_at]
    if not asked:
        return Plan(Answer(world.requests[0].name, Outcome.DONE, "started since"))
    if started_at is None:
        return None  # it is just being made, which is a restart
    answers = tuple(one.name for one in asked)
    return Plan(Retire(incarnation, "Restarted", container, answers=answers))


def _plan_intended(
    world: World, home: Home, incarnation: Incarnation, container: ObservedContainer | None, target: Wanted
) -> Plan:
    if container is not None:
        return Plan(Adopt(home, container, incarnation))
    if incarnation.spec.spec_hash != target.hash:
        return Plan(Retire(incarnation, "SpecChanged", None))
    blocked = _not_allowed(world, target) or (_two_containers(world) if world.strays() else None)
    if blocked is not None:
        return Plan(blocked=blocked)
    if not world.image.present:
        return _plan_image(world, target)
    identity = Identity(
        project=world.site.project,
        home=home.name,
        user_container=world.user_container.uid,
        number=incarnation.spec.number,
        spec_hash=target.hash,
        epoch=world.epoch,
    )
    return Plan(Create(incarnation, target.spec, identity))


def _plan_existing(
    world: World,
    incarnation: Incarnation,
    container: ObservedContainer | None,
    template: ContainerTemplate,
    wanted: Wanted,
) -> Plan:
    if container is None:
        return Plan(Retire(incarnation, "Removed", None))
    if incarnation.spec.spec_hash != wanted.hash:
        replaced = _plan_replacement(world, incarnation, container, wanted)
        if replaced is not None:
            return replaced
    match container.state:
        case ContainerState.CREATED:
            return Plan(Start(incarnation, container.id))
        case ContainerState.EXITED:
            return _plan_death(world, incarnation, container)
        case ContainerState.REMOVING:
            return Plan(Retire(incarnation, "Removed", container))
        case ContainerState.PAUSED:
            return _plan_paused(world, container)
        case ContainerState.RUNNING:
            return _plan_health(world, incarnation, container, template)


def _plan_paused(world: World, container: ObservedContainer) -> Plan:
    if world.user_container.status.endpoint is not None:
        return Plan(Unroute("Paused"))
    return Plan(blocked=Blocked("Paused", f"{container.name} was paused by hand; unpause it"))


def _plan_replacement(
    world: World, incarnation: Incarnation, container: ObservedContainer, wanted: Wanted
) -> Plan | None:
    """Replace by the target once nothing stands against it; until then the old one stays as it is."""
    target = target_of(world, wanted)
    if incarnation.spec.spec_hash == target.hash or _not_allowed(world, target) is not None:
        return None
    if world.destruction_frozen and is_running(container):
        return None  # the old one could not be removed, and serves meanwhile
    if not world.image.present:
        plan = _plan_image(world, target)
        return plan if plan.action is not None else None
    return Plan(Retire(incarnation, "SpecChanged", container))


def _plan_death(world: World, incarnation: Incarnation, container: ObservedContainer) -> Plan:
    status = world.user_container.status
    pace = pace_after_death(status.restart_count, status.ready_at, world.now)
    failed = None
    if status.ready_at is None:
        failed = failed_hash(world, incarnation.spec.spec_hash, crashed=True)
    return Plan(Retire(incarnation, death_reason(container), container, pace, failed))


def death_reason(container: ObservedContainer) -> RetireReason:
    """Why a container ended. Source: LAB: podman reports a memory kill as exit 137 alone."""
    if container.oom_killed:
        return "OOMKilled"
    return "Completed" if container.exit_code == 0 else "Error"


def _plan_health(
    world: World, incarnation: Incarnation, container: ObservedContainer, template: ContainerTemplate
) -> Plan:
    if incarnation.status.state is not IncarnationState.STARTED and world.home is not None:
        return Plan(Adopt(world.home, container, incarnation))
    if not container.endpoint_host:
        return _plan_unreachable(world, container)
    health = world.health
    if health is None or health.passed_at is None:
        return _plan_startup(world, incarnation, container, template)
    if health.failures < template.spec.probes.liveness.failures:
        return _plan_routed(world, incarnation, container)
    return _plan_unhealthy(world, incarnation, container, template, health)


def _plan_unreachable(world: World, container: ObservedContainer) -> Plan:
    """It runs and has no address: taken off its network by hand, or not yet on it."""
    if world.user_container.status.endpoint is not None:
        return Plan(Unroute("AddressUnknown"))
    message = f"the engine shows no address for {container.name}; connect it to its network, or restart it"
    return Plan(blocked=Blocked("AddressUnknown", message))


def _plan_startup(
    world: World, incarnation: Incarnation, container: ObservedContainer, template: ContainerTemplate
) -> Plan:
    """Wait for the first answer, up to the progress deadline.

    The deadline counts from when the prober began to look, which after a restart of ours is later than
    the container's start: what was ready is asked before it is judged.
    """
    since = world.health.since if world.health is not None else world.now
    since = max(since, incarnation.status.started_at or since)
    deadline = since + timedelta(seconds=template.spec.probes.startup.timeout_seconds)
    if world.now < deadline:
        said = world.health.message if world.health is not None else ""
        return Plan(waiting=Blocked("Starting", said or "waiting for it to answer"), look_again_at=deadline)
    if world.prober_suspect:
        return Plan(blocked=PROBER_SUSPECT)
    status = world.user_container.status
    pace = pace_after_death(status.restart_count, None, world.now)
    failed = failed_hash(world, incarnation.spec.spec_hash, crashed=False)
    return Plan(Retire(incarnation, "NeverReady", container, pace, failed))


def _plan_routed(world: World, incarnation: Incarnation, container: ObservedContainer) -> Plan:
    endpoint = world.user_container.status.endpoint
    wanted = (container.endpoint_host, container.endpoint_port, incarnation.name)
    if endpoint is not None and (endpoint.host, endpoint.port, endpoint.incarnation) == wanted:
        return NOTHING
    return Plan(Route(incarnation, container.endpoint_host, container.endpoint_port))


def _plan_unhealthy(
    world: World,
    incarnation: Incarnation,
    container: ObservedContainer,
    template: ContainerTemplate,
    health: Health,
) -> Plan:
    """Unroute at the threshold; restart at twice the threshold; neither when the prober is suspect."""
    threshold = template.spec.probes.liveness.failures
    if world.prober_suspect:
        return Plan(blocked=PROBER_SUSPECT)
    if health.failures >= threshold * UNHEALTHY_RESTART_FACTOR:
        status = world.user_container.status
        pace = pace_after_death(status.restart_count, status.ready_at, world.now)
        return Plan(Retire(incarnation, "Unhealthy", container, pace))
    if world.user_container.status.endpoint is not None:
        return Plan(Unroute("Unhealthy"))
    return NOTHING


# --- on the way out ------------------------------------------------------------------------------------


def _plan_removal(world: World, incarnation: Incarnation) -> Plan:
    """A retired incarnation: remove what the engine still shows of it, then quarantine its address."""
    container = world.container()
    if any(_is_recorded(world, one, incarnation) for one in world.strays()):
        return Plan(blocked=_two_containers(world))  # somebody renamed it: it still has the address
    if container is None or not _is_recorded(world, container, incarnation):
        return Plan(Quarantine(incarnation))
    if container.state is ContainerState.REMOVING:
        return Plan(waiting=REMOVAL_UNDER_WAY)
    return _unless_frozen(world, Remove(incarnation, container, behind_barrier=is_running(container)))


def _plan_stopped(world: World) -> Plan:
    if world.requests:
        return Plan(Answer(world.requests[0].name, Outcome.REFUSED, "power is Stopped; set it to Auto first"))
    gone = _plan_gone(world, "Stopped")
    if gone is not None:
        return gone
    return Plan(Release(world.quarantined[0])) if world.quarantined else NOTHING


def _plan_deletion(world: World) -> Plan:
    """Container, then address, then data, then the record: the finalizer's order."""
    gone = _plan_gone(world, "Deleted")
    if gone is not None:
        return gone
    if world.quarantined:
        return Plan(Release(world.quarantined[0]))
    if world.strays():
        return Plan(blocked=_two_containers(world))
    home = world.home
    if home is not None and home.status.tombstoned_at is None:
        return Plan(Tombstone(home, world.now + timedelta(days=_retain_days(world.template))))
    return Plan(Forget())


def _plan_gone(world: World, reason: RetireReason) -> Plan | None:
    """The next step towards having no container at all; None once there is none."""
    container, record = world.container(), world.incarnation
    if record is not None:
        is_recorded = container is not None and _is_recorded(world, container, record)
        return Plan(Retire(record, reason, container if is_recorded else None))
    if container is None or not world.is_ours(container.identity):
        return None
    if container.state is ContainerState.REMOVING:
        return Plan(waiting=REMOVAL_UNDER_WAY)
    return _unless_frozen(world, Remove(None, container, behind_barrier=is_running(container)))


def _retain_days(template: ContainerTemplate | None) -> int:
    if template is None or template.spec.data is None:
        return RETAIN_DAYS_DEFAULT
    return template.spec.data.retain_days


def _unless_frozen(world: World, action: Remove) -> Plan:
    if world.destruction_frozen:
        return Plan(blocked=Blocked("DestructionFrozen", world.destruction_frozen))
    return Plan(action)
