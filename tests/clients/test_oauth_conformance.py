"""The MCP conformance suite's authorization scenarios, straight at the gateway."""

from pathlib import Path

import pytest

from tests.clients.conformance import authorization_findings
from tests.clients.place import Place
from tests.demo.suite import REVISIONS

CHECKS = ("authorization-server-metadata", "authorization-server-metadata-cimd", "authorization-code-grant")


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_gateway_holds_whatever_the_suite_asks_of_an_authorization_server(
    at_oidc: Place, revision: str, tmp_path: Path
) -> None:
    folder = tmp_path / "suite"
    folder.mkdir()
    async with at_oidc.person("answer=sign-in", login="alice") as alice:
        found = await authorization_findings(at_oidc.rig.origin, at_oidc.mcp_url, revision, alice, folder)
    assert found.checks == dict.fromkeys(CHECKS, "SUCCESS"), found.said
    assert found.code == 0, found.said
