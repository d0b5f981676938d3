"""What an engine's refusals mean, in our words: status code and text → the errors of the core.

Decides by the text where the status cannot tell (Podman answers 500 where Docker answers 409, and Docker
answers 500 for a port in use). What no line here recognises stays unknown if it was a 5xx, and is the
spec's fault if it was a 4xx. Next: :mod:`reconciler.engine.translate`.

Source: texts seen from Docker 20.10 and 26.1, Podman 4.3 and 5.4; moby ``daemon/``, ``libnetwork/``;
containers/podman ``libpod/define/errors.go``.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler.core.addresses import widen
from reconciler.core.errors import (
    ActionError,
    NameConflictError,
    OutcomeUnknownError,
    TerminalError,
    TransientError,
)
from reconciler.engine.networks import subnet_collision
from reconciler.engine.port import NetworkSpec

REMOVAL_RETRY_S = 1.0
ANSWERED_5XX = "EngineError"  # the reason of an OutcomeUnknownError that the engine itself answered

NAME_TAKEN = ("is already in use by", "name is already in use")
ADDRESS_IN_USE = (
    "address already in use",
    "port is already allocated",
    "is already allocated to container",
    "ports are not available",
)
ADDRESSES_EXHAUSTED = (
    "no available ipv4 addresses",
    "all ports are allocated",
    "failed to find free ip",
    "could not find free ip",
)
IMAGE_MISSING = ("no such image", "image not known")
DATA_PATH_MISSING = ("bind source path does not exist", "mounts denied", "statfs ")
DATA_PATH_FORBIDDEN = ("making volume mountpoint", "creating mount source path", "mount config for type")
DISK_FULL = ("no space left on device",)
MAKE_ROOM = "free some room where the engine keeps images and containers (`docker system df` shows them)"
LAYER_UNLIMITED = ("--storage-opt is supported only for",)
REMOVAL_UNDER_WAY = ("removal of container", "is already being removed")
CANNOT_RUN = (
    "oci runtime create failed",
    "oci runtime error",
    "oci runtime attempted to invoke a command that was not found",
    "oci permission denied",
    "executable file not found",
    "unable to find user",
    "exec format error",
    "crun:",
    "runc:",
)
# Docker's of old, Docker's with containerd's store, Podman's for Docker's lists and for OCI's indexes.
PROCESSOR_MISSING = (
    "no matching manifest for",
    "no match for platform in manifest",
    "no image found in manifest list for architecture",
    "no image found in image index for architecture",
)
BAD_REFERENCE = ("invalid reference format", "invalid image reference")
NETWORK_EXISTS = ("network already exists", "already exists")
NETWORK_IN_USE = ("has active endpoints", "network is being used", "has associated containers")
SUBNET_TAKEN = ("pool overlaps", "is already used on the host", "subnet is already used")
BRIDGE_TAKEN = ("networks have same bridge name", "bridge name")
NETWORK_MISSING = re.compile(
    r"network (\S+ )?not found|unable to find network|network_missing", re.IGNORECASE
)
PORTS_EXHAUSTED = ("all ports are allocated",)


class Refused(Exception):
    """The engine answered, and its answer was an error. ``status`` is 0 for an error within a stream."""

    def __init__(self, operation: str, status: int, text: str) -> None:
        super().__init__(f"{operation}: {status} {text}")
        self.operation = operation
        self.status = status
        self.text = text.strip()

    def says(self, phrases: tuple[str, ...]) -> bool:
        text = self.text.lower()
        return any(phrase in text for phrase in phrases)

    @property
    def is_unclear(self) -> bool:
        """A 5xx: the call may have taken effect."""
        return self.status >= 500


Translation = Callable[[Refused], ActionError | None]


@contextmanager
def refusals_as(translation: Translation) -> Iterator[None]:
    """Raise what ``translation`` makes of a Refused; None makes it a success."""
    try:
        yield
    except Refused as refused:
        error = translation(refused)
        if error is not None:
            raise error from None


def read_fault(refused: Refused) -> ActionError:
    """A read that failed tells nothing about the world, whatever its status."""
    return OutcomeUnknownError(ANSWERED_5XX, f"the engine answered {refused}")


def create_fault(refused: Refused) -> ActionError:
    if refused.status == 409 or refused.says(NAME_TAKEN):
        return NameConflictError("NameConflict", refused.text)
    if refused.says(IMAGE_MISSING):
        return TransientError("ImageMissing", f"{refused.text}: pull or build it")
    if refused.says(DATA_PATH_MISSING):
        mend = "the engine does not see HOST_DATA_DIR; name one that its machine shares, by the same path"
        return TransientError("DataPathMissing", f"{refused.text}: {mend}")
    if refused.says(DATA_PATH_FORBIDDEN):
        text = f"{refused.text}: a rootless engine has to be its user's who runs the reconciler"
        return TransientError("DataPathForbidden", text)
    if NETWORK_MISSING.search(refused.text):
        return _network_missing(refused)
    if refused.says(LAYER_UNLIMITED):  # nothing was made, and from now on it is not asked for
        return TransientError("LayerUnlimited", refused.text, retry_after_s=0.0)
    return _shared_fault(refused) or TerminalError("SpecRefused", f"the engine refuses: {refused.text}")


def start_fault(refused: Refused) -> ActionError | None:
    if refused.status == 304:
        return None
    if NETWORK_MISSING.search(refused.text):
        return _network_missing(refused)
    if refused.status == 404:
        return TransientError("ContainerMissing", refused.text)
    if refused.says(CANNOT_RUN):
        return TerminalError("StartFailed", f"it cannot run: {refused.text}")
    return _shared_fault(refused) or TerminalError("StartFailed", f"the engine refuses: {refused.text}")


def stop_fault(refused: Refused) -> ActionError | None:
    if refused.status in (304, 404):
        return None
    return _shared_fault(refused) or TransientError("StopRefused", refused.text)


def remove_fault(refused: Refused) -> ActionError | None:
    if refused.status == 404:
        return None
    if refused.says(REMOVAL_UNDER_WAY):
        return TransientError("RemovalUnderWay", refused.text, retry_after_s=REMOVAL_RETRY_S)
    return _shared_fault(refused) or TransientError("RemoveRefused", refused.text)


def pull_fault(refused: Refused, reference: str) -> ActionError:
    """Waiting may help with most failures, as registries and tags come and go; not with a reference that is
    none, nor with an image that was not made for this processor."""
    text = f"{reference} cannot be pulled: {refused.text}"
    if refused.says(PROCESSOR_MISSING):
        mend = (
            "name an image that was made for the engine's machine, or build it there; where that emulates "
            "another processor, pull that one's by hand (--platform linux/amd64) under pull: IfNotPresent, "
            "and set EMULATED_ARCHITECTURES=amd64"
        )
        return TerminalError("ImageArchitecture", f"{text}: {mend}")
    if refused.status == 400 or refused.says(BAD_REFERENCE):
        return TerminalError("ImagePullFailed", f"{text}: correct the template's image")
    if refused.says(DISK_FULL):
        return TransientError("DiskFull", f"{text}: {MAKE_ROOM}")
    return TransientError("ImagePullFailed", text)


def network_fault(refused: Refused, network: NetworkSpec) -> ActionError | None:
    if refused.status == 409 or refused.says(NETWORK_EXISTS):
        # Somebody was quicker; whether it is ours is seen by looking again.
        return TransientError("NetworkExists", refused.text, retry_after_s=0.0)
    if refused.says(SUBNET_TAKEN):
        return subnet_collision(network, refused.text)
    if refused.says(BRIDGE_TAKEN):
        mend = "set CONTAINER_PROJECT_NAME to another name, or remove that network"
        return TerminalError("BridgeNameTaken", f"{refused.text}: {mend}")
    return _shared_fault(refused) or TerminalError("NetworkRefused", f"the engine refuses: {refused.text}")


def remove_network_fault(refused: Refused) -> ActionError | None:
    if refused.status == 404:
        return None
    if refused.status == 403 or refused.says(NETWORK_IN_USE):
        return TransientError("NetworkInUse", refused.text)
    return _shared_fault(refused) or TransientError("RemoveRefused", refused.text)


def _network_missing(refused: Refused) -> TransientError:
    return TransientError("NetworkMissing", f"{refused.text}: somebody removed it, and it is made again")


def _shared_fault(refused: Refused) -> ActionError | None:
    """What may befall any mutation; None when it is a plain refusal that the operation must name."""
    if refused.says(ADDRESS_IN_USE):
        return TransientError("AddressInUse", refused.text)
    if refused.says(ADDRESSES_EXHAUSTED):
        setting = "CONTAINER_PORT_RANGE" if refused.says(PORTS_EXHAUSTED) else "CONTAINER_SUBNET_PREFIX"
        return TransientError("AddressesExhausted", f"{refused.text}: {widen(setting)}")
    if refused.says(DISK_FULL):
        return OutcomeUnknownError("DiskFull", f"{refused.text}: {MAKE_ROOM}")
    if refused.is_unclear:
        return OutcomeUnknownError(ANSWERED_5XX, f"the engine answered {refused}")
    return None
