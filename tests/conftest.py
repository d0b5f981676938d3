"""Fixtures that every folder may ask for (those of one folder live there), and what runs side by side."""

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
"""Its reaper is an image from a registry; our own fixtures remove what they start."""

pytest_plugins = ["tests.engines"]

ENGINE_FOLDERS = ("tests/e2e/", "tests/isolation/", "tests/compose/")
PODMAN_ALONE = "test_rootless"
WAITS = "tests/reverse_proxy/test_patience.py"  # for minutes, and does nothing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for long comes first: at the end it would be all that is left."""
    items.sort(key=lambda item: not item.nodeid.startswith(WAITS))


class ProcessForEachEngine(LoadScopeScheduling):
    """All tests of an engine in one process, so that it serves one at a time; else all of a file."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        parameters = name.partition("[")[2]
        if "podman" in parameters or PODMAN_ALONE in file:
            return "podman"
        return "docker" if "docker" in parameters or file.startswith(ENGINE_FOLDERS) else file


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Source: pytest-xdist, "Make your own scheduler"."""
    return ProcessForEachEngine(config, log)
