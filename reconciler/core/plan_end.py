"""The plan of what is on its way out: a retired container, a stopped user, a deleted one.

Next: :mod:`reconciler.core.invariants`.
"""

from datetime import timedelta

from reconciler.core.actions import (
    Answer,
    Forget,
    Quarantine,
    Release,
    Remove,
    Retire,
    RetireReason,
    Tombstone,
)
from reconciler.core.container import ContainerState
from reconciler.core.planned import (
    NOTHING,
    REMOVAL_UNDER_WAY,
    Plan,
    is_recorded,
    two_containers,
    unless_frozen,
)
from reconciler.core.world import World, is_running
from state.kinds.incarnation import Incarnation
from state.kinds.request import Outcome
from state.kinds.template import ContainerTemplate

RETAIN_DAYS_DEFAULT = 30  # where the template that said otherwise is gone


def plan_removal(world: World, incarnation: Incarnation) -> Plan:
    """A retired incarnation: remove what the engine still shows of it, then quarantine its address."""
    container = world.container()
    if any(is_recorded(world, one, incarnation) for one in world.strays()):
        return Plan(blocked=two_containers(world))  # somebody renamed it: it still has the address
    if container is None or not is_recorded(world, container, incarnation):
        return Plan(Quarantine(incarnation))
    if container.state is ContainerState.REMOVING:
        return Plan(waiting=REMOVAL_UNDER_WAY)
    return unless_frozen(world, Remove(incarnation, container, behind_barrier=is_running(container)))


def plan_stopped(world: World) -> Plan:
    if world.requests:
        return Plan(Answer(world.requests[0].name, Outcome.REFUSED, "power is Stopped; set it to Auto first"))
    gone = _plan_gone(world, "Stopped")
    if gone is not None:
        return gone
    return Plan(Release(world.quarantined[0])) if world.quarantined else NOTHING


def plan_deletion(world: World) -> Plan:
    """Container, then address, then data, then the record: the finalizer's order."""
    gone = _plan_gone(world, "Deleted")
    if gone is not None:
        return gone
    if world.quarantined:
        return Plan(Release(world.quarantined[0]))
    if world.strays():
        return Plan(blocked=two_containers(world))
    home = world.home
    if home is not None and home.status.tombstoned_at is None:
        return Plan(Tombstone(home, world.now + timedelta(days=_retain_days(world.template))))
    return Plan(Forget())


def _plan_gone(world: World, reason: RetireReason) -> Plan | None:
    """The next step towards having no container at all; None once there is none."""
    container, record = world.container(), world.incarnation
    if record is not None:
        is_its_own = container is not None and is_recorded(world, container, record)
        return Plan(Retire(record, reason, container if is_its_own else None))
    if container is None or not world.is_ours(container.identity):
        return None
    if container.state is ContainerState.REMOVING:
        return Plan(waiting=REMOVAL_UNDER_WAY)
    return unless_frozen(world, Remove(None, container, behind_barrier=is_running(container)))


def _retain_days(template: ContainerTemplate | None) -> int:
    if template is None or template.spec.data is None:
        return RETAIN_DAYS_DEFAULT
    return template.spec.data.retain_days
