"""Mounts of the host's own files: which sources and targets are refused, and why.

Pure, and judged twice: as the template writes a source, and as the host resolves it. A source that containers
may write is mounted whole or not at all: below it, a container could put a link in the way that leads
elsewhere. Next: :mod:`reconciler.core.ceiling`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from posixpath import normpath

from reconciler.core.container import ContainerSpec, Mount

# Mounting over these would hand the workload its own loader, accounts or devices to rewrite.
TARGETS_REFUSED = ("/", "/usr", "/usr/local", "/run")
TARGET_TREES_REFUSED = (
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
# Kernel and devices, accounts and secrets, sockets, and what engines keep of everybody.
SOURCE_TREES_REFUSED = (
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/run",
    "/var/run",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
)

# Podman makes one line of a mount, in which `/x,source=/etc` mounts the host's /etc. Source: tried, 4.3.
_PATH = re.compile(r"/[A-Za-z0-9._~@+/-]*")
_MEND = "keep to letters, digits and ._~@+-"


@dataclass(frozen=True, slots=True)
class AllowedMount:
    """A path of the host whose tree templates may mount, read-only unless it is ``writable``."""

    path: str
    writable: bool = False

    def __str__(self) -> str:
        return f"{self.path}:rw" if self.writable else self.path


def mount_refusals(
    spec: ContainerSpec, allowed: Sequence[AllowedMount], never: Sequence[str]
) -> tuple[str, ...]:
    """Why ``spec`` may not have its mounts, "" among them for nothing; ``never`` are paths of our own."""
    sources = (source_refusal(one, allowed, never) for one in spec.mounts)
    return (*sources, *_target_refusals(spec))


def source_refusal(mount: Mount, allowed: Sequence[AllowedMount], never: Sequence[str]) -> str:
    """Why that path of the host is not mounted, in one line; "" if it may be."""
    source, written = _plain(mount.source), ", ".join(map(str, allowed)) or "none"
    if not _PATH.fullmatch(mount.source):
        return f"mount of {mount.source}: engines read some of its characters as options; {_MEND}"
    if source != mount.source:
        return f"mount of {mount.source}: write the path as {source}"
    for tree in (*SOURCE_TREES_REFUSED, *never):
        if _is_within(source, tree) or _is_within(tree, source):
            return f"mount of {source}: no container gets to see {tree}, whatever CEILING_MOUNTS says"
    above = [one for one in allowed if _is_within(source, one.path)]
    if not above:
        return f"mount of {source}: it is below none of CEILING_MOUNTS ({written})"
    if any(one.writable and one.path != source for one in above):
        return (
            f"mount of {source}: containers may write what it lies in (CEILING_MOUNTS: {written}); mount that"
        )
    if not mount.read_only and not any(one.writable for one in above):
        return f"mount of {source}: it may only be read; say readOnly: true, or {source}:rw in CEILING_MOUNTS"
    return ""


def target_refusal(setting: str, path: str) -> str:
    """Why nothing may be mounted there in a container, in one line; "" if it may, or nothing is."""
    if not path:
        return ""
    if not _PATH.fullmatch(path):
        return f"{setting} {path}: engines read some of its characters as options; {_MEND}"
    plain = _plain(path)
    if plain in TARGETS_REFUSED or any(_is_within(plain, tree) for tree in TARGET_TREES_REFUSED):
        return f"{setting} {path} would cover the image's own system directories"
    return ""


def _target_refusals(spec: ContainerSpec) -> Iterator[str]:
    taken = [_plain(spec.data_mount_path)] if spec.data_mount_path else []
    for one in spec.mounts:
        target = _plain(one.target)
        yield target_refusal("mountPath", one.target)
        if any(_is_within(target, other) or _is_within(other, target) for other in taken):
            yield f"mountPath {one.target} lies in another mount, or another in it; keep them apart"
        taken.append(target)


def _is_within(path: str, tree: str) -> bool:
    return tree == "/" or f"{path}/".startswith(f"{tree}/")


def _plain(path: str) -> str:
    # POSIX leaves two leading slashes to the system, and Linux takes them for one.
    return "/" + normpath(path).lstrip("/")
