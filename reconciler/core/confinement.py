"""Whether an engine holds containers to their limits, by its own word, and the mend where it does not.

Next: :mod:`reconciler.core.container`, of whose Capabilities it is a part.
"""

from dataclasses import dataclass

ENFORCED = "Enforced"


@dataclass(frozen=True, slots=True)
class Confinement:
    """Before an engine was asked, everything is believed to hold."""

    is_rootless: bool = False
    cgroup_version: str = ""  # "1" or "2"; "" where it is not said
    unlimited: tuple[str, ...] = ()  # of memory, cpus and pids: whose limits it takes and does not hold

    @property
    def can_freeze(self) -> bool:
        """Whether containers can be paused."""
        return not (self.is_rootless and self.cgroup_version == "1")

    @property
    def reason(self) -> str:
        """For the condition, verbatim."""
        if not self.unlimited:
            return ENFORCED
        if not self.is_rootless:
            return "ControllersMissing"
        return "RootlessCgroupV1" if self.cgroup_version == "1" else "RootlessUndelegated"

    @property
    def message(self) -> str:
        """Likewise: what does not hold, and the mend."""
        limits = ", ".join(self.unlimited)
        match self.reason:
            case "ControllersMissing":
                return f"this machine's cgroups do not limit {limits}: enable those controllers in the kernel"
            case "RootlessCgroupV1":
                return (
                    f"the engine is rootless under cgroup v1, so {limits} of containers are not limited, and "
                    "none can be paused: run it as root, or boot with systemd.unified_cgroup_hierarchy=1"
                )
            case "RootlessUndelegated":
                return (
                    f"the engine is rootless, and its user may not limit {limits}: run `sudo systemctl edit "
                    "user@.service`, write [Service] and Delegate=cpu cpuset io memory pids, sign in again"
                )
            case _:
                return ""
