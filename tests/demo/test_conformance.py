"""The demo against the MCP conformance suite, directly: what the gateway may not change."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.rig import demo_process
from tests.demo.suite import REVISIONS, findings

OPTIONAL = "tasks-"
"""An extension that the demo does not offer; the suite runs it and does not count it."""


@pytest.fixture(scope="module")
def conformance_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {"DEMO_CONFORMANCE": "1", "DEMO_ALLOWED_HOSTS": "127.0.0.1:* localhost:*"}
    with demo_process(tmp_path_factory.mktemp("data"), **settings) as url:
        yield url


@pytest.mark.parametrize("revision", REVISIONS)
async def test_all_that_a_revision_asks_of_a_server_holds(
    conformance_url: str, revision: str, tmp_path: Path
) -> None:
    exit_code, found = await findings(f"{conformance_url}/mcp", revision, tmp_path)
    failed = {
        (scenario, check)
        for scenario, checks in found.items()
        for check, status, _ in checks
        if status == "FAILURE" and not scenario.startswith(OPTIONAL)
    }
    assert not failed
    assert exit_code == 0
    assert len(found) > 30
