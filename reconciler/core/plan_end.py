"""The plan of what is on its way out: a retired container, a stopped user, a deleted one.

Next: :mod:`reconciler.core.plan_sleep`.
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
from reconciler.core.one_time import is_one_time
from reconciler.core.planned import (
    NOTHING,
    REMOVAL_UNDER_WAY,
    Plan,
    is_recorded,
    two_containers,
    unless_frozen,
)
from reconciler.core.world import World, is_running
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation
from state.kinds.request import Outcome

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
    return plan_absence(world, "Stopped")


def plan_absence(world: World, reason: RetireReason) -> Plan:
    """Of whoever is to have no container for now: they keep their data, and no address."""
    gone = _plan_gone(world, reason)
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
        return Plan(Tombstone(home, world.now + _retention(world, home)))
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


def _retention(world: World, home: Home) -> timedelta:
    """How long data outlives its user: not at all where they were, and still are, a one-time user."""
    if home.spec.one_time and is_one_time(world):
        return timedelta(0)
    data = world.template.spec.data if world.template is not None else None
    wanted = data.retain_days if data is not None else RETAIN_DAYS_DEFAULT
    return timedelta(days=max(wanted, world.site.ceiling.retain_days_min))
