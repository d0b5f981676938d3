"""What a pass tells people about a UserContainer: conditions, derived from world and plan alone.

Decides words, never actions: nothing here is read back by the plan.
"""

from reconciler.core.actions import (
    Adopt,
    ClaimHome,
    Create,
    FetchImage,
    Intend,
    Quarantine,
    Release,
    Remove,
    Retire,
    Route,
    Sleep,
    Start,
    Tombstone,
    Wake,
)
from reconciler.core.disk import is_over_disk, over_disk_message, was_over_disk
from reconciler.core.planned import (
    REMOVAL_UNDER_WAY,
    Blocked,
    Plan,
    crash_loop,
    halted,
    not_allowed,
    values_wanting,
)
from reconciler.core.target import is_rolled_back, target_of
from reconciler.core.world import World, is_running
from state.kinds.resource import MESSAGE_CHARS_MAX, Condition, Conditions, ConditionType, Truth
from state.kinds.user_container import OVER_DISK_LIMIT, Power

_PROGRESS: dict[type, tuple[str, str]] = {
    ClaimHome: ("Claiming", "a home is being claimed"),
    FetchImage: ("FetchingImage", "the image is being fetched"),
    Intend: ("Placing", "an address is being chosen"),
    Create: ("Creating", "the container is being created"),
    Start: ("Starting", "the container is being started"),
    Adopt: ("Adopting", "the container that is there is being recorded"),
    Route: ("Routing", "it answers; requests are about to be let through"),
    Sleep: ("FallingAsleep", "it is being put to sleep"),
    Wake: ("Waking", "it is being woken"),
    Retire: ("Retiring", "the container is being taken out of service"),
    Remove: ("Removing", "the container is being removed"),
    Quarantine: ("Removing", "the container is gone; its address rests"),
    Release: ("Releasing", "the address is being freed"),
    Tombstone: ("Tombstoning", "the data is put aside until its retention ends"),
}
_ASLEEP = "it was put to sleep and its data is kept; the next call wakes it, and so does opening a page"


def conditions_of(world: World, plan: Plan) -> tuple[Condition, ...]:
    """The conditions after this pass, ``since`` carried over where a status did not change.

    Where nothing changed they are the very tuple that stands in the status: most passes of most users.
    """
    old = world.user_container.status.conditions
    new = (
        _engine_reachable(world),
        _ready(world, plan),
        _routed(world),
        _hibernated(world),
        _progressing(world, plan),
        _degraded(world, plan),
    )
    known = set(map(id, old))
    return old if all(id(one) in known for one in new) else Conditions.merged(old, new)


def _engine_reachable(world: World) -> Condition:
    if world.engine.containers is None:
        return _condition(
            world, ConditionType.ENGINE_REACHABLE, Truth.UNKNOWN, "NoAnswer", world.engine.message
        )
    return _condition(world, ConditionType.ENGINE_REACHABLE, Truth.TRUE, "Answers")


def _ready(world: World, plan: Plan) -> Condition:
    truth, reason, message = _readiness(world, plan)
    return _condition(world, ConditionType.READY, truth, reason, message)


def _readiness(world: World, plan: Plan) -> tuple[Truth, str, str]:
    if world.engine.containers is None:
        return Truth.UNKNOWN, "EngineUnknown", world.engine.message
    if world.user_container.metadata.is_deleted:
        return Truth.FALSE, "Deleted", "the user container is being deleted"
    if world.user_container.spec.power is Power.STOPPED:
        return Truth.FALSE, "Stopped", "power is Stopped"
    if plan.blocked is not None:
        return Truth.FALSE, plan.blocked.reason, plan.blocked.message
    if was_over_disk(world):
        return Truth.FALSE, OVER_DISK_LIMIT, over_disk_message(world)
    if world.is_asleep:
        return Truth.FALSE, "Asleep", _ASLEEP
    if not is_running(world.container()):
        return Truth.FALSE, "NotRunning", _last_words(world)
    return _health(world)


def _health(world: World) -> tuple[Truth, str, str]:
    health, template = world.health, world.template
    if health is None or not health.is_past_startup:
        return Truth.FALSE, "Starting", (health.message if health is not None else "") or "waiting to answer"
    if template is not None and health.failures >= template.spec.probes.liveness.failures:
        return Truth.FALSE, "Unhealthy", f"{health.failures} probes failed in a row: {health.message}"
    if health.passed_at is None:
        return Truth.UNKNOWN, "NoAnswerYet", f"it was ready, and is asked anew: {health.message}"
    return Truth.TRUE, "Answers", ""


def _last_words(world: World) -> str:
    last = world.user_container.status.last_termination
    if last is None:
        return ""
    code = "" if last.exit_code is None else f" (exit code {last.exit_code})"
    return f"the last container ended: {last.reason}{code}"


