"""The ceiling at work: what a template asks for beyond it is refused in words; what it allows is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpgw.bootstrap.program_image import ensure_program_image
from mcpgw.testing.house import House, until
from mcpgw.testing.workload import demo_template, user_manifest
from state.kinds.resource import ConditionType
from tests.e2e.conftest import opened
from tests.e2e.hand import hand_at
from tests.engines import RealEngine
from tests.registry import forget, registry

pytestmark = pytest.mark.engine


@pytest.fixture
def bounded_house(real_engine: RealEngine, tmp_path: Path) -> Iterator[House]:
    """Whose templates may read what is in the folder ``shared``, and nothing else of the host."""
    (tmp_path / "shared" / "models").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    settings = {"CEILING_MOUNTS": str(tmp_path / "shared")}
    with opened(real_engine, tmp_path, settings) as house:
        yield house


def is_refused(house: House, words: str) -> None:
    """alice gets no container, for that reason."""

    def says_so() -> bool:
        alice = house.user_container("alice")
        said = alice.status.condition(ConditionType.READY) if alice is not None else None
        return said is not None and said.reason == "NotAllowed" and words in said.message

    until(says_so, f"alice is refused with {words!r}")


def mounting(house: House, source: Path | str, target: str = "/models", *, read_only: bool = True) -> None:
    """From now on the template asks for that."""
    mount = f"{{source: {source}, mountPath: {target}, readOnly: {str(read_only).lower()}}}"
    text = demo_template(house.image).replace("  resources:", f"  mounts: [{mount}]\n  resources:")
    house.write_manifest("demo.yaml", text)


def test_only_what_is_allowed_of_the_host_is_mounted(bounded_house: House, real_engine: RealEngine) -> None:
    house, shared = bounded_house, bounded_house.folder / "shared"
    (shared / "way-out").symlink_to(house.folder / "elsewhere")
    house.write_manifest("alice.yaml", user_manifest("alice"))
    for source, why in (
        (house.folder / "elsewhere", "it is below none of CEILING_MOUNTS"),
        (house.homes, "no container gets to see"),
        (shared / "way-out", "leads elsewhere"),
    ):
        mounting(house, source)
        is_refused(house, why)
    mounting(house, shared / "models", read_only=False)
    is_refused(house, "it may only be read")
    (shared / "latest").symlink_to("models")
    mounting(house, shared / "latest")
    house.serve("alice")
    with hand_at(real_engine) as hand:
        mounts = hand.inspect(house.container_name("alice"))["Mounts"]
    [one] = [one for one in mounts if one["Destination"] == "/models"]
    assert (one["Source"], one["RW"]) == (str(shared / "models"), False)


def test_a_mount_path_names_no_other_source(bounded_house: House) -> None:
    """One engine's API reads a source of its own out of such a path, and mounts it to be written."""
    house = bounded_house
    text = demo_template(house.image).replace("mountPath: /data", 'mountPath: "/data,source=/etc"')
    house.write_manifest("demo.yaml", text)
    house.write_manifest("alice.yaml", user_manifest("alice"))
    is_refused(house, "engines read some of its characters as options")


def test_a_ceiling_that_is_lowered_ends_nothing_is_told_and_lets_nothing_be_made_anew(
    real_engine: RealEngine, tmp_path: Path
) -> None:
    with opened(real_engine, tmp_path) as house, hand_at(real_engine) as hand:
        before = house.serve("alice")
        house.reconciler.stop()
        house.environment["CEILING_MEMORY"] = "128Mi"
        house.reconciler.start()
        until(lambda: house.reason("alice", ConditionType.DEGRADED) == "True NotAllowed", "it is told")
        assert house.serve("alice") == before
        until(lambda: house.reason("alice", ConditionType.READY) == "True Answers", "it is well")
        hand.kill(house.container_name("alice"))
        is_refused(house, "CEILING_MEMORY")


@pytest.mark.parametrize("setting", ["CEILING_REGISTRIES", "CEILING_IMAGES_PINNED"])
def test_an_image_is_refused_by_the_setting_that_names_it(
    real_engine: RealEngine, tmp_path: Path, setting: str
) -> None:
    values = {"CEILING_REGISTRIES": "ghcr.io/acme", "CEILING_IMAGES_PINNED": "true"}
    settings = {setting: values[setting]}
    with opened(real_engine, tmp_path, settings) as house:
        house.write_manifest("alice.yaml", user_manifest("alice"))
        is_refused(house, setting)
        assert house.home("alice") is None, "a refused spec costs nothing on disk"
        assert setting in house.mcpgw("explain", "alice").stdout


def pulled(image: str) -> str:
    return demo_template(image).replace("pull: Never", "pull: IfNotPresent")


def test_a_pinned_image_is_pulled_by_its_digest_and_run_whatever_its_tag_is_by_then(
    real_engine: RealEngine, tmp_path: Path
) -> None:
    with registry(tmp_path) as own, hand_at(real_engine) as hand:
        pinned = own.put(real_engine, real_engine.image, "acme/demo")
        own.put(real_engine, ensure_program_image(real_engine.bare, "busybox"), "acme/demo")
        settings = {"CEILING_IMAGES_PINNED": "true", "CEILING_REGISTRIES": f"{own.host}/acme"}
        with opened(real_engine, tmp_path, settings, begin="nothing") as house:
            house.write_manifest("demo.yaml", pulled(f"{own.host}/acme/demo:1"))
            house.write_manifest("alice.yaml", user_manifest("alice"))
            house.start()
            is_refused(house, "is not pinned")
            house.write_manifest("demo.yaml", pulled(pinned))
            house.serve("alice")
            made = hand.inspect(house.container_name("alice"))
            assert made["Config"]["Image"] == pinned
            nowhere = f"{own.host}/acme/demo@sha256:{'0' * 64}"
            house.write_manifest("demo.yaml", pulled(nowhere))
            until(lambda: "ImagePullFailed" in house.reason("alice", ConditionType.DEGRADED), "it is told")
            house.serve("alice")
        forget(real_engine, pinned)
