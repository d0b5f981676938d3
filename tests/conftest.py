"""Fixtures that every folder may ask for (those of one folder live there), and what runs side by side."""

import os

import pytest

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
"""Its reaper is an image from a registry; our own fixtures remove what they start."""

pytest_plugins = ["tests.engines"]

ENGINE_FOLDERS = ("tests/e2e/", "tests/isolation/", "tests/compose/")
PODMAN_ALONE = "test_rootless"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process for all tests of each engine, so that no engine serves two at once; else one for each file.

    Source: pytest-xdist, ``--dist loadgroup``; without it, nothing comes of this.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    file, _, name = item.nodeid.partition("::")
    parameters = name.partition("[")[2]
    if "podman" in parameters or PODMAN_ALONE in file:
        return "podman"
    is_marked = item.get_closest_marker("engine") is not None
    return "docker" if is_marked or "docker" in parameters or file.startswith(ENGINE_FOLDERS) else file
