"""The plan of a container that runs, by what the prober found: waited for, routed, unrouted, restarted.

Next: :mod:`reconciler.core.plan_end`.
"""

from datetime import timedelta

from reconciler.core.actions import Adopt, Retire, Route, Unroute
from reconciler.core.backoff import pace_after_death
from reconciler.core.container import ObservedContainer
from reconciler.core.planned import NOTHING, Blocked, Plan
from reconciler.core.target import failed_hash
from reconciler.core.world import Health, World
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.template import ContainerTemplate

# A container that fails this many times its threshold is not coming back by itself.
UNHEALTHY_RESTART_FACTOR = 2
PROBER_SUSPECT = Blocked(
    "ProberSuspect", "so many containers fail at once that the prober itself is suspect; nothing is restarted"
)


def plan_health(
    world: World, incarnation: Incarnation, container: ObservedContainer, template: ContainerTemplate
) -> Plan:
    if incarnation.status.state is not IncarnationState.STARTED and world.home is not None:
        return Plan(Adopt(world.home, container, incarnation))
    if not container.endpoint_host:
        return _plan_unreachable(world, container)
    health = world.health
    if health is None or not health.is_past_startup:
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
    the container's start: what was never routed is asked before it is judged.
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
    if world.health is None or world.health.passed_at is None:
        return Plan(waiting=Blocked("Starting", "it was unrouted, and has not answered since"))
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
