"""What the rest of the gateway tells the authorization server, and for how long what it issues is good."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

CODE_S: Final = 60.0
REFRESH_IDLE_S: Final = 30 * 86400.0
GRANT_S: Final = 180 * 86400.0
ENDED_KEPT_S: Final = 86400.0  # what is over is known a day longer, so that its reuse is seen for what it is


@dataclass(frozen=True, slots=True)
class Terms:
    """``issuer`` byte for byte as tokens and metadata have it.

    The three that are no coroutine only look into memory. ``may_issue`` is also asked in the store's thread.
    ``announce`` makes every worker hear of what was revoked; it may raise StoreError.
    """

    issuer: str
    canonical_resource: Callable[[str | None], str | None]  # the one a client means; None: not ours
    scope_of: Callable[
        [str], str
    ]  # what a token needs at a resource; meant where no known scope is asked for
    may_issue: Callable[[str, float], bool]  # whether this user may come in now, by a grant of that time
    announce: Callable[[], Awaitable[None]]


def digest(secret: str) -> str:
    """Under what a random secret is on record; it needs no slow hash."""
    return sha256(secret.encode()).hexdigest()
