"""Removal takes what an image's own volumes made for the container, and no volume that has a name."""

import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiodocker
import pytest

from tests.reconciler.engine.real import RealRig
from tests.reconciler.engine.rig import gone, seat, shown, started

pytestmark = pytest.mark.engine


@pytest.fixture
async def volume(engine_rig: RealRig) -> AsyncIterator[str]:
    """Somebody's named volume; it is taken away after the test."""
    made = await engine_rig.hand.volumes.create({"Name": f"foreign-{uuid.uuid4().hex[:8]}"})
    yield made.name
    with suppress(aiodocker.DockerError):
        await made.delete()


async def _volumes(rig: RealRig) -> set[str]:
    return {one["Name"] for one in (await rig.hand.volumes.list())["Volumes"] or []}


async def _run(rig: RealRig, name: str, labels: dict[str, str], volume: str, script: str) -> None:
    """A container by hand, with the named volume; until its script has ended."""
    config: dict[str, Any] = {
        "Image": rig.local_image,
        "Entrypoint": ["/bin/sh", "-c", script],
        "User": "0",
        "Labels": labels,
        "HostConfig": {"NetworkMode": "none", "Binds": [f"{volume}:/named"]},
    }
    container = await rig.hand.containers.create(config, name=name)
    await container.start()
    assert (await container.wait())["StatusCode"] == 0


async def test_a_named_volume_outlives_even_a_container_that_looks_like_ours(
    engine_rig: RealRig, volume: str
) -> None:
    """Somebody attached it to a copy of ours: the container goes, their data do not."""
    one, reader = seat(engine_rig), f"{engine_rig.project}-reader"
    await _run(engine_rig, one.name, one.identity.labels(), volume, "echo theirs > /named/kept")
    await engine_rig.engine.remove((await shown(engine_rig, one)).id)
    await gone(engine_rig, one)
    try:
        await _run(engine_rig, reader, {}, volume, "grep -qx theirs /named/kept")
    finally:
        await engine_rig.remove_by_hand(reader)


async def test_what_an_image_declares_is_taken_away_with_its_container(
    engine_rig: RealRig, volume: str
) -> None:
    """Nobody could tell later whose it was."""
    before = await _volumes(engine_rig)
    image = f"{engine_rig.project}:volumes"
    await engine_rig.build(image, f"FROM {engine_rig.local_image}\nVOLUME /anonymous\n")
    try:
        one = await started(engine_rig, seat(engine_rig, image=image))
        assert len(await _volumes(engine_rig) - before) == 1
        await engine_rig.engine.remove(one.id)
        await engine_rig.engine.remove_network(engine_rig.network)
        assert await _volumes(engine_rig) == before >= {volume}
    finally:
        await engine_rig.hand.images.delete(engine_rig.local_name(image), force=True)
