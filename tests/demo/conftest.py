"""One demo, as a process, for the tests of a module. `tests/demo/rig.py` has the ways to start others."""

from collections.abc import Iterator

import pytest

from tests.demo.rig import demo_process


@pytest.fixture(scope="module")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo as a process, with its controls on."""
    with demo_process(tmp_path_factory.mktemp("data")) as url:
        yield url
