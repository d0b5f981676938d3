"""What an engine's refusals of a pull mean: what waiting helps with, and what names a mend."""

import pytest

from reconciler.core.errors import TerminalError, TransientError
from reconciler.engine.faults import Refused, pull_fault

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
    "text", ["manifest unknown", "pull access denied for acme/app", "no such host", "toomanyrequests"]
)
def test_what_a_registry_may_mend_is_tried_again(text: str) -> None:
    error = pull_fault(Refused("pull", 404, text), IMAGE)
    assert isinstance(error, TransientError)
    assert error.reason == "ImagePullFailed"
