"""The plan of a container that is on record and wanted: replaced, restarted, buried, or left as it is.

Next: :mod:`reconciler.core.plan_health`.
"""

from datetime import timedelta

from reconciler.core.actions import Answer, Retire, RetireReason, Start, Unroute
from reconciler.core.backoff import pace_after_death
from reconciler.core.container import ContainerState, ObservedContainer
from reconciler.core.effective import Wanted
from reconciler.core.plan_birth import plan_image, plan_intended
from reconciler.core.plan_health import plan_health
from reconciler.core.planned import (
    Blocked,
    Plan,
    halted,
    is_recorded,
    name_taken,
    not_allowed,
    values_wanting,
)
from reconciler.core.target import failed_hash, last_good, target_of
from reconciler.core.world import World
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.request import Outcome
from state.kinds.template import ContainerTemplate

FROZEN_RESTART_AFTER = timedelta(seconds=10)


def plan_life(
    world: World, home: Home, incarnation: Incarnation, template: ContainerTemplate, wanted: Wanted
) -> Plan:
    container = world.container()
    if container is not None and not is_recorded(world, container, incarnation):
        return _plan_usurped(world, incarnation, container)
    answered = _plan_restart(world, incarnation, container)
    if answered is not None:
        return answered
    match incarnation.status.state:
        case IncarnationState.INTENDED:
            return plan_intended(world, home, incarnation, container, target_of(world, wanted))
        case IncarnationState.CREATED | IncarnationState.STARTED:
            return _plan_existing(world, incarnation, container, template, wanted)
        case IncarnationState.REMOVING | IncarnationState.QUARANTINED:
            raise AssertionError("a removing or quarantined record is planned elsewhere")


def _plan_usurped(world: World, incarnation: Incarnation, container: ObservedContainer) -> Plan:
    """Our name is held by something else than what is on record."""
    if not world.is_ours(container.identity):
        if world.user_container.status.endpoint is not None:
            return Plan(Unroute("NameTaken"))
        return Plan(blocked=name_taken(container))
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
            blocked = _start_refused(world, container, wanted)
            return Plan(blocked=blocked) if blocked is not None else Plan(Start(incarnation, container.id))
        case ContainerState.EXITED if world.destruction_frozen:
            return _plan_restart_as_is(world, incarnation, container, wanted)
        case ContainerState.EXITED:
            return _plan_death(world, incarnation, container)
        case ContainerState.REMOVING:
            return Plan(Retire(incarnation, "Removed", container))
        case ContainerState.PAUSED:
            return _plan_paused(world, container)
        case ContainerState.RUNNING:
            return plan_health(world, incarnation, container, template)


def _plan_paused(world: World, container: ObservedContainer) -> Plan:
    if world.user_container.status.endpoint is not None:
        return Plan(Unroute("Paused"))
    return Plan(blocked=Blocked("Paused", f"{container.name} was paused by hand; unpause it"))


def _plan_replacement(
    world: World, incarnation: Incarnation, container: ObservedContainer, wanted: Wanted
) -> Plan | None:
    """Replace by the target once nothing stands against it; until then the old one stays as it is."""
    target = target_of(world, wanted)
    if incarnation.spec.spec_hash == target.hash:
        return None
    if not_allowed(world, target) is not None or values_wanting(world, target) is not None:
        return None
    if world.destruction_frozen or halted(world) is not None:
        return None  # the old one could not be removed, or the new one not made: it serves meanwhile
    if not world.image.present:
        plan = plan_image(world, target)
        return plan if plan.action is not None else None
    return Plan(Retire(incarnation, "SpecChanged", container))


def _plan_restart_as_is(
    world: World, incarnation: Incarnation, container: ObservedContainer, wanted: Wanted
) -> Plan:
    """What has ended may not be removed now, so it is started again itself, once in a while."""
    if world.user_container.status.endpoint is not None:
        return Plan(Unroute("Ended"))
    blocked = _start_refused(world, container, wanted)
    if blocked is not None:
        return Plan(blocked=blocked)
    ended_at = container.finished_at
    if ended_at is not None and ended_at <= world.now < ended_at + FROZEN_RESTART_AFTER:
        waiting = Blocked("DestructionFrozen", f"it ended, and starts again soon: {world.destruction_frozen}")
        return Plan(waiting=waiting, look_again_at=ended_at + FROZEN_RESTART_AFTER)
    return Plan(Start(incarnation, container.id))


def _start_refused(world: World, container: ObservedContainer, wanted: Wanted) -> Blocked | None:
    """What stands against starting what is made: a ceiling that was lowered since, fence or room.

    The label says what it was made of. Of another spec than these two nothing is known.
    """
    made_of = container.identity.spec_hash if container.identity is not None else ""
    known = (wanted, last_good(world))
    spec = next((one for one in known if one is not None and one.hash == made_of), None)
    return not_allowed(world, spec) or halted(world)


def _plan_death(world: World, incarnation: Incarnation, container: ObservedContainer) -> Plan:
    status = world.user_container.status
    pace = pace_after_death(status.restart_count, status.ready_at, world.now)
    failed = None
    if status.ready_at is None:
        failed = failed_hash(world, incarnation.spec.spec_hash, crashed=True)
    return Plan(Retire(incarnation, death_reason(container), container, pace, failed))


def death_reason(container: ObservedContainer) -> RetireReason:
    """Why a container ended. Source: tried, Podman 4.3 tells a kill for memory by exit code 137 alone."""
    if container.oom_killed:
        return "OOMKilled"
    return "Completed" if container.exit_code == 0 else "Error"
