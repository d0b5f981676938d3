"""Stacks under `docker compose` on a real engine.

Where a test fails, the end of its services' logs is in the report.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcpgw.bootstrap.engine_api import Engine
from mcpgw.bootstrap.program_image import ensure_program_image
from mcpgw.testing.composed import Composed, composed
from mcpgw.testing.ports import free_port
from tests.engines import RealEngine

LOG_CHARS = 6000
GATEWAY_UID = 10001

_open: list[Composed] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend((f"logs of {one.project}", one.logs()[-LOG_CHARS:]) for one in _open)
    return report


@contextmanager
def opened(engine: RealEngine, folder: Path, settings: dict[str, str] | None = None) -> Iterator[Composed]:
    """A stack on a real engine; nothing of it is up yet."""
    with composed(folder, _engine(engine), engine.image, settings) as built:
        _open.append(built)
        try:
            yield built
        finally:
            _open.remove(built)


@pytest.fixture(scope="module", params=["docker", "podman"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """The three services on each engine in turn, up; for tests that leave it as they found it."""
    engine: RealEngine = request.getfixturevalue(f"{request.param}_engine")
    folder = tmp_path_factory.mktemp("stack")
    folder.chmod(0o755)
    secret = folder / "github"
    secret.write_text("a-secret\n")
    secret.chmod(0o400)
    os.chown(secret, GATEWAY_UID, GATEWAY_UID)
    port = free_port()
    settings = {
        "GATEWAY_PUBLISH": str(port),  # everywhere, so that a container may try
        "GATEWAY_ORIGIN": f"http://localhost:{port}",
        "OAUTH_GITHUB_CLIENT_ID": "an-id",
        "OAUTH_GITHUB_CLIENT_SECRET_FILE": str(secret),
    }
    with opened(engine, folder, settings) as built:
        built.up("--no-build")
        built.until_page()
        yield built


@pytest.fixture
def edged(real_engine: RealEngine, tmp_path: Path) -> Iterator[Composed]:
    """The three and the edge, up: ``https://mcp.example.com`` is at the published port."""
    settings = {
        "GATEWAY_ORIGIN": "https://mcp.example.com",
        "WORKLOAD_DOMAIN": "homes.example.net",
        "EDGE_TLS": "internal",
        "EDGE_WORKLOAD_TLS": "internal",
        "CADDY_IMAGE": ensure_program_image(_engine(real_engine), "caddy"),
        "EDGE_HTTP_PUBLISH": f"127.0.0.1:{free_port()}",
        "EDGE_HTTPS_PUBLISH": f"127.0.0.1:{free_port()}",
    }
    with opened(real_engine, tmp_path, settings) as built:
        built.up("--no-build", profiles=["edge"])
        yield built


def _engine(engine: RealEngine) -> Engine:
    return Engine("docker" if engine.name == "docker" else "podman", engine.url)
