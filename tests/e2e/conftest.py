"""Houses on each engine in turn, one for a module where its tests leave each other alone, and a hand there.

Where a test fails, the end of its house's log is in the report.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

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
    with house(folder, engine.bare, engine.image, settings, **more) as built:
        _open.append(built)
        try:
            yield built
        finally:
            _open.remove(built)


@pytest.fixture
def open_house(real_engine: RealEngine, tmp_path: Path) -> Opener:
    """Opens a house of the test's own: ``with open_house({"SETTING": "value"}) as house``."""

    def open_(settings: dict[str, str] | None = None, **more: Any) -> AbstractContextManager[House]:
        return opened(real_engine, tmp_path, settings, **more)

    return open_


@pytest.fixture(scope="module")
def shared_house(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(real_engine, tmp_path_factory.mktemp("house")) as built:
        yield built


@pytest.fixture(scope="module")
def impatient_house(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Holds requests for HOLD_S only."""
    settings = {"HOLD_TIMEOUT_S": str(HOLD_S)}
    with opened(real_engine, tmp_path_factory.mktemp("impatient"), settings) as built:
        yield built


@pytest.fixture(scope="module")
def hand(real_engine: RealEngine) -> Iterator[Hand]:
    with hand_at(real_engine) as found:
        yield found


@pytest.fixture(
    scope="module",
    params=[("docker", 1), ("docker", 2), ("podman", 1)],
    ids=["docker", "docker with 2 workers", "podman"],
)
def engine_and_workers(request: pytest.FixtureRequest) -> tuple[RealEngine, dict[str, str]]:
    """Each engine in turn, and a setting: one gateway worker or several, to which no engine matters."""
    name, workers = request.param
    engine: RealEngine = request.getfixturevalue(f"{name}_engine")
    return engine, {"GATEWAY_WORKERS": str(workers)}


@pytest.fixture(scope="module")
def any_house(
    engine_and_workers: tuple[RealEngine, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house on each engine in turn, with one gateway worker or several."""
    engine, workers = engine_and_workers
    with opened(engine, tmp_path_factory.mktemp("house"), workers) as built:
        yield built
