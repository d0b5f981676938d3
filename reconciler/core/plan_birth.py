"""The plan of a user who has no container yet: a Home, a record, an image, then the container.

Next: :mod:`reconciler.core.plan_life`.
"""

from reconciler.core.actions import Adopt, ClaimHome, Create, FetchImage, Intend, Remove, Retire
from reconciler.core.backoff import is_over
from reconciler.core.container import ContainerState, Identity, ObservedContainer
from reconciler.core.effective import Wanted
from reconciler.core.planned import (
    REMOVAL_UNDER_WAY,
    Blocked,
    Plan,
    crash_loop,
    halted,
    name_taken,
    not_allowed,
    template_missing,
    two_containers,
    unless_frozen,
    values_wanting,
)
from reconciler.core.target import target_of
from reconciler.core.world import World, is_running
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation


def plan_claim(world: World) -> Plan:
    """A Home only for what may run: a refused spec costs nothing on disk."""
    blocked = not_allowed(world, world.wanted) if world.wanted is not None else None
    if world.template is None:
        blocked = template_missing(world)
    return Plan(blocked=blocked) if blocked is not None else Plan(ClaimHome())


def plan_birth(world: World, home: Home, wanted: Wanted) -> Plan:
    target = target_of(world, wanted)
    container = world.container()
    if container is not None:
        return _plan_found(world, home, container, target)
    blocked = _birth_blocked(world, target)
    if blocked is not None:
        return blocked
    if not world.image.present:
        return plan_image(world, target)
    return Plan(Intend(home, target, world.quarantined))


def _birth_blocked(world: World, target: Wanted) -> Plan | None:
    refused = not_allowed(world, target) or values_wanting(world, target) or halted(world)
    if refused is not None:
        return Plan(blocked=refused)
    if world.strays():
        return Plan(blocked=two_containers(world))
    if (pacing := crash_loop(world, target)) is not None:
        return Plan(blocked=pacing, look_again_at=world.user_container.status.restart_after)
    if world.capacity_left <= 0:
        message = "as many containers as CEILING_CONTAINERS allows are there; raise it, or remove some"
        return Plan(blocked=Blocked("CapacityReached", message))
    return None


def _plan_found(world: World, home: Home, container: ObservedContainer, target: Wanted) -> Plan:
    """A container of our name that is on no record: adopt what our labels prove ours, or stay away."""
    identity = container.identity
    if identity is None or not world.is_ours(identity):
        return Plan(blocked=name_taken(container))
    if container.state is ContainerState.REMOVING:
        return Plan(waiting=REMOVAL_UNDER_WAY)
    # A number that was given here and has no record any more was retired: there is no way back from that.
    is_new_to_us = identity.number > home.status.last_incarnation
    is_kept = bool(world.destruction_frozen) or (halted(world) is not None and is_running(container))
    if is_new_to_us and (identity.spec_hash == target.hash or is_kept):
        return Plan(Adopt(home, container, None))
    return unless_frozen(world, Remove(None, container, behind_barrier=is_running(container)))


def plan_intended(
    world: World, home: Home, incarnation: Incarnation, container: ObservedContainer | None, target: Wanted
) -> Plan:
    if container is not None:
        return Plan(Adopt(home, container, incarnation))
    if incarnation.spec.spec_hash != target.hash:
        return Plan(Retire(incarnation, "SpecChanged", None))
    blocked = not_allowed(world, target) or values_wanting(world, target) or halted(world)
    if blocked is None and world.strays():
        blocked = two_containers(world)
    if blocked is not None:
        return Plan(blocked=blocked)
    if not world.image.present:
        return plan_image(world, target)
    identity = Identity(
        project=world.site.project,
        home=home.name,
        user_container=world.user_container.uid,
        number=incarnation.spec.number,
        spec_hash=target.hash,
        epoch=world.epoch,
    )
    return Plan(Create(incarnation, target.spec, identity))


def plan_image(world: World, target: Wanted) -> Plan:
    if world.image.fetching:
        return Plan(waiting=Blocked("FetchingImage", f"{target.spec.image} is being fetched"))
    retry_at = world.image.retry_at
    if retry_at is not None and not is_over(retry_at, world.now):
        blocked = Blocked(world.image.failed_reason, world.image.failed_message)
        return Plan(blocked=blocked, look_again_at=retry_at)
    return Plan(FetchImage(target))
