"""What this engine, on its machine, can run and limit, by its own word; and what images may not say for us.

Pure: it reads answers of ``/version``, ``/info`` and ``/images/…/json``. Next:
:mod:`reconciler.engine.hardening`.

Source: https://docs.docker.com/reference/cli/docker/container/create/#storage-opt; Go's GOARCH.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from reconciler.core.errors import TerminalError

# What a processor runs beside its own.
ALSO_RUN = {"amd64": ("386",)}
# Drivers that limit a container's own layer; overlay does where its disk is xfs with project quotas.
BTRFS = "btrfs"
LAYER_LIMITING_DRIVERS = (BTRFS, "zfs")
# btrfs counts an image's blocks and its own records, which is more than the image's files are long. Source:
# tried, Docker 20.10 and Podman 4.3: 6 % for an image of 104 MB.
BTRFS_SHARE_OF_IMAGE = 1 / 8
OVERLAY_DRIVERS = ("overlay2", "overlay")
BACKING_FILESYSTEM = "Backing Filesystem"

Json = Mapping[str, Any]


def check_architecture(reference: str, image: Json, version: Json, emulated: Sequence[str]) -> None:
    """Raise TerminalError if the image is for a processor that is not there. What nobody says, fits."""
    made_for, here = str(image.get("Architecture") or ""), str(version.get("Arch") or "")
    if not made_for or not here or made_for in (here, *ALSO_RUN.get(here, ()), *emulated):
        return
    raise TerminalError(
        "ImageArchitecture",
        f"{reference} is for {made_for}, the engine's machine is {here}: pull or build it for {here}; if the "
        f"machine emulates {made_for}, set EMULATED_ARCHITECTURES={','.join((*emulated, made_for))}",
    )


def check_runtime(runtime: str, there: Collection[str], mend: str) -> None:
    """Raise TerminalError if the engine has no such runtime, or would quietly take another."""
    if runtime not in there:
        raise TerminalError(
            "RuntimeMissing",
            f"security.runtime {runtime} is none of the engine's ({', '.join(sorted(there)) or 'none'}): "
            f"{mend}, or leave it out",
        )


def limits_layers(info: Json) -> bool:
    """Whether a limit on what a container writes outside of mounts may be asked for."""
    driver = info.get("Driver")
    if driver not in OVERLAY_DRIVERS:
        return driver in LAYER_LIMITING_DRIVERS
    status = [tuple(pair) for pair in info.get("DriverStatus") or ()]
    return (BACKING_FILESYSTEM, "xfs") in status


def layer_bytes_asked(info: Json, image: Json, bytes_max: int) -> int:
    """What the engine is told for a container that may write that much. Where it does not reach the image,
    no container can be made or started: btrfs counts what it begins with. Source: tried."""
    if info.get("Driver") != BTRFS:
        return bytes_max
    return bytes_max + math.ceil(int(image.get("Size") or 0) * (1 + BTRFS_SHARE_OF_IMAGE))


def silenced_labels(image: Json) -> dict[str, str]:
    """The image's own labels, each without a value: an engine hands them on to the container, where they
    could be taken for ours, or for orders by others who go by labels (Compose, Traefik, …)."""
    return dict.fromkeys((image.get("Config") or {}).get("Labels") or {}, "")
