"""The ceiling: what the reconciler will run at the most, whatever a spec asks for.

It comes from the reconciler's own settings, so whoever could write specs still could not own the host.
Functions return the reasons something is not allowed, not a bool. Next: :mod:`reconciler.core.world`.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import normpath

from reconciler.core.container import ContainerSpec

RUNTIME_DEFAULT = ""
# Engines read 0 as "no limit", and what rounds to it too. Source: Docker refuses less memory than 6 MiB.
MEMORY_BYTES_MIN = 6 << 20
CPUS_MIN = 0.01
PIDS_MIN = 1
# Mounting over these would hand the workload its own loader, accounts or devices to rewrite.
MOUNT_PATHS_REFUSED = ("/", "/usr", "/usr/local", "/run")
MOUNT_TREES_REFUSED = (
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/bin",
    "/usr/local/lib",
)


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
    containers_max: int = 1000
    creates_per_minute_max: int = 120


def violations(spec: ContainerSpec, ceiling: Ceiling) -> tuple[str, ...]:
    """Why ``spec`` may not run under ``ceiling``; empty if it may. Each names the setting that decides."""
    return tuple(reason for reason in _reasons(spec, ceiling) if reason)


def _reasons(spec: ContainerSpec, ceiling: Ceiling) -> tuple[str, ...]:
    return (
        _unless(
            any(fnmatchcase(spec.image, glob) for glob in ceiling.images),
            f"image {spec.image} matches none of CEILING_IMAGES ({', '.join(ceiling.images)})",
        ),
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
            not _is_refused_mount(spec.data_mount_path),
            f"data.mountPath {spec.data_mount_path} would cover the image's own system directories",
        ),
        _unless(
            spec.user.split(":")[0].strip("0") != "", "security.user 0 (root) is never run; name another user"
        ),
    )


def _is_refused_mount(path: str) -> bool:
    if not path:
        return False
    # POSIX leaves two leading slashes to the system, and Linux takes them for one.
    plain = "/" + normpath(path).lstrip("/")
    trees = (f"{tree}/" for tree in MOUNT_TREES_REFUSED)
    return plain in MOUNT_PATHS_REFUSED or any(f"{plain}/".startswith(tree) for tree in trees)


def _at_most(what: str, asked: float, most: float, setting: str) -> str:
    return _unless(asked <= most, f"{what} {asked:g} is over {setting} ({most:g})")


def _at_least(what: str, asked: float, least: float) -> str:
    return _unless(asked >= least, f"{what} {asked:g} is no limit to an engine; give at least {least:g}")


def _unless(condition: bool, reason: str) -> str:
    return "" if condition else reason
