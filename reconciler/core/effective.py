"""The effective spec: a template, a user's overrides and nothing else, as one ContainerSpec.

Decides what a user's container is made of. Whether that is allowed is :mod:`reconciler.core.ceiling`'s
to say, which comes next.
"""

from dataclasses import dataclass

from reconciler.core.container import ContainerSpec, spec_hash
from state.kinds.template import ContainerTemplate, Pull, Resources
from state.kinds.user_container import ResourceOverrides, UserContainer


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should run: the spec, its hash, and how its image is to be had."""

    spec: ContainerSpec
    hash: str
    pull: Pull


def wanted_of(template: ContainerTemplate, user_container: UserContainer) -> Wanted:
    """The container that ``user_container`` should have by ``template``."""
    base, overrides = template.spec, user_container.spec.overrides
    resources = _resources(base.resources, overrides.resources)
    spec = ContainerSpec(
        image=overrides.image or base.image,
        command=base.command,
        env=tuple(sorted({**base.env, **overrides.env}.items())),
        port=base.port,
        user=base.security.user,
        memory_bytes=resources.memory,
        cpus=resources.cpus,
        pids=resources.pids,
        shm_bytes=resources.shm,
        read_only_root=base.security.read_only_root,
        cap_add=tuple(sorted(base.security.cap_add)),
        runtime=base.security.runtime,
        data_mount_path=base.data.mount_path if base.data is not None else "",
    )
    return Wanted(spec, spec_hash(spec), base.pull)


def _resources(base: Resources, overrides: ResourceOverrides) -> Resources:
    return base.model_copy(update=overrides.model_dump(exclude_none=True))
