"""What a plan is, and what the planning of every stage shares.

Next: :mod:`reconciler.core.plan`.
"""

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.actions import Action, Remove
from reconciler.core.backoff import is_over
from reconciler.core.ceiling import violations
from reconciler.core.container import ObservedContainer
from reconciler.core.effective import Wanted
from reconciler.core.world import World
from state.kinds.incarnation import Incarnation
from state.kinds.template import ContainerTemplate
from state.kinds.user_inputs import INPUT_MISSING, INPUT_UNREADABLE, key_id_of


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


EXIT_KILLED = 128 + 9  # by SIGKILL, as shells count
NOTHING = Plan()
# Its event, or the next list, brings us back.
REMOVAL_UNDER_WAY = Blocked("Removing", "the engine is removing the container")


def is_recorded(world: World, container: ObservedContainer, incarnation: Incarnation) -> bool:
    identity = container.identity
    return world.is_ours(identity) and identity is not None and identity.number == incarnation.spec.number


def not_allowed(world: World, wanted: Wanted | None) -> Blocked | None:
    reasons = violations(wanted.spec, world.site.ceiling) if wanted is not None else ()
    return Blocked("NotAllowed", "; ".join(reasons)) if reasons else None


def halted(world: World) -> Blocked | None:
    """What stands against making or starting anything just now; what runs is left alone."""
    if world.not_isolated:
        return Blocked("NotIsolated", world.not_isolated)
    return Blocked("DiskFull", world.disk_full) if world.disk_full else None


def crash_loop(world: World, target: Wanted) -> Blocked | None:
    """What died by itself more than once waits longer each time, unless somebody asks, or wants another."""
    status = world.user_container.status
    if status.restart_after is None or world.requests:
        return None
    if is_over(status.restart_after, world.now):
        return None
    if status.spec_hash != target.hash:
        return None
    until = f"{status.restart_after:%H:%M:%S UTC}"
    said = f"ended with {_how_it_died(world, target)}, {status.restart_count} times by now"
    return Blocked("CrashLoop", f"{said}; the next start waits until {until}")


def _how_it_died(world: World, target: Wanted) -> str:
    last, limit = world.user_container.status.last_termination, f"{target.spec.memory_bytes >> 20} MiB"
    if last is None:
        return "Error"
    if last.reason == "OOMKilled":
        return f"OOMKilled (limit {limit})"
    if last.exit_code == EXIT_KILLED:  # not every engine says whether it was for memory
        return f"{last.reason} (exit code {EXIT_KILLED}: killed, maybe for memory; its limit is {limit})"
    return last.reason


def values_wanting(world: World, wanted: Wanted) -> Blocked | None:
    """What the user alone can mend: a required value that is missing, a secret that is for another key."""
    if wanted.missing:
        return value_wanting(INPUT_MISSING, wanted.missing)
    unreadable = (name for name, sealed in wanted.spec.secrets if key_id_of(sealed) != world.site.key_id)
    titles = tuple(title_of(world.template, name) for name in unreadable)
    return value_wanting(INPUT_UNREADABLE, titles) if titles else None


def value_wanting(reason: str, titles: tuple[str, ...]) -> Blocked:
    """In words for the user; ``titles`` are of the inputs that it is about."""
    named = ", ".join(f"“{title}”" for title in titles)
    if reason == INPUT_MISSING:
        return Blocked(reason, f"{named} is needed first; fill it in on the account page")
    return Blocked(reason, f"{named} cannot be read any more; fill it in again on the account page")


def title_of(template: ContainerTemplate | None, name: str) -> str:
    """What people know an input by."""
    declared = template.spec.inputs if template is not None else ()
    return next((one.title for one in declared if one.name == name), name)


def template_missing(world: World) -> Blocked:
    name = world.user_container.spec.template
    return Blocked("TemplateMissing", f"no ContainerTemplate {name}; apply one, or name another")


def name_taken(container: ObservedContainer) -> Blocked:
    return Blocked(
        "NameTaken", f"a container named {container.name} is there that is not ours; rename or remove it"
    )


def two_containers(world: World) -> Blocked:
    names = ", ".join(one.name for one in world.strays())
    return Blocked("TwoContainers", f"{names} also claims this user; remove it by hand")


def unless_frozen(world: World, action: Remove) -> Plan:
    if world.destruction_frozen:
        return Plan(blocked=Blocked("DestructionFrozen", world.destruction_frozen))
    return Plan(action)