def _routed(world: World) -> Condition:
    endpoint = world.user_container.status.endpoint
    if endpoint is None:
        return _condition(world, ConditionType.ROUTED, Truth.FALSE, "NoEndpoint")
    return _condition(
        world, ConditionType.ROUTED, Truth.TRUE, "Endpoint", f"at {endpoint.host}:{endpoint.port}"
    )


def _hibernated(world: World) -> Condition:
    if not world.is_asleep:
        return _condition(world, ConditionType.HIBERNATED, Truth.FALSE, "Awake")
    if world.incarnation is not None or world.container() is not None:
        message = "its container is still to be removed"
        return _condition(world, ConditionType.HIBERNATED, Truth.FALSE, "FallingAsleep", message)
    return _condition(world, ConditionType.HIBERNATED, Truth.TRUE, "PutToSleep", "without a container")


def _progressing(world: World, plan: Plan) -> Condition:
    if plan.action is not None and type(plan.action) in _PROGRESS:
        reason, message = _PROGRESS[type(plan.action)]
        return _condition(world, ConditionType.PROGRESSING, Truth.TRUE, reason, message)
    if plan.blocked is not None:
        return _condition(
            world, ConditionType.PROGRESSING, Truth.FALSE, plan.blocked.reason, plan.blocked.message
        )
    if plan.waiting is not None:
        return _condition(
            world, ConditionType.PROGRESSING, Truth.TRUE, plan.waiting.reason, plan.waiting.message
        )
    if world.image.fetching:  # for a replacement, while the old container serves on
        reason, message = _PROGRESS[FetchImage]
        return _condition(world, ConditionType.PROGRESSING, Truth.TRUE, reason, message)
    return _condition(world, ConditionType.PROGRESSING, Truth.FALSE, "Settled")


def _degraded(world: World, plan: Plan) -> Condition:
    if plan.blocked is not None:
        return _condition(
            world, ConditionType.DEGRADED, Truth.TRUE, plan.blocked.reason, plan.blocked.message
        )
    if (pacing := _pacing(world, plan)) is not None:
        return _condition(world, ConditionType.DEGRADED, Truth.TRUE, pacing.reason, pacing.message)
    if world.wanted is not None and is_rolled_back(world, world.wanted):
        message = "the wanted spec never got ready here; the last good one runs until another is wanted"
        return _condition(world, ConditionType.DEGRADED, Truth.TRUE, "RolledBack", message)
    if is_over_disk(world) or was_over_disk(world):
        message = over_disk_message(world)
        return _condition(world, ConditionType.DEGRADED, Truth.TRUE, OVER_DISK_LIMIT, message)
    refused = _refused_edit(world)
    if refused is not None:
        return _condition(world, ConditionType.DEGRADED, Truth.TRUE, refused.reason, refused.message)
    if world.image.failed_reason and not world.image.present:
        return _condition(
            world, ConditionType.DEGRADED, Truth.TRUE, world.image.failed_reason, world.image.failed_message
        )
    if (trouble := world.user_container.status.files.trouble) and world.container() is not None:
        return _condition(world, ConditionType.DEGRADED, Truth.TRUE, "FileUnwritten", trouble)
    if world.strays():
        names = ", ".join(one.name for one in world.strays())
        message = f"{names} also claims this user; the recorded container stays routed"
        return _condition(world, ConditionType.DEGRADED, Truth.TRUE, "TwoContainers", message)
    return _condition(world, ConditionType.DEGRADED, Truth.FALSE, "AsExpected")


def _pacing(world: World, plan: Plan) -> Blocked | None:
    """A crash loop is one from the death on, also while the dead container is still being removed."""
    owner = world.user_container
    is_leaving = owner.metadata.is_deleted or owner.spec.power is Power.STOPPED or world.is_asleep
    is_going = isinstance(plan.action, Remove | Quarantine | Release) or plan.waiting is REMOVAL_UNDER_WAY
    if world.wanted is None or is_leaving or not is_going:
        return None
    return crash_loop(world, target_of(world, world.wanted))


def _refused_edit(world: World) -> Blocked | None:
    """Why what is wanted now could not be made: ceiling, missing value, fence or room; what runs stays.

    A ceiling that was lowered refuses what runs already, too.
    """
    record, wanted = world.incarnation, world.wanted
    if record is None or wanted is None:
        return None
    refused = values_wanting(world, wanted) or not_allowed(world, wanted)
    if refused is not None or record.spec.spec_hash == wanted.hash:
        return refused
    return halted(world)


def _condition(world: World, of: ConditionType, truth: Truth, reason: str, message: str = "") -> Condition:
    """The condition that says so: the one that stands already, if it does."""
    message = message[:MESSAGE_CHARS_MAX]
    old = world.user_container.status.condition(of)
    if old is not None and (old.status, old.reason, old.message) == (truth, reason, message):
        return old
    return Condition(type=of, status=truth, reason=reason, message=message, since=world.now)
