"""The ceiling: what the reconciler will run at the most, whatever a spec asks for.

It comes from the reconciler's own settings, so whoever could write specs still could not own the host.
Functions return the reasons something is not allowed, not a bool. Next: :mod:`reconciler.core.world`.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from reconciler.core.container import ContainerSpec
from reconciler.core.image_reference import image_reference
from reconciler.core.mounts import AllowedMount, mount_refusals, target_refusal
from state.kinds.template import Egress

RUNTIME_DEFAULT = ""
# Engines read 0 as "no limit", and what rounds to it too. Source: Docker refuses less memory than 6 MiB.
MEMORY_BYTES_MIN = 6 << 20
CPUS_MIN = 0.01
PIDS_MIN = 1


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that any container may have. ``images`` and ``capabilities`` are lists of what is allowed."""

    images: tuple[str, ...]  # globs over the image reference
    memory_bytes_max: int
    cpus_max: float
    pids_max: int
    shm_bytes_max: int
    capabilities: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = (RUNTIME_DEFAULT,)
    registries: tuple[str, ...] = ()  # or paths there, in lower case; none: whatever `images` allow
    images_pinned: bool = False  # only what names its digest
    mounts: tuple[AllowedMount, ...] = ()
    mounts_never: tuple[str, ...] = ()  # the engine's socket and this installation's own directories
    disk_bytes_max: int = 0  # of a Home's data, whatever keeps it up; 0: as its template says
    retain_days_min: int = 0  # a floor rather: how long the data of deleted users are kept, whoever says less
    containers_max: int = 1000
    creates_per_minute_max: int = 120
    egress_refused: tuple[tuple[Egress, str], ...] = ()  # what cannot be had here, and why


def violations(spec: ContainerSpec, ceiling: Ceiling) -> tuple[str, ...]:
    """Why ``spec`` may not run under ``ceiling``; empty if it may. Each names the setting that decides."""
    return tuple(reason for reason in _reasons(spec, ceiling) if reason)


def _reasons(spec: ContainerSpec, ceiling: Ceiling) -> tuple[str, ...]:
    return (
        _unless(
            any(_is_named(spec.image, glob) for glob in ceiling.images),
            f"image {spec.image} matches none of CEILING_IMAGES ({', '.join(ceiling.images)})",
        ),
        _registry_refusal(spec.image, ceiling.registries),
        _pin_refusal(spec.image, pinned=ceiling.images_pinned),
        _at_least("memory", spec.memory_bytes, MEMORY_BYTES_MIN),
        _at_least("cpus", spec.cpus, CPUS_MIN),
        _at_least("pids", spec.pids, PIDS_MIN),
        _at_most("memory", spec.memory_bytes, ceiling.memory_bytes_max, "CEILING_MEMORY"),
        _at_most("cpus", spec.cpus, ceiling.cpus_max, "CEILING_CPUS"),
        _at_most("pids", spec.pids, ceiling.pids_max, "CEILING_PIDS"),
        _at_most("shm", spec.shm_bytes, ceiling.shm_bytes_max, "CEILING_SHM"),
        _unless(
            set(spec.cap_add) <= set(ceiling.capabilities),
            f"capabilities {', '.join(spec.cap_add)} go beyond CEILING_CAPABILITIES",
        ),
        _unless(spec.runtime in ceiling.runtimes, f"runtime {spec.runtime} is not in CEILING_RUNTIMES"),
        _unless(
            not ceiling.disk_bytes_max or spec.disk_bytes <= ceiling.disk_bytes_max,
            f"disk {spec.disk_bytes} is over CEILING_DISK ({ceiling.disk_bytes_max})",
        ),
        *mount_refusals(spec, ceiling.mounts, ceiling.mounts_never),
        target_refusal("data.mountPath", spec.data_mount_path),
        _unless(
            int(spec.user.partition(":")[0]) != 0, "security.user 0 (root) is never run; name another user"
        ),
        *(why for egress, why in ceiling.egress_refused if egress is spec.egress),
    )


def disk_bytes_max(spec: ContainerSpec | None, ceiling: Ceiling) -> int:
    """What the Home's data may take: what its template says, and no more than the ceiling; 0: no limit.

    What runs without a spec has the ceiling all the same.
    """
    said = (spec.disk_bytes if spec is not None else 0, ceiling.disk_bytes_max)
    return min((one for one in said if one), default=0)


def _is_named(image: str, glob: str) -> bool:
    """A glob's tag is a tag: ``demo:*`` is not ``demo:5000/app:1``, which is of another registry."""
    name, tag = _parted(glob)
    if not tag:
        return fnmatchcase(image, glob)
    image_name, image_tag = _parted(image)
    return fnmatchcase(image_name, name) and fnmatchcase(image_tag, tag)


def _parted(reference: str) -> tuple[str, str]:
    """``host:5000/app:1`` → ``host:5000/app`` and ``:1``, which is "" without a tag or a digest."""
    folder, slash, last = reference.rpartition("/")
    name, colon, tag = last.partition(":")
    return f"{folder}{slash}{name}", f"{colon}{tag}"


def _registry_refusal(image: str, registries: tuple[str, ...]) -> str:
    if not registries:
        return ""
    allowed, reference = ", ".join(registries), image_reference(image)
    if reference is None:
        mend = f"write registry/name:tag, of one of CEILING_REGISTRIES ({allowed})"
        return f"image {image} names no registry for certain; {mend}"
    if any(reference.is_below(place) for place in registries):
        return ""
    found = f"{reference.registry}/{reference.path}"
    return f"image {image} is {found}, of none of CEILING_REGISTRIES ({allowed})"


def _pin_refusal(image: str, *, pinned: bool) -> str:
    reference = image_reference(image)
    if not pinned or (reference is not None and reference.digest):
        return ""
    return f"image {image} is not pinned, as CEILING_IMAGES_PINNED asks; write name@sha256:<its digest>"


def _at_most(what: str, asked: float, most: float, setting: str) -> str:
    return _unless(asked <= most, f"{what} {asked:g} is over {setting} ({most:g})")


def _at_least(what: str, asked: float, least: float) -> str:
    return _unless(asked >= least, f"{what} {asked:g} is no limit to an engine; give at least {least:g}")


def _unless(condition: bool, reason: str) -> str:
    return "" if condition else reason
