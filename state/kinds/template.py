"""ContainerTemplate: what to run for a user, how it lives, and what of it the world may reach.

Decides which templates are well-formed; whether one is *allowed* is the reconciler's ceiling to say.
Next: :mod:`state.kinds.user_container`.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from state.kinds.quantity import Bytes, Seconds
from state.kinds.resource import Name, Resource, Shape, Spec

Port = Annotated[int, Field(ge=1, le=65535)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
EnvValue = Annotated[str, Field(max_length=32768)]
AbsolutePath = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=512)]
Percent = Annotated[str, Field(pattern=r"^(100|[1-9]?[0-9])%$")]

ENV_COUNT_MAX = 256
ROUTES_COUNT_MAX = 256


class Pull(StrEnum):
    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Access(StrEnum):
    """Who may use a route: the Home's owner, whoever knows its hostname, or anyone."""

    OWNER = "owner"
    LINK = "link"
    ANY = "any"


class Route(Shape):
    """One part of the workload's public surface; what no route names is 404."""

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]*$", max_length=256)]
    match: Literal["prefix", "exact", "subtree"] = Field(
        default="subtree",
        description="subtree: the path and what lies below it; prefix: anything that starts with it "
        "(/mcp also covers /mcp-maps); exact: the path alone.",
    )
    access: Access = Access.OWNER
    protocol: Literal["http", "mcp"] = "http"

    @model_validator(mode="after")
    def _mcp_is_owned(self) -> Self:
        if self.protocol == "mcp" and self.access is not Access.OWNER:
            raise ValueError(f"route {self.path}: protocol mcp needs access owner")
        if "//" in self.path or "/../" in f"{self.path}/" or "/./" in f"{self.path}/":
            raise ValueError(f"route {self.path}: write the path normalized, without //, /./ or /../")
        return self


class DataVolume(Shape):
    """Where the Home's data directory is mounted, and how long it outlives its user."""

    mount_path: AbsolutePath
    retain_days: Annotated[int, Field(ge=0, le=3650)] = 30


class Resources(Shape):
    memory: Bytes = 1 << 30
    cpus: Annotated[float, Field(gt=0, le=256)] = 1.0
    pids: Annotated[int, Field(ge=8, le=65536)] = 512
    shm: Bytes = 64 << 20


class Probe(Shape):
    """An HTTP GET that must answer 2xx or 3xx.

    ``timeout_seconds`` of a startup probe is the progress deadline of one start; of a liveness probe
    the patience for one answer.
    """

    http: AbsolutePath = "/health"
    period_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 15.0
    timeout_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 5.0
    failures: Annotated[int, Field(ge=1, le=100)] = 3


class Probes(Shape):
    startup: Probe = Probe(period_seconds=1.0, timeout_seconds=60.0)
    liveness: Probe = Probe()


class Standby(Shape):
    count: Annotated[int, Field(ge=0, le=1000)] = 0
    max_refill_per_minute: Annotated[int, Field(ge=1, le=1000)] = 30


class Idle(Shape):
    pause_after: Seconds | None = None
    checkpoint_after: Seconds | None = None
    stop_after: Seconds | None = None


class Rollout(Shape):
    max_unavailable: Percent | Annotated[int, Field(ge=1)] = "10%"
    drain_timeout: Seconds = 1800.0
    progress_deadline: Seconds = 120.0
    on_failure: Literal["Rollback", "Pause"] = "Rollback"


class Security(Shape):
    user: Annotated[str, Field(pattern=r"^\d{1,9}(:\d{1,9})?$")] = "1000"
    read_only_root: bool = False
    cap_add: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Z_]{1,32}$")], ...], Field(max_length=32)
    ] = ()
    egress: Literal["None", "Internet"] = "Internet"
    runtime: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$")] = ""


class ContainerTemplateSpec(Spec):
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
    pull: Pull = Pull.IF_NOT_PRESENT
    command: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    port: Port
    env: Annotated[dict[EnvName, EnvValue], Field(default_factory=dict, max_length=ENV_COUNT_MAX)]
    data: DataVolume | None = None
    resources: Resources = Resources()
    probes: Probes = Probes()
    routes: Annotated[tuple[Route, ...], Field(max_length=ROUTES_COUNT_MAX)] = ()
    standby: Standby = Standby()
    idle: Idle = Idle()
    rollout: Rollout = Rollout()
    security: Security = Security()

    @model_validator(mode="after")
    def _routes_differ(self) -> Self:
        seen: set[tuple[str, str]] = set()
        for route in self.routes:
            if (route.path, route.match) in seen:
                raise ValueError(f"route {route.path} stands twice; keep one of them")
            seen.add((route.path, route.match))
        return self


class ContainerTemplate(Resource):
    kind: ClassVar[str] = "ContainerTemplate"

    spec: ContainerTemplateSpec


TemplateName = Name
