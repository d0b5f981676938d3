"""What the reconciler runs at the most, whatever a spec asks for."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.ceiling import Ceiling, disk_bytes_max, violations
from reconciler.core.container import Mount, spec_hash
from reconciler.core.effective import wanted_of
from reconciler.core.mounts import AllowedMount
from state.kinds.template import Egress
from tests.reconciler.core.worlds import alice, template

CEILING = Ceiling(
    images=("demo:*", "registry.example/*"),
    memory_bytes_max=1 << 30,
    cpus_max=2,
    pids_max=512,
    shm_bytes_max=64 << 20,
    capabilities=("NET_BIND_SERVICE",),
    runtimes=("", "runsc"),
    egress_refused=((Egress.PROXY, "security.egress Proxy needs EGRESS_PROXY"),),
)
DIGEST = f"sha256:{'0' * 64}"
SPEC = wanted_of(template(), alice()).spec
REGISTRIES = Ceiling(
    images=("*",),
    memory_bytes_max=4 << 30,
    cpus_max=4,
    pids_max=4096,
    shm_bytes_max=1 << 30,
    registries=("ghcr.io/team", "registry.example.com:5000", "docker.io/library"),
)
MOUNTS = replace(
    CEILING,
    mounts=(AllowedMount("/srv/models"), AllowedMount("/srv/shared", writable=True), AllowedMount("/data")),
    mounts_never=("/data/homes", "/data/state"),
)


def mounting(source: str, target: str = "/models", *, read_only: bool = True) -> dict[str, Any]:
    return {"mounts": (Mount(source, target, read_only),)}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an image that no glob names": ({"image": "evil:1"}, "CEILING_IMAGES"),
    "an image whose name only contains an allowed one": ({"image": "x/demo:1"}, "CEILING_IMAGES"),
    "an image of a registry that is called like an allowed one, with a port": (
        {"image": "demo:5000/evil/image:1"},
        "CEILING_IMAGES",
    ),
    "such an image by its digest": ({"image": f"demo:5000/evil/image@{DIGEST}"}, "CEILING_IMAGES"),
    "more memory": ({"memory_bytes": (1 << 30) + 1}, "CEILING_MEMORY"),
    "more cpus": ({"cpus": 2.1}, "CEILING_CPUS"),
    "more processes": ({"pids": 513}, "CEILING_PIDS"),
    "more shared memory": ({"shm_bytes": (64 << 20) + 1}, "CEILING_SHM"),
    "memory without a limit": ({"memory_bytes": 0}, "memory 0 is no limit"),
    "cpus that round to no limit": ({"cpus": 1e-10}, "cpus 1e-10 is no limit"),
    "processes without a limit": ({"pids": 0}, "pids 0 is no limit"),
    "another capability": ({"cap_add": ("NET_BIND_SERVICE", "SYS_ADMIN")}, "CEILING_CAPABILITIES"),
    "another runtime": ({"runtime": "crun"}, "CEILING_RUNTIMES"),
    "a proxy where none is set": ({"egress": Egress.PROXY}, "EGRESS_PROXY"),
    "root": ({"user": "0"}, "security.user"),
    "root in other digits": ({"user": "\u0660:\u0661"}, "security.user"),
    "root spelled with more zeros": ({"user": "000:1000"}, "security.user"),
    "data over the image's programs": ({"data_mount_path": "/usr"}, "data.mountPath"),
    "data over the image's accounts": ({"data_mount_path": "/etc/"}, "data.mountPath"),
    "data over everything": ({"data_mount_path": "/"}, "data.mountPath"),
    "data over everything, spelled longer": ({"data_mount_path": "/app/.."}, "data.mountPath"),
    "data below the image's programs": ({"data_mount_path": "/usr/bin"}, "data.mountPath"),
    "data over devices, spelled longer": ({"data_mount_path": "//dev"}, "data.mountPath"),
    "data with another source smuggled in": ({"data_mount_path": "/x,source=/etc"}, "data.mountPath"),
    "data with an option smuggled in": ({"data_mount_path": "/x:rw"}, "data.mountPath"),
    "a mount where none is allowed": (mounting("/srv/models"), "CEILING_MOUNTS"),
}

ALLOWED: dict[str, dict[str, Any]] = {
    "the template as it is": {},
    "all that there is": {"memory_bytes": 1 << 30, "cpus": 2.0, "pids": 512, "shm_bytes": 64 << 20},
    "an allowed capability": {"cap_add": ("NET_BIND_SERVICE",)},
    "an allowed runtime": {"runtime": "runsc"},
    "an image of an allowed registry": {"image": "registry.example/team/app@sha256:00"},
    "an image with tag and digest": {"image": f"demo:1@{DIGEST}"},
    "data of its own": {"data_mount_path": "/app/data"},
    "data below a home directory": {"data_mount_path": "/home/user"},
    "data beside an image's programs": {"data_mount_path": "/usr/src/app"},
    "data that only begins like a refused path": {"data_mount_path": "/etcetera"},
    "no way out at all": {"egress": Egress.NONE},
    "no data": {"data_mount_path": ""},
    "disk, where the ceiling has no word on it": {"disk_bytes": 1 << 40},
    "a user and a group": {"user": "1000:0"},
}


@pytest.mark.parametrize(("change", "setting"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_is(change: dict[str, Any], setting: str) -> None:
    reasons = violations(replace(SPEC, **change), CEILING)
    assert len(reasons) == 1
    assert setting in reasons[0]


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED.keys())
def test_allowed_is(change: dict[str, Any]) -> None:
    assert violations(replace(SPEC, **change), CEILING) == ()


def test_every_reason_is_told_at_once() -> None:
    assert len(violations(replace(SPEC, image="evil:1", cpus=99.0, user="0"), CEILING)) == 3


REGISTRIES_REFUSED = {
    "an allowed name as a path elsewhere": "evil.com/ghcr.io/team/app:1",
    "the demo of another registry": "evil.com/mcp-gateway-demo:latest",
    "a host that only begins like an allowed one": "ghcr.io.evil.com/team/app:1",
    "a host that only ends like an allowed one": "evilghcr.io/team/app:1",
    "a path that only begins like an allowed one": "ghcr.io/teammate/app:1",
    "a path above the allowed one": "ghcr.io/other/app:1",
    "a way out of the path": "ghcr.io/team/../other/app:1",
    "an empty part of the path": "ghcr.io/team//app:1",
    "userinfo before the host": "ghcr.io@evil.com/team/app:1",
    "userinfo with a password": "ghcr.io:x@evil.com/team/app:1",
    "an allowed host at another port": "ghcr.io:443/team/app:1",
    "an allowed host without its port": "registry.example.com/app:1",
    "Docker Hub beyond the official images": "someone/app:1",
    "Docker Hub by its older name": "index.docker.io/someone/app:1",
    "this machine's own images": "localhost/app:1",
    "a scheme": "https://ghcr.io/team/app:1",
    "an image by its id": "sha256:" + "a" * 64,
    "an image by its id alone": "a" * 64,
    "an image by the beginning of its id": "deadbeef",
    "an image by a marked beginning of its id": "sha256:deadbeef",
    "a host in capitals without a dot": "GHCR/team/app:1",
    "a path in capitals": "ghcr.io/Team/app:1",
    "a digest that is none": "ghcr.io/team/app@sha256:00",
    "a line break": "ghcr.io/team/app:1\nevil",
    "nothing": "",
}

REGISTRIES_ALLOWED = {
    "an image below the path": "ghcr.io/team/app:1",
    "an image deep below the path": "ghcr.io/team/a/b/c",
    "the path itself": "ghcr.io/team",
    "a host in other letters": "GHCR.io/team/app:1",
    "a host with its port": "registry.example.com:5000/any/app:1",
    "an official image": "debian:12",
    "an official image in full": "docker.io/library/debian:12",
    "a tag and a digest": f"ghcr.io/team/app:1@{DIGEST}",
}


@pytest.mark.parametrize("image", REGISTRIES_REFUSED.values(), ids=REGISTRIES_REFUSED.keys())
def test_a_registry_that_is_not_allowed_is_refused(image: str) -> None:
    [reason] = violations(replace(SPEC, image=image), REGISTRIES)
    assert "CEILING_REGISTRIES" in reason


@pytest.mark.parametrize("image", REGISTRIES_ALLOWED.values(), ids=REGISTRIES_ALLOWED.keys())
def test_a_registry_that_is_allowed_is(image: str) -> None:
    assert violations(replace(SPEC, image=image), REGISTRIES) == ()


def test_images_and_registries_both_have_a_word() -> None:
    both = replace(REGISTRIES, images=("ghcr.io/team/*",))
    assert violations(replace(SPEC, image="ghcr.io/team/app:1"), both) == ()
    [reason] = violations(replace(SPEC, image="debian:12"), both)
    assert "CEILING_IMAGES" in reason


TAGS = {
    "*": ("app", "app:1", "host:5000/team/app:1", f"ghcr.io/app@{DIGEST}"),
    "ghcr.io/*:1": ("ghcr.io/app:1", "ghcr.io/team/app:1"),
    "host:5000/app:*": ("host:5000/app:1", f"host:5000/app:1@{DIGEST}"),
    "host:5000/*": ("host:5000/app", "host:5000/team/app:1"),
    "app@sha256:*": (f"app@{DIGEST}",),
    "app:1.?": ("app:1.2",),
}
NO_TAGS = {
    "app:*": ("app", "app:5000/x", "app:5000/x:1", "app/x:1", f"app@{DIGEST}"),
    "app:5000*": ("app:5000/x:1",),
    "app:?????/x": ("evil/x:1",),
    "ghcr.io/team/app:*": ("ghcr.io/team/app:1/x", "ghcr.io/team/app:5000/x:1"),
    "host:5000/app:*": ("host:5000/app/x:1", "host:5001/app:1"),
}


@pytest.mark.parametrize(("glob", "image"), [(glob, one) for glob, all_ in TAGS.items() for one in all_])
def test_a_glob_names(glob: str, image: str) -> None:
    assert violations(replace(SPEC, image=image), replace(CEILING, images=(glob,))) == ()


@pytest.mark.parametrize(("glob", "image"), [(glob, one) for glob, all_ in NO_TAGS.items() for one in all_])
def test_a_glob_does_not_name(glob: str, image: str) -> None:
    [reason] = violations(replace(SPEC, image=image), replace(CEILING, images=(glob,)))
    assert "CEILING_IMAGES" in reason


@pytest.mark.parametrize(
    "image", ["demo:1", "demo", f"demo@{DIGEST[:-1]}", f"demo@sha512:{'0' * 128}", DIGEST]
)
def test_what_is_not_pinned_is_refused(image: str) -> None:
    [reason] = violations(replace(SPEC, image=image), replace(CEILING, images=("*",), images_pinned=True))
    assert "CEILING_IMAGES_PINNED" in reason


@pytest.mark.parametrize("image", [f"demo@{DIGEST}", f"ghcr.io/team/app:1@{DIGEST}"])
def test_what_is_pinned_is_allowed(image: str) -> None:
    assert violations(replace(SPEC, image=image), replace(CEILING, images=("*",), images_pinned=True)) == ()


MOUNTS_REFUSED = {
    "elsewhere on the host": mounting("/home/me"),
    "a name that only begins like an allowed one": mounting("/srv/models-of-others"),
    "the whole host": mounting("/"),
    "above what is allowed": mounting("/srv"),
    "processes": mounting("/proc/1/root"),
    "devices": mounting("/dev"),
    "accounts": mounting("/etc"),
    "the engine's socket": mounting("/var/run/docker.sock"),
    "other users' data": mounting("/data/homes"),
    "one other user's data": mounting("/data/homes/a/data"),
    "what holds other users' data": mounting("/data"),
    "the store": mounting("/data/state"),
    "a way out of the tree": mounting("/srv/models/../../etc"),
    "a path that is written longer": mounting("/srv//models"),
    "writing where reading is allowed": mounting("/srv/models", read_only=False),
    "what lies in what containers write": mounting("/srv/shared/team", read_only=False),
    "reading in what containers write": mounting("/srv/shared/team"),
    "another source smuggled in": mounting("/srv/models,source=/etc"),
    "another source smuggled in by the target": mounting("/srv/models", "/x,source=/etc"),
    "a target over programs": mounting("/srv/models", "/usr/bin/x"),
    "a target over everything": mounting("/srv/models", "/x/.."),
    "a target in the data": mounting("/srv/models", "/app/data/models") | {"data_mount_path": "/app/data"},
    "a target around the data": mounting("/srv/models", "/app") | {"data_mount_path": "/app/data"},
    "two mounts in one place": {
        "mounts": (Mount("/srv/models", "/a", True), Mount("/srv/models/b", "/a/b", True))
    },
}

MOUNTS_ALLOWED = {
    "an allowed path": mounting("/srv/models"),
    "what lies below one": mounting("/srv/models/llama", "/opt/models"),
    "writing what may be written": mounting("/srv/shared", read_only=False),
    "reading what may be written": mounting("/srv/shared"),
    "beside what is never mounted": mounting("/data/public"),
    "two mounts apart": {"mounts": (Mount("/srv/models", "/a", True), Mount("/srv/shared", "/ab", False))},
}


@pytest.mark.parametrize("change", MOUNTS_REFUSED.values(), ids=MOUNTS_REFUSED.keys())
def test_a_mount_is_refused(change: dict[str, Any]) -> None:
    assert len(violations(replace(SPEC, **change), MOUNTS)) == 1


@pytest.mark.parametrize("change", MOUNTS_ALLOWED.values(), ids=MOUNTS_ALLOWED.keys())
def test_a_mount_is_allowed(change: dict[str, Any]) -> None:
    assert violations(replace(SPEC, **change), MOUNTS) == ()


def test_data_takes_no_more_than_the_ceiling_says() -> None:
    ceiling = replace(CEILING, disk_bytes_max=1 << 30)
    [reason] = violations(replace(SPEC, disk_bytes=(1 << 30) + 1), ceiling)
    assert "CEILING_DISK" in reason
    assert disk_bytes_max(replace(SPEC, disk_bytes=1 << 20), ceiling) == 1 << 20
    assert disk_bytes_max(replace(SPEC, disk_bytes=1 << 40), ceiling) == 1 << 30, "no template says more"
    assert disk_bytes_max(SPEC, ceiling) == 1 << 30, "without a word of the template, the ceiling's"
    assert disk_bytes_max(None, ceiling) == 1 << 30, "without a template, too"
    assert disk_bytes_max(SPEC, CEILING) == 0


def test_what_says_nothing_of_mounts_and_disk_keeps_its_hash() -> None:
    """Else an upgrade would replace every container there is."""
    assert spec_hash(SPEC) == "0a778961c25891a8a42e214c3a715227"
    assert spec_hash(replace(SPEC, **mounting("/srv/models"))) != spec_hash(SPEC)
    assert spec_hash(replace(SPEC, disk_bytes=1)) != spec_hash(SPEC)
