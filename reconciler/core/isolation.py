"""Whether the fence around containers is believed to stand, and what to say where it is not. Pure.

The reconciler cannot see packet filter rules, which take other rights than it has: it goes by the report.
Next: :mod:`reconciler.core.planned`, which makes nothing while isolation is required and not there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network

from reconciler.core.container import Capabilities
from state.fence import FenceReport

KEPT_AGE_MAX = timedelta(seconds=90)  # three rounds of whoever keeps it
FENCED = "Fenced"
MEND = "run `mcpgw fence` as root on the engine's host (under compose: `docker compose up -d fence`)"


@dataclass(frozen=True, slots=True)
class Isolation:
    """For the condition, verbatim."""

    reason: str
    message: str

    @property
    def is_fenced(self) -> bool:
        return self.reason == FENCED


@dataclass(frozen=True, slots=True)
class FenceAsked:
    """What the reconciler's own settings ask of a fence."""

    subnets: frozenset[IPv4Network]
    trusted: frozenset[IPv4Address] = frozenset()
    proxy: str = ""  # the URL of the proxy zone's proxy


BEYOND_FENCES = Isolation(
    "RootlessEngine",
    "a rootless engine's containers go out as connections of its user's, which no fence tells apart, so they "
    "may reach each other, the host and private networks: run the engine as root, then `mcpgw fence`",
)
IN_A_MACHINE = Isolation(
    "EngineInMachine",
    "the engine runs its containers in a virtual machine, where no fence of this system parts them, so they "
    "may reach each other, the host and private networks: run all on a Linux system, with an engine of root",
)
NOT_LOOKED_YET = Isolation("NotLookedYet", "the fence's report was not read yet")


def beyond_fences(capabilities: Capabilities) -> Isolation | None:
    """Why no fence can stand around the engine's containers, whatever a report says; None if one can."""
    if capabilities.confinement.is_rootless:
        return BEYOND_FENCES
    return IN_A_MACHINE if capabilities.in_machine else None


def isolation_of(report: FenceReport | None, asked: FenceAsked, boot_id: str, now: datetime) -> Isolation:
    """By ``report``, on the fence that is ``asked`` for."""
    if report is None:
        return unfenced("NotFenced", "there is no fence")
    if not boot_id or report.boot_id != boot_id:
        return unfenced("NotFenced", "the fence is from before the last boot")
    missing = sorted(asked.subnets - set(report.subnets))
    if missing:
        there = ", ".join(map(str, missing))
        return unfenced("FenceIncomplete", f"the fence does not stand around {there}")
    other = _other_settings(report, asked)
    if other:
        return unfenced("FenceOutdated", f"the fence was written with other settings ({', '.join(other)})")
    if report.kept and abs(now - report.written_at) > KEPT_AGE_MAX:
        since = f"{report.written_at:%Y-%m-%d %H:%M:%S UTC}"
        return unfenced("FenceUnkept", f"nobody has looked after the fence since {since}")
    return Isolation(FENCED, "")


def _other_settings(report: FenceReport, asked: FenceAsked) -> list[str]:
    """Those that let through what is not asked for any more, or keep out what is."""
    differs = {
        "FENCE_TRUSTED": set(report.trusted) != asked.trusted,
        "EGRESS_PROXY": report.proxy != asked.proxy,
    }
    return [setting for setting, is_other in differs.items() if is_other]


def unfenced(reason: str, why: str) -> Isolation:
    """Some networks part peers by themselves, but not those that something of ours is on."""
    reached = "each other, the host and private networks"
    return Isolation(reason, f"{why}, so containers may reach {reached}: {MEND}")
