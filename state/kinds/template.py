"""ContainerTemplate: what to run for a user, how it lives, and what of it the world may reach.

Decides which templates are well-formed; whether one is *allowed* is the reconciler's ceiling to say.
Next: :mod:`state.kinds.user_container`.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from state.kinds.files import FILES_COUNT_MAX, File, headers_of
from state.kinds.pattern import Pattern, matches
from state.kinds.quantity import Bytes, Seconds
from state.kinds.resource import Resource, Shape, Spec

Port = Annotated[int, Field(ge=1, le=65535)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
EnvValue = Annotated[str, Field(max_length=32768)]
AbsolutePath = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=512, examples=["/app/data"])]
Percent = Annotated[str, Field(pattern=r"^(100|[1-9]?[0-9])%$", examples=["10%"])]
Image = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        pattern=r"^[^\s]+$",
        description="An image reference, with tag or digest.",
        examples=["registry.example.com/team/app:1.2"],
    ),
]

ENV_COUNT_MAX = 256
ROUTES_COUNT_MAX = 256
INPUTS_COUNT_MAX = 32
MOUNTS_COUNT_MAX = 16


class Pull(StrEnum):
    """When the engine asks the registry for the image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Access(StrEnum):
    """Who may use a route: the Home's owner, whoever knows its hostname, or anyone."""

    OWNER = "owner"
    LINK = "link"
    ANY = "any"


class Egress(StrEnum):
    """Where a container may go to by itself: anywhere public, to the operator's proxy alone, or nowhere."""

    INTERNET = "Internet"
    PROXY = "Proxy"
    NONE = "None"


class Route(Shape):
    """One part of the workload's public surface; what no route names is 404."""

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]*$", max_length=256, examples=["/mcp"])]
    match: Literal["prefix", "exact", "subtree"] = Field(
        default="subtree",
        description="subtree: the path and what lies below it; prefix: anything that starts with it "
        "(/mcp also covers /mcp-maps); exact: the path alone.",
    )
    access: Access = Access.OWNER
    protocol: Annotated[
        Literal["http", "mcp"], Field(description="mcp: an MCP endpoint, for bearer tokens only.")
    ] = "http"
    link_id: Literal["first", "last"] = Field(
        default="first",
        description="Where a link (access: link) has its <hostname>-<id>. first: right below the path, with "
        "anything below it; last: at the link's end, below anything (/api/auth/v1/<site>/<hostname>-<id>).",
    )

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.protocol == "mcp" and self.access is not Access.OWNER:
            raise ValueError(f"route {self.path}: protocol mcp needs access owner")
        if self.link_id == "last" and self.access is not Access.LINK:
            raise ValueError(f"route {self.path}: linkId last needs access link")
        if "//" in self.path or "/../" in f"{self.path}/" or "/./" in f"{self.path}/":
            raise ValueError(f"route {self.path}: write the path normalized, without //, /./ or /../")
        return self


class Input(Shape):
    """One value that users fill in themselves: an environment variable of their container.

    It takes the place of the template's own ``env``, and an operator's ``overrides.env`` takes its place.
    """

    name: Annotated[EnvName, Field(description="The environment variable.", examples=["OPENAI_API_KEY"])]
    title: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
    description: Annotated[str, Field(max_length=1000)] = ""
    secret: Annotated[bool, Field(description="Never shown again, and kept sealed.")] = False
    required: Annotated[bool, Field(description="Without it there is no container.")] = False
    pattern: Pattern = ""

    def is_matched_by(self, value: str) -> bool:
        """Whether ``value`` has the form that the pattern asks for."""
        return not self.pattern or matches(self.pattern, value)


class DataVolume(Shape):
    """Where the Home's data directory is mounted, and how long it outlives its user."""

    mount_path: Annotated[AbsolutePath, Field(description="Where it is in the container.")]
    retain_days: Annotated[
        int, Field(ge=0, le=3650, description="For how long data are kept once their user is deleted.")
    ] = 30


class Mount(Shape):
    """A file or directory of the host's that the container sees too."""

    source: Annotated[
        AbsolutePath,
        Field(
            description="On the host; CEILING_MOUNTS of the reconciler must allow it.",
            examples=["/srv/models"],
        ),
    ]
    mount_path: Annotated[AbsolutePath, Field(description="Where it is in the container.")]
    read_only: bool = True


class Resources(Shape):
    """The most that a container may use.

    ``disk`` is for its data and what it writes elsewhere, taken together; 0 is no limit but CEILING_DISK.
    """

    memory: Bytes = 1 << 30
    cpus: Annotated[float, Field(gt=0, le=256)] = 1.0
    pids: Annotated[int, Field(ge=8, le=65536)] = 512
    shm: Bytes = 64 << 20
    disk: Bytes = 0


