"""What an engine says of its machine, and what follows from it for the creation of a container."""

from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from reconciler.core.container import Identity, Placement
from reconciler.core.effective import wanted_of
from reconciler.core.errors import TerminalError, TransientError
from reconciler.core.zones import zones
from reconciler.engine.docker import DockerEngine
from reconciler.engine.door import Door, EngineKind
from reconciler.engine.faults import Refused
from reconciler.engine.fitness import check_architecture, layer_bytes_asked, limits_layers
from reconciler.engine.port import Addressing
from tests.reconciler.core.worlds import alice, template

XFS = [["Backing Filesystem", "xfs"], ["Supports d_type", "true"]]
EXT4 = [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]]
# Source: tried, Docker 20.10 on ext4; on xfs without quotas it is the same.
UNLIMITED = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"

DISKS: dict[str, tuple[dict[str, Any], bool]] = {
    "docker's overlay on xfs": ({"Driver": "overlay2", "DriverStatus": XFS}, True),
    "podman's overlay on xfs": ({"Driver": "overlay", "DriverStatus": XFS}, True),
    "overlay on ext4": ({"Driver": "overlay2", "DriverStatus": EXT4}, False),
    "btrfs": ({"Driver": "btrfs", "DriverStatus": []}, True),
    "vfs": ({"Driver": "vfs", "DriverStatus": None}, False),
    "a driver that nobody knows": ({"Driver": "fuse-overlayfs"}, False),
    "an engine that says nothing": ({}, False),
}


@pytest.mark.parametrize(("info", "can"), DISKS.values(), ids=DISKS.keys())
def test_a_layer_is_limited_where_the_disk_can(info: dict[str, Any], can: bool) -> None:
    assert limits_layers(info) is can


def test_a_limit_begins_where_the_engine_begins_to_count() -> None:
    image = {"Size": 80 << 20}
    assert layer_bytes_asked({"Driver": "zfs"}, image, 7) == 7
    assert layer_bytes_asked({"Driver": "overlay2", "DriverStatus": XFS}, image, 7) == 7
    assert layer_bytes_asked({"Driver": "btrfs"}, image, 7) == (90 << 20) + 7


FITTING = {
    "the same": ("arm64", "arm64", ()),
    "an older one of the same family": ("386", "amd64", ()),
    "an emulated one": ("amd64", "arm64", ("amd64",)),
    "an image that says nothing": ("", "amd64", ()),
    "an engine that says nothing": ("arm64", "", ()),
}


@pytest.mark.parametrize(("image", "engine", "emulated"), FITTING.values(), ids=FITTING.keys())
def test_an_architecture_fits(image: str, engine: str, emulated: tuple[str, ...]) -> None:
    check_architecture("app:1", {"Architecture": image}, {"Arch": engine}, emulated)


def test_an_architecture_that_does_not_fit_is_told_with_both_and_the_mend() -> None:
    with pytest.raises(
        TerminalError, match=r"app:1 is for amd64.* is arm64.*EMULATED_ARCHITECTURES=arm,amd64"
    ):
        check_architecture("app:1", {"Architecture": "amd64"}, {"Arch": "arm64"}, ("arm",))


class QuotalessApi:
    """An engine on xfs without project quotas, which it only tells when it is asked for one."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def info(self) -> dict[str, Any]:
        return {"Driver": "overlay2", "DriverStatus": XFS}

    async def image(self, reference: str) -> dict[str, Any]:
        return {"Config": {"Labels": None}}

    async def create_container(self, name: str, body: dict[str, Any]) -> str:
        self.asked.append(body["HostConfig"])
        if "StorageOpt" in body["HostConfig"]:
            raise Refused("containers/create", 500, UNLIMITED)
        return "id"


async def test_a_limit_that_turns_out_not_to_hold_is_not_asked_for_again() -> None:
    api = QuotalessApi()
    networks = {egress: zone.network for egress, zone in zones("p", IPv4Network("10.1.2.0/24")).items()}
    door = Door(EngineKind.DOCKER, "unix:///none")
    engine = DockerEngine(api, door, "p", networks, Addressing.NETWORK)  # type: ignore[arg-type]  # a part of it
    spec = replace(wanted_of(template(), alice()).spec, disk_bytes=1 << 30)
    placed = Placement("p-a", "10.1.2.9", ""), Identity("p", "a" * 26, "uid", 1, "0" * 32, 1)
    with pytest.raises(TransientError) as refused:
        await engine.create(spec, *placed)
    assert (refused.value.reason, refused.value.retry_after_s) == ("LayerUnlimited", 0.0)
    assert api.asked[0]["StorageOpt"] == {"size": str(1 << 30)}
    assert await engine.create(spec, *placed) == "id"
    assert "StorageOpt" not in api.asked[1]
