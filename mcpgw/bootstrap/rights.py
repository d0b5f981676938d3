"""What this process may do, where being root does not say it all: in a container, root lacks most of it."""

from pathlib import Path

CAP_NET_ADMIN = 12
CAP_SYS_RESOURCE = 24
"""Source: linux/capability.h."""


def has_capability(number: int) -> bool:
    """Whether it is in force; True where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        return True
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> number & 1)
