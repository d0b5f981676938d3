"""What an engine is asked for, and what it shows: engine-neutral nouns.

Decides identity: labels prove a container ours, and ``spec_hash`` says whether it is what is wanted.
Drift compares that hash and never field by field, because engines rewrite what they are given. Secrets are
sealed here and in the hash; they are opened on their way to the engine alone.
Next: :mod:`reconciler.core.effective`, which makes a ContainerSpec of a template and its overrides.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from reconciler.core.confinement import Confinement
from state.kinds.template import Egress

LABEL_PREFIX = "mcp-gateway."
LABEL_PROJECT = LABEL_PREFIX + "project"
LABEL_HOME = LABEL_PREFIX + "home"
LABEL_USER_CONTAINER = LABEL_PREFIX + "user-container"
LABEL_NUMBER = LABEL_PREFIX + "incarnation"
LABEL_SPEC_HASH = LABEL_PREFIX + "spec-hash"
LABEL_EPOCH = LABEL_PREFIX + "epoch"
LABEL_INSTALLATION = LABEL_PREFIX + "installation"

SPEC_HASH_HEX_DIGITS = 32


class Mount(NamedTuple):
    """A file or directory of the host's, beside the Home's own data."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything that, when it changes, needs a new container. No names, no addresses, no identity."""

    image: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]  # sorted
    port: int
    user: str
    memory_bytes: int
    cpus: float
    pids: int
    shm_bytes: int
    read_only_root: bool
    cap_add: tuple[str, ...]  # sorted; everything else is dropped, always
    runtime: str  # "" is the engine's default
    data_mount_path: str  # "" where the workload keeps nothing
    secrets: tuple[tuple[str, str], ...] = ()  # more of the environment, sorted: name, sealed value
    egress: Egress = Egress.INTERNET  # which of the project's networks it is in
    mounts: tuple[Mount, ...] = ()
    disk_bytes: int = 0  # for what it writes outside of its data, where the engine can; 0: no limit


def spec_hash(spec: ContainerSpec) -> str:
    """A stable name for what a ContainerSpec says."""
    said = asdict(spec)
    # What has a default was not there once: what was made then is not to be replaced.
    for one in fields(spec):
        if said[one.name] == one.default:
            del said[one.name]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:SPEC_HASH_HEX_DIGITS]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a container is: what our labels say, and all that may be trusted of a container."""

    project: str
    home: str
    user_container: str  # uid
    number: int
    spec_hash: str
    epoch: int
    installation: str = ""  # set by the engine's door, so that neighbours of one name are told apart

    def labels(self) -> dict[str, str]:
        return {
            LABEL_PROJECT: self.project,
            LABEL_HOME: self.home,
            LABEL_USER_CONTAINER: self.user_container,
            LABEL_NUMBER: str(self.number),
            LABEL_SPEC_HASH: self.spec_hash,
            LABEL_EPOCH: str(self.epoch),
            LABEL_INSTALLATION: self.installation,
        }


def identity_of(labels: Mapping[str, str]) -> Identity | None:
    """The identity that labels prove, or None for a foreign or half-labelled container."""
    try:
        return Identity(
            project=labels[LABEL_PROJECT],
            home=labels[LABEL_HOME],
            user_container=labels[LABEL_USER_CONTAINER],
            number=int(labels[LABEL_NUMBER]),
            spec_hash=labels[LABEL_SPEC_HASH],
            epoch=int(labels[LABEL_EPOCH]),
            installation=labels.get(LABEL_INSTALLATION, ""),
        )
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one incarnation goes: its name, address and data, which the spec deliberately lacks.

    ``address`` is ``"10.211.7.9"`` (a fixed address on its zone's network), ``"127.0.0.1:21007"`` (a
    published loopback port) or ``""`` (the engine chooses). ``data_path`` is the host directory to mount,
    ``""`` for none; engines without host paths keep a volume named ``<container_name>-data`` instead.
    """

    container_name: str
    address: str
    data_path: str


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"  # also "dead": it will not run again by itself
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """One container as the engine shows it."""

    id: str
    name: str
    identity: Identity | None  # None: not ours
    state: ContainerState
    exit_code: int | None = None
    oom_killed: bool = False
    started_at: datetime | None = None  # of an exited container only: lists do not tell it of others
    finished_at: datetime | None = None  # likewise
    address: str = ""  # the placement's address that it was created with, running or not
    endpoint_host: str = ""  # where the workload's port can be reached from the reconciler's host, now
    endpoint_port: int = 0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do. Decisions ask these, never the engine's name."""

    pause: bool
    checkpoint: bool
    fixed_address: bool  # we choose addresses; otherwise the engine does
    host_paths: bool  # data directories are host directories; otherwise the engine's own volumes
    synchronous_remove: bool  # after remove() returns the name is free
    reports_oom: bool
    reaches_addresses: bool  # from here, containers are reached at their own addresses; else at ports alone
    confinement: Confinement = field(default_factory=Confinement)
    in_machine: bool = False  # it runs in a virtual machine of its own: nothing here sees its packets
    layers_path: str = ""  # where on this host it keeps what containers write; "" where nobody can tell


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """A hint that a container's state may have changed. It carries no meaning: look at the world."""

    container_name: str  # "" in a stream's first hint, which says only that the subscription stands
    home: str  # from the label; "" where the engine does not say
