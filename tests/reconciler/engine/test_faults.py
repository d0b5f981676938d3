"""What an engine's refusals of a pull mean: what waiting helps with, and what names a mend."""

import pytest

from reconciler.core.errors import TerminalError, TransientError
from reconciler.engine.faults import Refused, create_fault, pull_fault

IMAGE = "ghcr.io/acme/app:1"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("no matching manifest for linux/arm64/v8 in the manifest list entries", id="Docker"),
        pytest.param(
            "no matching manifest for linux/arm64/v8 in the manifest list entries: no match for platform in "
            "manifest: not found",
            id="Docker from 25",
        ),
        pytest.param("no match for platform in manifest: not found", id="Docker with containerd's store"),
        pytest.param(
            f"choosing an image from manifest list docker://{IMAGE}: no image found in manifest list for "
            'architecture arm64, variant "v8", OS linux',
            id="Podman, a list of Docker's",
        ),
        pytest.param(
            f"choosing an image from manifest list docker://{IMAGE}: no image found in image index for "
            'architecture "arm64", variant "v8", OS "linux"',
            id="Podman, an index of OCI's",
        ),
    ],
)
@pytest.mark.parametrize("status", [0, 404, 500])
def test_an_index_without_this_processor_is_told_as_such_with_the_settings(text: str, status: int) -> None:
    error = pull_fault(Refused("pull", status, text), IMAGE)
    assert isinstance(error, TerminalError)
    assert error.reason == "ImageArchitecture"
    for words in (IMAGE, "EMULATED_ARCHITECTURES", "--platform", "IfNotPresent"):
        assert words in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text",
    [
        'invalid mount config for type "bind": bind source path does not exist: /srv/homes/x',
        "Mounts denied: The path /srv/homes/x is not shared from the host and is not known to Docker.",
        "statfs /srv/homes/x: no such file or directory",
    ],
)
def test_a_directory_that_the_engine_does_not_see_is_told_with_the_setting(text: str) -> None:
    for status in (400, 404, 500):
        error = create_fault(Refused("create", status, text))
        assert (type(error), error.reason) == (TransientError, "DataPathMissing")
        assert "HOST_DATA_DIR" in str(error)


def test_an_engines_full_disk_is_told_with_the_mend() -> None:
    refused = Refused("create", 500, "mkdir /x: no space left on device")
    for error in (create_fault(refused), pull_fault(refused, IMAGE)):
        assert error.reason == "DiskFull"
        assert "free some room" in str(error)


@pytest.mark.parametrize(
    "text", ["manifest unknown", "pull access denied for acme/app", "no such host", "toomanyrequests"]
)
def test_what_a_registry_may_mend_is_tried_again(text: str) -> None:
    error = pull_fault(Refused("pull", 404, text), IMAGE)
    assert isinstance(error, TransientError)
    assert error.reason == "ImagePullFailed"
