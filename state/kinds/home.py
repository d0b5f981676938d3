"""Home: a user's seat. It outlives containers; at the claim it gets its owner, for good.

Its name is its hostname: 128 random bits, so that knowing it authorizes the Home's link routes.
Next: :mod:`state.kinds.incarnation`.
"""

import base64
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field, JsonValue

from state.kinds.resource import Name, Resource, Shape, Spec, Status, User

HOSTNAME_BYTES = 16
HOSTNAME_PATTERN = r"^[a-z2-7]{26}$"

Hostname = Annotated[str, Field(pattern=HOSTNAME_PATTERN)]


class Owner(Shape):
    """Whose Home it is: the UserContainer's uid decides, name and user are for people and recovery."""

    user_container: str
    uid: str
    user: User


class HomeSpec(Spec):
    template: Name
    owner: Owner | None = None  # None: a standby that nobody claimed yet
    one_time: bool = False  # claimed for a one-time user: its data goes with them, and is not retained


class HomeStatus(Status):
    last_incarnation: int = 0  # numbers are never given twice
    address: str = ""  # the last one it had, preferred at the next start
    last_good: dict[str, JsonValue] | None = None  # the container spec that last got ready, for a rollback
    tombstoned_at: AwareDatetime | None = None  # set: the owner is gone, the data waits for its end
    retain_until: AwareDatetime | None = None
    purged_at: AwareDatetime | None = None  # never set; stores hold it, and must stay readable


class Home(Resource):
    kind: ClassVar[str] = "Home"

    spec: HomeSpec
    status: HomeStatus = HomeStatus()

    def unique_keys(self) -> tuple[str, ...]:
        return (owner_key(self.spec.owner.uid),) if self.spec.owner is not None else ()


def owner_key(uid: str) -> str:
    """Whose a Home is: nobody has two."""
    return f"owner:{uid}"


def hostname(random_bytes: bytes) -> str:
    """26 base32 characters for 16 random bytes: no dash, a valid DNS label, case-insensitive."""
    assert len(random_bytes) == HOSTNAME_BYTES, "a hostname takes 128 bits"
    return base64.b32encode(random_bytes).decode().lower().rstrip("=")
