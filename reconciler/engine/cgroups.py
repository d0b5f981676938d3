"""Which limits an engine's cgroups hold, by its own word. Pure: it reads the answer of ``/info``.

Next: :mod:`reconciler.engine.docker`.

Source: docs.docker.com/reference/api/engine/version/v1.41 (SystemInfo) and /engine/security/rootless;
podman-run(1) ("not supported on cgroups V1 rootless systems"); answers seen from Docker 20.10 and Podman 4.3.
"""

from collections.abc import Mapping
from typing import Any

from reconciler.core.confinement import Confinement

# The field that says whether a limit can be had, and the limit's name in a template's resources.
LIMITS = {"MemoryLimit": "memory", "CpuCfsQuota": "cpus", "PidsLimit": "pids"}

Json = Mapping[str, Any]


def confinement(info: Json) -> Confinement:
    """What is not said is believed to hold: a refusal to create tells otherwise."""
    named = [str(option) for option in info.get("SecurityOptions") or ()]
    is_rootless = info.get("Rootless") is True or any(one.startswith("name=rootless") for one in named)
    version = str(info.get("CgroupVersion") or "")
    missing = tuple(name for field, name in LIMITS.items() if info.get(field) is False)
    if is_rootless and version == "1":  # Podman takes the machine's word for its own there
        missing = tuple(LIMITS.values())
    return Confinement(is_rootless=is_rootless, cgroup_version=version, unlimited=missing)
