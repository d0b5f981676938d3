"""Houses, one for a module where its tests leave each other alone, and a hand at the engine.

Where a test fails, the end of its house's log is in the report.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from mcpgw.bootstrap.engine_api import Engine, EngineName
from mcpgw.testing.house import House, house
from tests.e2e.hand import Hand, hand_at
from tests.engines import RealEngine

HOLD_S = 8
"""For how long an impatient house holds a request."""

Opener = Callable[..., AbstractContextManager[House]]

_open: list[House] = []
"""The houses that stand at the moment."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend((f"log of {one.project}", one.tail()) for one in _open)
    return report


@contextmanager
def opened(
    engine: RealEngine, folder: Path, settings: dict[str, str] | None = None, **more: Any
) -> Iterator[House]:
    """A house on a real engine."""
    with house(
        folder, Engine(cast(EngineName, engine.name), engine.url), engine.image, settings, **more
    ) as built:
        _open.append(built)
        try:
            yield built
        finally:
            _open.remove(built)


@pytest.fixture
def open_house(docker_engine: RealEngine, tmp_path: Path) -> Opener:
    """Opens a house of the test's own, on Docker: ``with open_house({"SETTING": "value"}) as house``."""

    def open_(settings: dict[str, str] | None = None, **more: Any) -> AbstractContextManager[House]:
        return opened(docker_engine, tmp_path, settings, **more)

    return open_


@pytest.fixture(scope="module")
def docker_house(docker_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(docker_engine, tmp_path_factory.mktemp("house")) as built:
        yield built


@pytest.fixture(scope="module")
def impatient_house(docker_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Holds requests for HOLD_S only."""
    settings = {"HOLD_TIMEOUT_S": str(HOLD_S)}
    with opened(docker_engine, tmp_path_factory.mktemp("impatient"), settings) as built:
        yield built


@pytest.fixture(scope="module")
def hand(docker_engine: RealEngine) -> Iterator[Hand]:
    with hand_at(docker_engine) as found:
        yield found


@pytest.fixture(
    scope="module",
    params=[("docker", 1), ("docker", 2), ("podman", 1)],
    ids=["docker", "docker with 2 workers", "podman"],
)
def any_house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house on each engine in turn, with one gateway worker or several."""
    name, workers = request.param
    engine: RealEngine = request.getfixturevalue(f"{name}_engine")
    with opened(engine, tmp_path_factory.mktemp("house"), {"GATEWAY_WORKERS": str(workers)}) as built:
        yield built
