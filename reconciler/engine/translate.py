"""Docker's JSON ↔ our nouns.

Decides how a container's state, identity and endpoint are read from what an engine shows, and what an
engine is sent for a ContainerSpec. Two labels of this module's own carry what lists leave out: the
workload's port and the address that was asked for. Asks nothing of anybody.
Next: :mod:`reconciler.engine.hardening`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from reconciler.core.container import (
    LABEL_HOME,
    LABEL_PREFIX,
    LABEL_PROJECT,
    ContainerSpec,
    ContainerState,
    EngineEvent,
    Identity,
    ObservedContainer,
    Placement,
    identity_of,
)

LABEL_PORT = LABEL_PREFIX + "port"
LABEL_ADDRESS = LABEL_PREFIX + "address"

Json = Mapping[str, Any]

STATES = {
    "created": ContainerState.CREATED,
    "configured": ContainerState.CREATED,
    "initialized": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "restarting": ContainerState.RUNNING,
    "stopping": ContainerState.RUNNING,
    "paused": ContainerState.PAUSED,
    "exited": ContainerState.EXITED,
    "stopped": ContainerState.EXITED,
    "dead": ContainerState.EXITED,
    "removing": ContainerState.REMOVING,
}
REACHABLE = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})

# What changes a container's state, in Docker's and in Podman's words. The others (exec, attach, resize,
# health) say nothing that a list would show.
STATE_ACTIONS = frozenset(
    {
        "create",
        "start",
        "die",
        "died",
        "oom",
        "pause",
        "unpause",
        "stop",
        "kill",
        "destroy",
        "remove",
        "rename",
    }
    | {"restart", "checkpoint", "restore", "update", "init", "cleanup"}
)


def container_body(
    spec: ContainerSpec, placement: Placement, identity: Identity, host_config: Json, networking: Json
) -> dict[str, Any]:
    """What ``POST /containers/create`` is sent. Its hostname is the Home's; no other identity goes inside."""
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env],
        "User": spec.user,
        "Hostname": identity.home,
        "Labels": identity.labels() | {LABEL_PORT: str(spec.port), LABEL_ADDRESS: placement.address},
        "ExposedPorts": {f"{spec.port}/tcp": {}},
        "HostConfig": host_config,
        "NetworkingConfig": networking,
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    return body


def observed_from_list(item: Json, project: str, own_networks: Iterable[str]) -> ObservedContainer:
    """One entry of ``GET /containers/json``: complete but for how an exited container ended."""
    labels: Json = item.get("Labels") or {}
    state = container_state(item.get("State"))
    networks: Json = (item.get("NetworkSettings") or {}).get("Networks") or {}
    published = {
        f"{port.get('PrivatePort')}/{port.get('Type')}": (str(port.get("IP", "")), int(port["PublicPort"]))
        for port in item.get("Ports") or ()
        if port.get("PublicPort")
    }
    host, port = endpoint(state, labels, published, address_on(networks, own_networks))
    return ObservedContainer(
        id=item["Id"],
        name=(item.get("Names") or [""])[0].removeprefix("/"),
        identity=our_identity(labels, project),
        state=state,
        address=labels.get(LABEL_ADDRESS, ""),
        endpoint_host=host,
        endpoint_port=port,
    )


def observed_from_libpod(item: Json, project: str) -> ObservedContainer:
    """One entry of Podman's own list: it has neither endings as precise as inspect's nor chosen addresses."""
    labels: Json = item.get("Labels") or {}
    state = container_state(item.get("State"))
    published = {
        f"{one.get('container_port')}/{one.get('protocol')}": (str(one.get("host_ip", "")), one["host_port"])
        for one in item.get("Ports") or ()
        if one.get("host_port")
    }
    address = labels.get(LABEL_ADDRESS, "")
    host, port = endpoint(state, labels, published, address)
    return ObservedContainer(
        id=item["Id"],
        name=(item.get("Names") or [""])[0],
        identity=our_identity(labels, project),
        state=state,
        address=address,
        endpoint_host=host,
        endpoint_port=port,
    )


