"""Fixtures that every folder may ask for (those of one folder live there), and what runs side by side."""

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from gateway.server import serve

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
"""Its reaper is an image from a registry; our own fixtures remove what they start."""

pytest_plugins = ["tests.engines"]

ENGINE_FOLDERS = ("tests/e2e/", "tests/isolation/", "tests/compose/")
PODMAN_ALONE = "test_rootless"
SECOND_HALF = "tests/e2e/test_fence"  # from there on
LONGEST = ("tests/reverse_proxy/test_patience.py", "tests/e2e/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: at the end it would be all that is left."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


class FolderForEachEngine(LoadScopeScheduling):
    """All of a folder's tests of an engine in one process; else all of a file.

    They wait most of the time, so that an engine serves three or four such processes at a time; the longest
    folder is two parts, by name.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        parameters = name.partition("[")[2]
        folder = "/".join(file.split("/")[:2])
        if file > SECOND_HALF and SECOND_HALF.startswith(folder):
            folder = SECOND_HALF
        if "podman" in parameters or PODMAN_ALONE in file:
            return f"{folder} podman"
        return f"{folder} docker" if "docker" in parameters or file.startswith(ENGINE_FOLDERS) else file


@pytest.fixture(scope="session", autouse=True)
def collector_of_one_process() -> Iterator[None]:
    """A server sets up its process's garbage collector as it starts. Here hundreds start in one process, and
    each would walk through all that the tests have loaded, which takes longer than most of them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "gc", _Collector())
        yield


class _Collector:
    """Stands for the module: does nothing, and says what holds."""

    get_threshold = staticmethod(gc.get_threshold)

    def collect(self) -> None: ...

    def freeze(self) -> None: ...

    def unfreeze(self) -> None: ...

    def set_threshold(self, *_: int) -> None: ...


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Source: pytest-xdist, "Make your own scheduler"."""
    return FolderForEachEngine(config, log)
