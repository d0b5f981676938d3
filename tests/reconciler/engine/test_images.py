"""What an image may not do by itself: run on another processor, or speak for us with its labels."""

import platform
from dataclasses import replace

import pytest

from reconciler.core.container import LABEL_PREFIX
from reconciler.core.errors import TerminalError
from reconciler.engine.installation import OwnInstallation
from state.kinds.template import Pull
from tests.reconciler.engine.real import RealRig
from tests.reconciler.engine.rig import OTHER_HOME, created, listed, seat, started

pytestmark = pytest.mark.engine

ANOTHER = "amd64" if platform.machine() in ("arm64", "aarch64") else "arm64"

SECOND_RUNTIMES = {"docker": "io.containerd.runc.v2", "podman": "crun"}


async def test_an_image_for_another_processor_is_refused_before_anything_is_made(engine_rig: RealRig) -> None:
    image = await engine_rig.put_image_for(ANOTHER)
    with pytest.raises(TerminalError) as refused:
        await engine_rig.engine.ensure_image(image, Pull.NEVER)
    assert refused.value.reason == "ImageArchitecture"
    assert f"{image} is for {ANOTHER}, " in str(refused.value)
    assert f"set EMULATED_ARCHITECTURES={ANOTHER}" in str(refused.value)


async def test_an_image_for_a_processor_that_is_emulated_is_taken(engine_rig: RealRig) -> None:
    image = await engine_rig.put_image_for(ANOTHER)
    emulating = await engine_rig.adapter(engine_rig.project, emulated=(ANOTHER,))
    try:
        await emulating.ensure_image(image, Pull.NEVER)
    finally:
        await emulating.close()


async def test_an_image_for_this_processor_is_taken(engine_rig: RealRig) -> None:
    await engine_rig.engine.ensure_image(engine_rig.image, Pull.NEVER)


async def test_an_images_labels_neither_forge_an_identity_nor_reach_anybody(engine_rig: RealRig) -> None:
    forged = {
        "project": engine_rig.other_project,
        "home": "c" * 26,
        "user-container": "uid-of-somebody",
        "incarnation": "99",
        "spec-hash": "0" * 32,
        "epoch": "99",
        "installation": "anothers",
        "port": "22",
        "address": "127.0.0.1:1",
        "of-a-later-version": "yes",
    }
    labels = {f"{LABEL_PREFIX}{name}": value for name, value in forged.items()}
    labels |= {"com.docker.compose.project": "gateway", "traefik.enable": "true"}
    lines = (f'LABEL "{name}"="{value}"' for name, value in labels.items())
    one = seat(engine_rig, image=await engine_rig.put_image("\n".join(lines)))
    seen = await started(engine_rig, one)
    assert seen.identity == one.identity
    assert seen.address == one.placement.address
    assert await listed(engine_rig.other_engine) == {}, "another project does not take it for its own"
    shown = (await engine_rig.raw(one.name))["Config"]["Labels"]
    ours = {*one.identity.labels(), f"{LABEL_PREFIX}port", f"{LABEL_PREFIX}address"}
    assert {
        name: value for name, value in shown.items() if name in labels and name not in ours
    } == dict.fromkeys(set(labels) - ours, "")


async def test_what_somebody_runs_of_an_image_with_our_labels_is_not_ours(engine_rig: RealRig) -> None:
    """They can be baked in by who knows all of them but the installation, which no image can know."""
    one = seat(engine_rig)
    lines = (f'LABEL "{name}"="{value}"' for name, value in one.identity.labels().items())
    image = await engine_rig.put_image("\n".join(lines))
    await engine_rig.put_foreign(one.name, engine_rig.local_name(image))
    ours = OwnInstallation(engine_rig.engine, "5f0c1d2e3b4a5968")
    assert await listed(ours) == {}
    seen = await ours.inspect(one.name)
    assert seen is not None
    assert seen.identity is None


async def test_a_runtime_that_the_engine_would_not_run_is_refused(engine_rig: RealRig) -> None:
    one = seat(engine_rig, runtime="runtime-of-nobody")
    with pytest.raises(TerminalError) as refused:
        await created(engine_rig, one)
    assert refused.value.reason == "RuntimeMissing"
    assert "security.runtime runtime-of-nobody" in str(refused.value)
    assert await engine_rig.engine.inspect(one.name) is None


async def test_a_runtime_that_the_engine_has_is_taken(engine_rig: RealRig) -> None:
    default = (await engine_rig.hand.system.info())["DefaultRuntime"]
    one = seat(engine_rig, runtime=default)
    await started(engine_rig, one)


async def test_another_runtime_than_the_engines_own_is_what_it_runs_by_or_refused(
    engine_rig: RealRig,
) -> None:
    """Docker has runc by a second name. Podman knows more, and would quietly take its own."""
    info, other = await engine_rig.hand.system.info(), SECOND_RUNTIMES[engine_rig.machine.name]
    assert other in info["Runtimes"]
    assert other != info["DefaultRuntime"]
    named, unnamed = seat(engine_rig, runtime=other), seat(engine_rig, home=OTHER_HOME)
    if engine_rig.machine.name == "podman":
        with pytest.raises(TerminalError) as refused:
            await created(engine_rig, named)
        assert refused.value.reason == "RuntimeMissing"
        return
    await started(engine_rig, named)
    await started(engine_rig, unnamed)
    runtimes = [(await engine_rig.raw(one.name))["HostConfig"]["Runtime"] for one in (named, unnamed)]
    assert runtimes == [other, info["DefaultRuntime"]]


async def test_what_cannot_be_limited_is_made_without_that_limit(engine_rig: RealRig) -> None:
    """Overlay limits a container's layer on xfs with project quotas alone, which hardly any machine has."""
    one = seat(engine_rig)
    await started(engine_rig, replace(one, spec=replace(one.spec, disk_bytes=1 << 30)))
