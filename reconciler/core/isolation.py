"""Whether the fence around containers is believed to stand, and what to say where it is not. Pure.

The reconciler cannot see packet filter rules, which take other rights than it has: it goes by the report.
Next: :mod:`reconciler.core.planned`, which makes nothing while isolation is required and not there.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network

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


BEYOND_FENCES = Isolation(
    "RootlessEngine",
    "a rootless engine's containers go out as connections of its user's, which no fence tells apart, so they "
    "may reach each other, the host and private networks: run the engine as root, then `mcpgw fence`",
)
NOT_LOOKED_YET = Isolation("NotLookedYet", "the fence's report was not read yet")


def isolation_of(
    report: FenceReport | None, subnets: Collection[IPv4Network], boot_id: str, now: datetime
) -> Isolation:
    """By ``report`` on the fence around ``subnets``."""
    if report is None:
        return unfenced("NotFenced", "there is no fence")
    if not boot_id or report.boot_id != boot_id:
        return unfenced("NotFenced", "the fence is from before the last boot")
    missing = sorted(set(subnets) - set(report.subnets))
    if missing:
        there = ", ".join(map(str, missing))
        return unfenced("FenceIncomplete", f"the fence does not stand around {there}")
    if report.kept and abs(now - report.written_at) > KEPT_AGE_MAX:
        since = f"{report.written_at:%Y-%m-%d %H:%M:%S UTC}"
        return unfenced("FenceUnkept", f"nobody has looked after the fence since {since}")
    return Isolation(FENCED, "")


def unfenced(reason: str, why: str) -> Isolation:
    """Some networks part peers by themselves, but not those that something of ours is on."""
    reached = "each other, the host and private networks"
    return Isolation(reason, f"{why}, so containers may reach {reached}: {MEND}")
