"""What this Home's next container should be: the wanted spec, or the last good one after it failed.

Next: :mod:`reconciler.core.plan`.
"""

from dataclasses import asdict
from typing import Any

from reconciler.core.container import ContainerSpec, Mount, spec_hash
from reconciler.core.effective import Wanted
from reconciler.core.world import World
from state.kinds.template import Egress

# A spec that crashes this often without once getting ready is taken for broken, not for unlucky.
CRASHES_BEFORE_FAILED = 3


def target_of(world: World, wanted: Wanted) -> Wanted:
    """``wanted``, unless it failed here before and there is a last good spec to run meanwhile."""
    good = last_good(world)
    return good if good is not None and is_rolled_back(world, wanted) else wanted


def is_rolled_back(world: World, wanted: Wanted) -> bool:
    return world.user_container.status.failed_spec_hash == wanted.hash and last_good(world) is not None


def last_good(world: World) -> Wanted | None:
    """The spec that last got ready in this Home, if one is on record."""
    if world.home is None or world.home.status.last_good is None or world.wanted is None:
        return None
    spec = spec_of(world.home.status.last_good)
    return Wanted(spec, spec_hash(spec), world.wanted.pull)


def failed_hash(world: World, ran: str, *, crashed: bool) -> str | None:
    """The spec hash to roll back from now that a container of ``ran`` ended without getting ready."""
    wanted, good = world.wanted, last_good(world)
    if wanted is None or good is None or ran != wanted.hash or good.hash == wanted.hash:
        return None
    if world.template is None or world.template.spec.rollout.on_failure != "Rollback":
        return None
    if crashed and world.user_container.status.restart_count + 1 < CRASHES_BEFORE_FAILED:
        return None
    return wanted.hash


def as_record(spec: ContainerSpec) -> dict[str, Any]:
    """The spec as JSON gives it back, for :attr:`HomeStatus.last_good`: what is kept equals what is to be."""
    return {name: _as_json(value) for name, value in asdict(spec).items()}


def spec_of(record: dict[str, Any]) -> ContainerSpec:
    """The inverse of :func:`as_record`."""
    return ContainerSpec(
        **{
            **record,
            "command": tuple(record["command"]),
            "env": tuple((name, value) for name, value in record["env"]),
            "cap_add": tuple(record["cap_add"]),
            "secrets": tuple((name, sealed) for name, sealed in record.get("secrets", ())),
            "egress": Egress(record.get("egress", Egress.INTERNET)),
            "mounts": tuple(Mount(*one) for one in record.get("mounts", ())),
        }
    )


def _as_json(value: object) -> object:
    return [_as_json(one) for one in value] if isinstance(value, tuple) else value
