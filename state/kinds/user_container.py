"""UserContainer: user → container spec, the one thing this project is about.

Its status is the whole answer to "why is it not as it should be": conditions, the endpoint the gateway
may route to, and what is known of the last termination. Next: :mod:`state.kinds.app`.
"""

import base64
import hashlib
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from state.kinds.app import APP_PROVIDER
from state.kinds.quantity import Bytes
from state.kinds.resource import MESSAGE_CHARS_MAX, Metadata, Name, Resource, Shape, Spec, Status, User
from state.kinds.template import ENV_COUNT_MAX, EnvName, EnvValue, Image, Port

LOG_TAIL_CHARS_MAX = 4096
DATA_FINALIZER = "data"  # the container is gone and the data is tombstoned
OVER_DISK_LIMIT = "OverDiskLimit"  # as a reason: more of the disk is taken than may be


class Power(StrEnum):
    """Auto: as policy and demand say. Running: always up. Stopped: no container, the data is kept."""

    AUTO = "Auto"
    RUNNING = "Running"
    STOPPED = "Stopped"


class ResourceOverrides(Shape):
    """Single limits that differ from the template's."""

    memory: Bytes | None = None
    cpus: Annotated[float, Field(gt=0, le=256)] | None = None
    pids: Annotated[int, Field(ge=8, le=65536)] | None = None
    shm: Bytes | None = None
    disk: Bytes | None = None


class Overrides(Shape):
    """Where this user's container differs from its template."""

    image: Image | None = None
    env: Annotated[dict[EnvName, EnvValue], Field(default_factory=dict, max_length=ENV_COUNT_MAX)]
    resources: ResourceOverrides = ResourceOverrides()


class UserContainerSpec(Spec):
    user: User
    template: Annotated[Name, Field(description="The ContainerTemplate that it is made from.")]
    power: Power = Power.AUTO
    overrides: Overrides = Overrides()


class EndpointStatus(Shape):
    """Where the gateway may send this user's requests. Present exactly while ``Routed`` is True."""

    host: str
    port: Port
    incarnation: str  # connection pools are per incarnation: a byte never meets an older one


class Termination(Shape):
    """How the last container ended."""

    reason: str  # OOMKilled, Error, Completed, Unhealthy, NeverReady, Removed, Slept …
    exit_code: int | None = None
    at: AwareDatetime
    log_tail: Annotated[str, Field(max_length=LOG_TAIL_CHARS_MAX)] = ""


class FilesStatus(Shape):
    """What was last made of the template's ``files``."""

    hash: str = ""  # of all of them together; empty: none was written
    headers_generation: int = 0  # of the UserHeaders that they were made of; 0: there was none
    written_at: AwareDatetime | None = None
    trouble: Annotated[str, Field(max_length=MESSAGE_CHARS_MAX)] = ""  # why one could not be written


class UserContainerStatus(Status):
    home: str = ""
    incarnation: str = ""
    spec_hash: str = ""  # of what runs, not of what is wanted
    endpoint: EndpointStatus | None = None
    restart_count: int = 0  # since the last long health; paces the crash-loop backoff
    restart_after: AwareDatetime | None = None
    ready_at: AwareDatetime | None = None
    last_termination: Termination | None = None
    asleep_since: AwareDatetime | None = None  # set: put to sleep, no container until it is woken
    files: FilesStatus = FilesStatus()
    failed_spec_hash: str = ""  # a spec that never got ready here; rolled back until another one is wanted


class UserContainer(Resource):
    kind: ClassVar[str] = "UserContainer"

    spec: UserContainerSpec
    status: UserContainerStatus = UserContainerStatus()

    def unique_keys(self) -> tuple[str, ...]:
        return (seat_key(self.spec.user, self.spec.template),)


def new_user_container(name: str, spec: UserContainerSpec, *, managed_by: str) -> UserContainer:
    """A UserContainer that is to be created, by a file or by a sign-in: never without its finalizer."""
    metadata = Metadata(name=name, managed_by=managed_by, finalizers=(DATA_FINALIZER,))
    return UserContainer(metadata=metadata, spec=spec)


def seat_key(user: str, template: str) -> str:
    """The unique key of a UserContainer: one per user and template."""
    return f"seat:{user}/{template}"


def seat_key_prefix(app: str) -> str:
    """What the unique keys of all UserContainers of an App's users begin with."""
    return f"seat:{APP_PROVIDER}:{app}."


def derived_name(user: str, template: str) -> str:
    """The name of a UserContainer that no manifest names: stable, and silent about who the user is."""
    digest = hashlib.sha256(f"{user}\n{template}".encode()).digest()
    return "u-" + base64.b32encode(digest[:15]).decode().lower()
