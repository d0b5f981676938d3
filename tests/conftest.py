"""Fixtures that every folder may ask for. Those of one folder live in its own conftest."""

import os

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
"""Its reaper is an image from a registry; our own fixtures remove what they start."""

pytest_plugins = ["tests.engines"]
