"""The plan of one UserContainer: what one pass should do next, why, and when to look again.

It alone decides. It takes a World and gives at most one action, so that a process may die after any of
them and the next pass goes on from what is there. This module says which stage a user is in; each stage has
a module of its own, beginning with :mod:`reconciler.core.plan_birth`. :mod:`reconciler.core.invariants`
judges every plan independently; :mod:`reconciler.core.conditions` tells people what was found.
"""

from dataclasses import replace
from datetime import datetime

from reconciler.core.actions import Action, End, Release, Retire, Sleep, Unroute
from reconciler.core.disk import grace_until, is_too_much
from reconciler.core.files import plan_files
from reconciler.core.one_time import ends_at
from reconciler.core.plan_birth import plan_birth, plan_claim
from reconciler.core.plan_end import plan_deletion, plan_removal, plan_stopped
from reconciler.core.plan_life import plan_life
from reconciler.core.plan_sleep import plan_sleep
from reconciler.core.planned import Blocked, Plan, halted, not_allowed, template_missing
from reconciler.core.target import target_of
from reconciler.core.world import World, is_running
from state.kinds.incarnation import IncarnationState
from state.kinds.user_container import Power

# Why what runs is ended only so that another one takes its place.
_FOR_ANOTHER = ("Restarted", "SpecChanged", "Unhealthy", "NeverReady")
_BY_THE_SAME = ("Restarted", "Unhealthy")


def plan(world: World) -> Plan:
    """What to do next for one UserContainer.

    While nothing may be removed, no container is retired, nor anybody put to sleep who has one: it could not
    be replaced either. While nothing may be made, none is retired for the sake of another one. Whoever asked
    for that is served on meanwhile.
    """
    decided = _plan(world)
    held = _held(world, decided.action)
    if held is None:
        return decided
    if not world.requests:
        return Plan(blocked=held)
    meanwhile = plan(replace(world, requests=()))
    return meanwhile if meanwhile.action is not None else replace(meanwhile, blocked=held)


def _held(world: World, action: Action | None) -> Blocked | None:
    """Why a container that is there may not be ended now."""
    if world.destruction_frozen and _ends_a_container(world, action):
        return Blocked("DestructionFrozen", world.destruction_frozen)
    if isinstance(action, Retire) and action.reason in _FOR_ANOTHER and is_running(action.container):
        return halted(world) or (_refused_again(world) if action.reason in _BY_THE_SAME else None)
    return None


def _refused_again(world: World) -> Blocked | None:
    """A ceiling that was lowered since would not have what runs made anew."""
    return not_allowed(world, target_of(world, world.wanted)) if world.wanted is not None else None


def _plan(world: World) -> Plan:
    if world.engine.containers is None:
        return Plan(blocked=Blocked("EngineUnknown", world.engine.message))
    if _is_misrouted(world):
        return Plan(Unroute("Misrouted"))
    if world.incarnation is not None and world.incarnation.status.state is IncarnationState.REMOVING:
        return plan_removal(world, world.incarnation)
    if world.user_container.metadata.is_deleted:
        return plan_deletion(world)
    due = ends_at(world)
    if due is None or (due <= world.now and world.destruction_frozen):
        return _plan_kept(world)
    if due <= world.now:
        return Plan(End(world.demand.spec.last_activity_at if world.demand is not None else None))
    return _looking_again(_plan_kept(world), due)


def _plan_kept(world: World) -> Plan:
    if world.user_container.spec.power is Power.STOPPED:
        return plan_stopped(world)
    asleep = plan_sleep(world)
    if asleep is not None:
        return asleep
    due = grace_until(world) if is_too_much(world) else None
    return _plan_running(world) if due is None else _looking_again(_plan_running(world), due)


def _plan_running(world: World) -> Plan:
    if world.home is None:
        return plan_claim(world)
    if world.template is None or world.wanted is None:
        return Plan(blocked=template_missing(world))
    if world.incarnation is None:
        return plan_birth(world, world.home, world.wanted)
    decided = plan_life(world, world.home, world.incarnation, world.template, world.wanted)
    if decided.action is None and world.quarantined:
        # It got another address than its predecessor had: that one is freed in a quiet moment.
        return Plan(Release(world.quarantined[0]))
    files = plan_files(world) if decided.action is None else None
    if files is None or files.action is not None:
        return files or decided
    return _looking_again(decided, files.look_again_at) if files.look_again_at is not None else decided


def _looking_again(decided: Plan, at: datetime) -> Plan:
    earlier = at if decided.look_again_at is None else min(at, decided.look_again_at)
    return replace(decided, look_again_at=earlier)


def _ends_a_container(world: World, action: Action | None) -> bool:
    match action:
        case Retire(container=container):
            return container is not None
        case Sleep():
            return world.container() is not None or bool(world.strays())
        case _:
            return False


def _is_misrouted(world: World) -> bool:
    """Requests go to something else than the incarnation that is on record to stay."""
    endpoint, live = world.user_container.status.endpoint, world.incarnation
    if endpoint is None:
        return False
    is_recorded = live is not None and live.name == endpoint.incarnation
    return not is_recorded or (live is not None and live.status.state is IncarnationState.REMOVING)
