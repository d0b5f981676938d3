"""The effective spec: a template, a user's overrides and values and nothing else, as one ContainerSpec.

Decides what a user's container is made of. Of a user's own values it takes those that the template declares:
each takes the place of the template's ``env``, and an operator's ``overrides.env`` takes its place. What may
go to the proxy alone is told of it by the variables that programs look for, before all of these. Whether the
whole is allowed is :mod:`reconciler.core.ceiling`'s to say, which comes next.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.container import ContainerSpec, Mount, spec_hash
from state.kinds.template import ContainerTemplate, Egress, Input, Pull, Resources
from state.kinds.user_container import ResourceOverrides, UserContainer
from state.kinds.user_inputs import InputValue, UserInputs

NO_PROXY = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should run: the spec, its hash, and how its image is to be had."""

    spec: ContainerSpec
    hash: str
    pull: Pull
    missing: tuple[str, ...] = ()  # titles of required inputs without a value


def wanted_of(
    template: ContainerTemplate,
    user_container: UserContainer,
    inputs: UserInputs | None = None,
    egress_proxy: str = "",
) -> Wanted:
    """The container that ``user_container`` should have by ``template``, with what its user filled in.

    ``egress_proxy`` is the URL of the proxy zone's proxy.
    """
    base, overrides = template.spec, user_container.spec.overrides
    resources = _resources(base.resources, overrides.resources)
    values = _values(base.inputs, overrides.env, inputs)
    secrets = {name: value.sealed for name, value in values.items() if value.sealed}
    texts = {name: value.text for name, value in values.items() if value.text}
    proxy = proxy_env(egress_proxy) if base.security.egress is Egress.PROXY else {}
    env = {**proxy, **base.env, **texts, **overrides.env}
    spec = ContainerSpec(
        image=overrides.image or base.image,
        command=base.command,
        env=tuple(sorted((name, value) for name, value in env.items() if name not in secrets)),
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
        secrets=tuple(sorted(secrets.items())),
        egress=base.security.egress,
        mounts=tuple(Mount(one.source, one.mount_path, one.read_only) for one in base.mounts),
        disk_bytes=resources.disk,
    )
    given = values.keys() | overrides.env.keys()
    missing = tuple(one.title for one in base.inputs if one.required and one.name not in given)
    return Wanted(spec, spec_hash(spec), base.pull, missing)


def proxy_env(url: str) -> dict[str, str]:
    """How programs are told of a proxy; in both cases, as they differ in which they read.

    Source: curl(1), "Environment".
    """
    said = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": NO_PROXY}
    return said | {name.lower(): value for name, value in said.items()}


def _values(
    declared: tuple[Input, ...], overridden: Mapping[str, str], inputs: UserInputs | None
) -> dict[str, InputValue]:
    """What the user filled in, as far as the template declares it and no operator overrides it."""
    if inputs is None:
        return {}
    names = {one.name for one in declared} - overridden.keys()
    return {name: value for name, value in inputs.spec.values.items() if name in names}


def _resources(base: Resources, overrides: ResourceOverrides) -> Resources:
    return base.model_copy(update=overrides.model_dump(exclude_none=True))
