"""The few words of an engine's HTTP API that setting up needs: are you there, have you this image, take it.

Docker's API, which Podman speaks too. Not the reconciler's way to an engine: that one is asynchronous and
lives in a package of its own. Errors a caller can act on: EngineUnreachable, or BootstrapError with the
engine's words.
"""

import http.client
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import IO, Any, Literal, assert_never
from urllib.parse import quote, urlencode, urlsplit

from mcpgw.bootstrap.errors import BootstrapError

PING_MAX_S = 3.0
ANSWER_MAX_S = 60.0
TRANSFER_MAX_S = 600.0
REMOVAL_TRIES = 20
REMOVAL_PAUSE_S = 0.5
LIBPOD = "/v4.0.0/libpod"
PODMAN_PREFIX = "localhost/"
"""What Podman calls local images; through Docker's API it would put docker.io/library before the name."""

EngineName = Literal["docker", "podman"]


class EngineUnreachable(Exception):
    """Nothing that speaks the engine's API answered there."""


@dataclass(frozen=True)
class Engine:
    """An engine that answers. `url` is unix:///path or tcp://host:port, as in DOCKER_HOST."""

    name: EngineName
    url: str


def ping(url: str, timeout_s: float = PING_MAX_S) -> None:
    """Return if an engine answers at `url`; EngineUnreachable, with the reason, if not."""
    status, body = _asked(url, "GET", "/_ping", timeout_s=timeout_s)
    if status != 200 or not body.startswith(b"OK"):
        raise EngineUnreachable(f"{url} answers, but not as an engine does (status {status})")


def answers(url: str, timeout_s: float = PING_MAX_S) -> bool:
    """Whether an engine answers at `url` within the time."""
    try:
        ping(url, timeout_s)
    except EngineUnreachable:
        return False
    return True


def named_engine(name: EngineName, setting: str, address: str) -> Engine:
    """The engine that ``setting`` names, a URL or a bare path; BootstrapError if none answers there."""
    url = f"unix://{address}" if address.startswith("/") else address
    try:
        ping(url)
    except EngineUnreachable as error:
        raise BootstrapError(
            f"{setting} names an engine that cannot be used: {error}",
            mend=f"Start it, correct {setting}, or unset it to use this machine's {name.capitalize()}",
        ) from error
    return Engine(name, url)


def image_id(engine: Engine, reference: str) -> str | None:
    """The id of the image; None if the engine says that it has none of that name."""
    status, body = _answered(engine, "GET", f"/images/{quote(reference, safe='')}/json")
    if status == 404:
        return None
    image: dict[str, Any] = json.loads(_good(engine, status, body))
    return str(image["Id"])


def image_bytes(engine: Engine, reference: str) -> int:
    """How large the engine says the image is. BootstrapError where it has none of that name."""
    status, body = _answered(engine, "GET", f"/images/{quote(reference, safe='')}/json")
    return int(json.loads(_good(engine, status, body))["Size"])


def local_name(engine: Engine, name: str) -> str:
    """What the engine calls an image of this name that came from no registry."""
    return name if engine.name == "docker" else f"{PODMAN_PREFIX}{name}"


def import_image(engine: Engine, tar: Path, *, repository: str, tag: str, changes: list[str]) -> None:
    """Make an image of one layer out of a tar file of a root filesystem."""
    query = [("changes", change) for change in changes]
    match engine.name:
        case "docker":
            path = "/images/create"
            query += [("fromSrc", "-"), ("repo", repository), ("tag", tag)]
        case "podman":  # Its copy of Docker's call drops the tag.
            path = f"{LIBPOD}/images/import"
            query.append(("reference", local_name(engine, f"{repository}:{tag}")))
        case _:
            assert_never(engine.name)
    with tar.open("rb") as body:
        _streamed(engine, f"{path}?{urlencode(query)}", body, tar.stat().st_size)


def build_image(
    engine: Engine, context: Path, *, reference: str, arguments: Mapping[str, str], network: str = ""
) -> None:
    """Have the engine build the tar file `context` by the Dockerfile in it, with these build arguments.

    A base image that is not there comes from its registry. ``network`` is `host`, or the engine's default.
    """
    asked = {"t": local_name(engine, reference), "rm": "1", "buildargs": json.dumps(dict(arguments))}
    query = urlencode(asked | ({"networkmode": network} if network else {}))
    with context.open("rb") as body:
        _streamed(engine, f"/build?{query}", body, context.stat().st_size)


def tag_image(engine: Engine, reference: str, *, repository: str, tag: str) -> None:
    """Give an image another name."""
    base = "" if engine.name == "docker" else LIBPOD
    query = urlencode({"repo": local_name(engine, repository), "tag": tag})
    name = quote(local_name(engine, reference), safe="")
    status, body = _answered(engine, "POST", f"{base}/images/{name}/tag?{query}")
    _good(engine, status, body)


def image_tags(engine: Engine, repository: str) -> list[str]:
    """The tags of local images of this name, the latest made first."""
    names = {repository, f"{PODMAN_PREFIX}{repository}"}
    images = sorted(_listed(engine, "/images/json"), key=lambda image: int(image["Created"]), reverse=True)
    named = [reference.rpartition(":") for image in images for reference in image["RepoTags"] or []]
    return [tag for name, _, tag in named if name in names]


