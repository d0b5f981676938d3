"""Every bound of holding, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HoldLimits:
    timeout_s: float = 60.0
    """HOLD_TIMEOUT_S: after it, 503 with Retry-After."""
    held_max: int = 2000
    """Requests held by one worker; the next one gets 503."""
    held_per_seat_max: int = 64
    """Requests held for one user's container; the next one gets 429."""
    navigation_s: float = 1.0
    """How long a browser's navigation waits before it gets the waiting page."""
    silence_s: float = 10.0
    """Nothing is sent before this, so that 503 stays possible."""
    comment_every_s: float = 10.0
    """Between the comments of a waiting event stream. Source: WHATWG HTML 9.2.7 says 15 s or so."""
    body_kept_bytes_max: int = 64 * 1024
    """A held JSON-RPC call whose body is read ahead, to know its id; larger ones wait without comments."""
    answer_kept_bytes_max: int = 4 * 1024 * 1024
    """A JSON answer that becomes one event, because the stream had begun."""
    listening_s: float = 3600.0
    """How long an MCP client hears comments of ours while its container sleeps; then it connects again."""
    listening_max: int = 5000
    """Clients of one worker that listen so; the next one gets 503."""
    listening_per_seat_max: int = 64
    """Clients that listen so to one user's container; the next one gets 429."""
    dials_max: int = 16
    """Dials of one request that may fail before it gets 503."""
    redial_s_min: float = 0.05
    redial_s_max: float = 1.0
    """Between two dials of an endpoint that the table still names; the pause doubles."""
