"""Everything that a plan may ask for: a closed union, one action a pass.

Each action is one store transaction, one engine call, or both with the intent on record in between, so
that a process that dies anywhere leaves a world from which the next pass goes on.
Next: :mod:`reconciler.core.planned`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from reconciler.core.backoff import Pace
from reconciler.core.container import ContainerSpec, Identity, ObservedContainer
from reconciler.core.effective import Wanted
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation
from state.kinds.request import Outcome

RetireReason = Literal[
    "Deleted",
    "Stopped",
    "Slept",
    "OverDiskLimit",
    "Restarted",
    "SpecChanged",
    "OOMKilled",
    "Error",
    "Completed",
    "Unhealthy",
    "NeverReady",
    "NeverStarted",
    "Removed",
]


@dataclass(frozen=True, slots=True)
class ClaimHome:
    """Give the UserContainer a new Home of its own, for good."""


@dataclass(frozen=True, slots=True)
class FetchImage:
    """Have the image locally before anything that needs it is begun, or anything old is ended."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Intend:
    """Put on record that this incarnation shall be, with an address of its own."""

    home: Home
    wanted: Wanted
    supersedes: tuple[Incarnation, ...]  # quarantined records of the same Home, whose address it may have


@dataclass(frozen=True, slots=True)
class Create:
    incarnation: Incarnation
    spec: ContainerSpec
    identity: Identity


@dataclass(frozen=True, slots=True)
class Start:
    incarnation: Incarnation
    container_id: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """Record what the engine shows to be ours already: a call whose answer was lost, or a lost store."""

    home: Home
    container: ObservedContainer
    incarnation: Incarnation | None  # None: no record, it is made from the labels


@dataclass(frozen=True, slots=True)
class Route:
    """Let the gateway send requests there."""

    incarnation: Incarnation
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class FileText:
    """A file below a data directory, whole."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class WriteFiles:
    """Have the template's files say in the Home what its user's calls said last. The container runs on."""

    home: Home
    files: tuple[FileText, ...]
    hash: str  # of all that is written then
    headers_generation: int  # of what they were made of


@dataclass(frozen=True, slots=True)
class Unroute:
    """Take the requests away and keep the container."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retire:
    """Unroute and put on record that the incarnation shall go. From here on there is no way back."""

    incarnation: Incarnation
    reason: RetireReason
    container: ObservedContainer | None  # for its exit code and last words
    pace: Pace | None = None
    failed_spec_hash: str | None = None  # to be rolled back from
    answers: tuple[str, ...] = ()  # Requests that this fulfils


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the container; of a live one only after the barrier of its unrouting."""

    incarnation: Incarnation | None  # None: ours by its labels, but on no record
    container: ObservedContainer
    behind_barrier: bool


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The engine says that it is gone; its address is kept from others until the barrier has passed."""

    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class Release:
    """Wait for the barrier, then forget the record and free the address."""

    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class Answer:
    """Finish a Request that needs nothing done."""

    request: str
    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Mark the user as asleep, so that the container goes and none is made until they are woken."""

    answers: tuple[str, ...]  # Requests that this fulfils


@dataclass(frozen=True, slots=True)
class Wake:
    """Take that mark away: what follows is a birth like any other."""

    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class End:
    """Delete a one-time user, unless they were used since; the rest is any deletion's course."""

    used_at: datetime | None  # the last use that was known when this was planned


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The owner is gone: keep the data until its retention ends."""

    home: Home
    retain_until: datetime


@dataclass(frozen=True, slots=True)
class Forget:
    """Let the UserContainer go: everything that its finalizer stood for is done."""


Action = (
    ClaimHome
    | FetchImage
    | Intend
    | Create
    | Start
    | Adopt
    | Route
    | WriteFiles
    | Unroute
    | Retire
    | Remove
    | Quarantine
    | Release
    | Answer
    | Sleep
    | Wake
    | End
    | Tombstone
    | Forget
)
