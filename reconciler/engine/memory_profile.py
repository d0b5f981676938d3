"""What kind of pretend machine, and what kind of programs run on it. Values only.

Next: :mod:`reconciler.engine.memory_machine`.
"""

from dataclasses import dataclass

from reconciler.core.container import Capabilities


@dataclass(frozen=True, slots=True)
class Workload:
    """How the program in a container behaves."""

    startup_s: float = 0.0  # from its start to its first good answer to a probe
    lives_s: float | None = None  # ends by itself this long after its start; None: never
    exit_code: int = 0
    oom: bool = False  # its end is the kernel's doing
    can_run: bool = True  # False: there is no such command
    stops_s: float = 0.0  # from SIGTERM to its end
    prints: str = ""  # at each start


@dataclass(frozen=True, slots=True)
class Profile:
    """Latencies come on top of what any fault wrapper adds."""

    capabilities: Capabilities
    call_s: float = 0.0  # what each mutation takes
    start_s: float = 0.0  # what a start takes beyond that
    removal_s: float = 0.0  # how long a removed container lives on where removal is asynchronous


def laptop_like(call_s: float = 0.0, start_s: float = 0.0) -> Profile:
    """Docker on one machine."""
    capabilities = Capabilities(
        pause=True,
        checkpoint=False,
        fixed_address=True,
        host_paths=True,
        synchronous_remove=True,
        reports_oom=True,
        reaches_addresses=True,
    )
    return Profile(capabilities, call_s=call_s, start_s=start_s)


def cluster_like(call_s: float = 0.0, start_s: float = 0.0, removal_s: float = 1.0) -> Profile:
    """A cluster: no pause, its own addresses and volumes, and names that outlive their removal.

    An address that is freed is the next one given: the worst case for whoever still has it in a table.
    """
    capabilities = Capabilities(
        pause=False,
        checkpoint=False,
        fixed_address=False,
        host_paths=False,
        synchronous_remove=False,
        reports_oom=True,
        reaches_addresses=True,
    )
    return Profile(capabilities, call_s=call_s, start_s=start_s, removal_s=removal_s)