def exit_mark(item: Json) -> str:
    """What in a list's entry changes with each exit and does not age: of ``"Exited (137) 5 minutes ago"``
    the first half; Podman says the moment itself."""
    return str(item.get("Status") or "").partition(")")[0] or f"{item.get('ExitCode')} {item.get('ExitedAt')}"


def observed_from_inspect(item: Json, project: str, own_networks: Iterable[str]) -> ObservedContainer:
    """The answer of ``GET /containers/{id}/json``."""
    labels: Json = (item.get("Config") or {}).get("Labels") or {}
    shown: Json = item.get("State") or {}
    state = state_from_inspect(item)
    settings: Json = item.get("NetworkSettings") or {}
    published = {
        key: (str(bindings[0].get("HostIp", "")), int(bindings[0]["HostPort"]))
        for key, bindings in (settings.get("Ports") or {}).items()
        if bindings and bindings[0].get("HostPort")
    }
    host, port = endpoint(state, labels, published, address_on(settings.get("Networks") or {}, own_networks))
    has_ended = state is ContainerState.EXITED
    return ObservedContainer(
        id=item["Id"],
        name=str(item.get("Name", "")).removeprefix("/"),
        identity=our_identity(labels, project),
        state=state,
        exit_code=shown.get("ExitCode") if has_ended else None,
        oom_killed=has_ended and bool(shown.get("OOMKilled")),
        started_at=moment(shown.get("StartedAt")) if has_ended else None,
        finished_at=moment(shown.get("FinishedAt")) if has_ended else None,
        address=labels.get(LABEL_ADDRESS, ""),
        endpoint_host=host,
        endpoint_port=port,
    )


def state_from_inspect(item: Json) -> ContainerState:
    return container_state((item.get("State") or {}).get("Status"))


def engine_event(item: Json) -> EngineEvent | None:
    """A hint, or None for an event that changes no container's state."""
    if item.get("Action", item.get("status")) not in STATE_ACTIONS:
        return None
    attributes: Json = (item.get("Actor") or {}).get("Attributes") or {}
    return EngineEvent(container_name=attributes.get("name", ""), home=attributes.get(LABEL_HOME, ""))


def our_identity(labels: Json, project: str) -> Identity | None:
    identity = identity_of(labels)
    return identity if identity is not None and identity.project == project else None


def container_state(word: object) -> ContainerState:
    """A state that no table knows is one in between: neither running nor gone, look again."""
    return STATES.get(str(word).lower(), ContainerState.REMOVING)


def endpoint(
    state: ContainerState, labels: Json, published: Mapping[str, tuple[str, int]], own_address: str
) -> tuple[str, int]:
    """Where the workload's port is reached now; ``("", 0)`` where it is not."""
    port = labels.get(LABEL_PORT, "")
    if state not in REACHABLE or not port.isdigit():
        return "", 0
    if f"{port}/tcp" in published:
        return published[f"{port}/tcp"]
    if own_address and not is_published(labels.get(LABEL_ADDRESS, "")):
        return own_address, int(port)
    return "", 0


def address_on(networks: Json, own_networks: Iterable[str]) -> str:
    """The container's address on the one of the project's networks that it is in; "" where it is in none."""
    addresses = (str((networks.get(name) or {}).get("IPAddress") or "") for name in own_networks)
    return next(filter(None, addresses), "")


def is_published(address: str) -> bool:
    """``127.0.0.1:21007`` is a published port; ``10.211.7.9`` and ``""`` are not."""
    return ":" in address


def moment(text: object) -> datetime | None:
    """RFC 3339 with any number of digits; the engine's zero time is none."""
    if not isinstance(text, str) or not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text)


def project_label(project: str) -> str:
    return f"{LABEL_PROJECT}={project}"