ProbeSeconds = Annotated[float, Field(ge=0.05, le=3600)]


class StartupProbe(Shape):
    """An HTTP GET that must once answer 2xx or 3xx before requests are let through.

    ``timeout_seconds`` is the progress deadline of one start; the delay between tries grows up to the period.
    """

    http: AbsolutePath = "/health"
    period_seconds: ProbeSeconds = 1.0
    timeout_seconds: ProbeSeconds = 60.0


class LivenessProbe(Shape):
    """An HTTP GET that must go on answering 2xx or 3xx; ``timeout_seconds`` is how long to wait for one."""

    http: AbsolutePath = "/health"
    period_seconds: ProbeSeconds = 15.0
    timeout_seconds: ProbeSeconds = 5.0
    failures: Annotated[int, Field(ge=1, le=100)] = 3


class Probes(Shape):
    """Startup decides when a container may be routed to, liveness whether it still may."""

    startup: StartupProbe = StartupProbe()
    liveness: LivenessProbe = LivenessProbe()


class Standby(Shape):
    """Warm containers that wait for users who have none yet."""

    count: Annotated[int, Field(ge=0, le=1000)] = 0
    max_refill_per_minute: Annotated[int, Field(ge=1, le=1000)] = 30


class Idle(Shape):
    """After how long without demand a container goes to sleep, and how deep. Left out: never."""

    pause_after: Seconds | None = None
    checkpoint_after: Seconds | None = None
    stop_after: Seconds | None = None


class Rollout(Shape):
    """How running containers are replaced when what they are made from changes."""

    max_unavailable: Percent | Annotated[int, Field(ge=1)] = "10%"
    drain_timeout: Seconds = 1800.0
    progress_deadline: Seconds = 120.0
    on_failure: Literal["Rollback", "Pause"] = "Rollback"


class Security(Shape):
    """What the container may do to the outside. Privileges are never gained, whatever stands here."""

    user: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{1,9}(:[0-9]{1,9})?$",  # \d is any script's digits here
            description="<uid> or <uid>:<gid>.",
            examples=["1000:1000"],
        ),
    ] = "1000"
    read_only_root: bool = False
    cap_add: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Z_]{1,32}$", examples=["SYS_PTRACE"])], ...],
        Field(max_length=32, description="Added to none at all; the reconciler's ceiling must allow each."),
    ] = ()
    egress: Egress = Egress.INTERNET
    runtime: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$")] = ""


class ContainerTemplateSpec(Spec):
    image: Image
    pull: Pull = Pull.IF_NOT_PRESENT
    command: Annotated[
        tuple[str, ...], Field(max_length=64, description="In place of the image's own command.")
    ] = ()
    port: Annotated[Port, Field(description="Where the workload listens inside the container.")]
    env: Annotated[
        dict[EnvName, EnvValue],
        Field(default_factory=dict, max_length=ENV_COUNT_MAX, description="Environment variables."),
    ]
    inputs: Annotated[
        tuple[Input, ...],
        Field(max_length=INPUTS_COUNT_MAX, description="What each user fills in on the account page."),
    ] = ()
    data: DataVolume | None = None
    files: Annotated[
        tuple[File, ...],
        Field(
            max_length=FILES_COUNT_MAX,
            description="Written into the data directory, out of what callers say in headers.",
        ),
    ] = ()
    mounts: Annotated[
        tuple[Mount, ...],
        Field(max_length=MOUNTS_COUNT_MAX, description="Of the host, beside the Home's own data."),
    ] = ()
    resources: Resources = Resources()
    probes: Probes = Probes()
    routes: Annotated[
        tuple[Route, ...],
        Field(
            max_length=ROUTES_COUNT_MAX, description="The workload's public surface; anything else is 404."
        ),
    ] = ()
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

    @model_validator(mode="after")
    def _inputs_differ(self) -> Self:
        names: set[str] = set()
        for one in self.inputs:
            if one.name in names:
                raise ValueError(f"input {one.name} stands twice; keep one of them")
            if one.required and one.name in self.env:
                raise ValueError(f"input {one.name} is required and has a default in env; drop one of both")
            names.add(one.name)
        return self

    @model_validator(mode="after")
    def _files_fit(self) -> Self:
        if self.files and self.data is None:
            raise ValueError("files are written into the data directory; say where data is mounted")
        paths = [f"{one.path}/" for one in self.files]
        for number, path in enumerate(paths):
            if any(path.startswith(other) or other.startswith(path) for other in paths[:number]):
                raise ValueError(f"file {path[:-1]} has the place of another; name each by a path of its own")
        headers_of(self.files)
        return self


class ContainerTemplate(Resource):
    kind: ClassVar[str] = "ContainerTemplate"

    spec: ContainerTemplateSpec
