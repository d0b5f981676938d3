"""Every bound of what is asked of a provider, in one place. Decides nothing."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    login_s: float = 10.0
    """All that one way there, or one way back, asks of the provider: a person waits."""
    fetch_s: float = 4.0
    """One look at a provider's metadata or keys. Well below the above: an old copy may have to do."""
    connect_s: float = 3.0
    silence_s: float = 5.0
    """Between two bytes of an answer."""
    body_bytes_max: int = MIB
    connections_max: int = 64
    idle_connections_max: int = 8
    fresh_s: float = 3600.0
    """For how long metadata and keys are used without looking again."""
    stale_s: float = 24 * 3600.0
    """For how long they are used while looking again fails."""
    retry_s: float = 30.0
    """How long an old copy does before it is tried again."""
    keys_max: int = 64
    pages_max: int = 4
    """Of a list that GitHub gives in pages of a hundred."""


LEEWAY_S = 120
"""How far a provider's clock may be from ours."""