def try_to_untag(engine: Engine, reference: str) -> bool:
    """Take a name from an image, and the image away with its last name. False if a container still has it."""
    name = quote(local_name(engine, reference), safe="")
    status, _ = _answered(engine, "DELETE", f"/images/{name}")
    return status < 300


def remove_labelled(engine: Engine, label: str, *, networks: bool = True) -> None:
    """Remove the containers and, unless told otherwise, networks with the label `key=value`; nothing else."""
    query = urlencode({"all": "true", "filters": json.dumps({"label": [label]})})
    for container in _listed(engine, f"/containers/json?{query}"):
        _removed(engine, f"/containers/{container['Id']}?force=true&v=true")
    for network in _listed(engine, f"/networks?{query}") if networks else ():
        _removed(engine, f"/networks/{network['Id']}")


def label_values(engine: Engine, key: str) -> dict[str, float]:
    """Each value of a label, and when the youngest container or network with it was made (Unix seconds)."""
    query = urlencode({"all": "true", "filters": json.dumps({"label": [key]})})
    born = [(it["Labels"][key], float(it["Created"])) for it in _listed(engine, f"/containers/json?{query}")]
    born += [(it["Labels"][key], _unix_s(it["Created"])) for it in _listed(engine, f"/networks?{query}")]
    return {value: max(when for name, when in born if name == value) for value, _ in born}


def _unix_s(timestamp: str) -> float:
    """RFC 3339 with nanoseconds, as engines write it."""
    return datetime.fromisoformat(timestamp).timestamp()


@dataclass(frozen=True)
class Network:
    """One of the engine's; others may have its name."""

    name: str
    labels: Mapping[str, str]
    subnets: tuple[IPv4Network | IPv6Network, ...]


def networks(engine: Engine) -> list[Network]:
    return [
        Network(
            one["Name"],
            one.get("Labels") or {},
            tuple(
                ip_network(config["Subnet"], strict=False)  # older engines say an address in it
                for config in one["IPAM"]["Config"] or ()
                if config.get("Subnet")
            ),
        )
        for one in _listed(engine, "/networks")
    ]


def network_subnets(engine: Engine) -> list[IPv4Network | IPv6Network]:
    """What the engine's networks take, used just now or not."""
    return [subnet for network in networks(engine) for subnet in network.subnets]


def _listed(engine: Engine, path: str) -> list[dict[str, Any]]:
    status, body = _answered(engine, "GET", path)
    listed: list[dict[str, Any]] | None = json.loads(_good(engine, status, body))
    return listed or []


def _removed(engine: Engine, path: str) -> None:
    """A removal under way (409) or a file system that is still busy (500) is tried again for a while."""
    for _ in range(REMOVAL_TRIES):
        status, body = _answered(engine, "DELETE", path)
        if status == 404 or status < 300:
            return
        if status not in (409, 500):
            break
        time.sleep(REMOVAL_PAUSE_S)
    _good(engine, status, body)


def _streamed(engine: Engine, path: str, body: IO[bytes], size_bytes: int) -> None:
    """Send a tar file. The answer is JSON lines, among which an error may stand after a status of 200."""
    headers = {"Content-Type": "application/x-tar", "Content-Length": str(size_bytes)}
    status, answer = _answered(engine, "POST", path, body=body, headers=headers, timeout_s=TRANSFER_MAX_S)
    for line in _good(engine, status, answer).splitlines():
        told = json.loads(line) if line.strip().startswith(b"{") else {}
        if told.get("error"):
            raise _refused(engine, str(told["error"]))


def _answered(
    engine: Engine,
    method: str,
    path: str,
    *,
    body: IO[bytes] | None = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = ANSWER_MAX_S,
) -> tuple[int, bytes]:
    try:
        return _asked(engine.url, method, path, body=body, headers=headers, timeout_s=timeout_s)
    except EngineUnreachable as error:
        raise BootstrapError(
            str(error), mend=f"See whether {engine.name} still runs, and start again"
        ) from error


def _good(engine: Engine, status: int, body: bytes) -> bytes:
    if status >= 300:
        raise _refused(engine, body.decode("utf-8", "replace").strip() or f"status {status}")
    return body


def _refused(engine: Engine, words: str) -> BootstrapError:
    return BootstrapError(
        f"{engine.name} refused: {' '.join(words.split())[:300]}", mend=f"Look into the log of {engine.name}"
    )


def _asked(
    url: str,
    method: str,
    path: str,
    *,
    body: IO[bytes] | None = None,
    headers: dict[str, str] | None = None,
    timeout_s: float,
) -> tuple[int, bytes]:
    connection = _connection(url, timeout_s)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise EngineUnreachable(f"{url} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()


def _connection(url: str, timeout_s: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    match parts.scheme:
        case "unix":
            return _UnixConnection(parts.path, timeout_s)
        case "tcp" | "http":
            return http.client.HTTPConnection(
                parts.hostname or "localhost", parts.port or 2375, timeout=timeout_s
            )
        case scheme:
            raise EngineUnreachable(
                f"{url}: only unix:// and tcp:// addresses are understood, not {scheme}://"
            )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
