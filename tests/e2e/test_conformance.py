"""The MCP conformance suite against one container, directly and through the gateway: no check may differ."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpgw.testing.house import House
from mcpgw.testing.workload import demo_template
from tests.demo.suite import REVISIONS, findings
from tests.e2e.conftest import opened
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

USER = "alice"
ADDS_HEADERS = Path(__file__).parent.parent / "npm" / "add_headers.mjs"
SCENARIOS_MIN = 30
# Of the demo: the questions of the suite are answered, and by whatever name it is called on loopback.
ENV = {"DEMO_CONFORMANCE": "1", "DEMO_ALLOWED_HOSTS": "127.0.0.1:* localhost:*"}


@pytest.fixture(scope="module")
def conforming_house(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(real_engine, tmp_path_factory.mktemp("conforming"), begin="nothing") as house:
        house.write_manifest("demo.yaml", demo_template(house.image, env=ENV))
        house.start()
        yield house


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_gateway_changes_no_check_of_the_conformance_suite(
    conforming_house: House, revision: str, tmp_path: Path
) -> None:
    house = conforming_house
    house.serve(USER)
    through_environment = {
        "NODE_OPTIONS": f"--import={ADDS_HEADERS.as_uri()}",
        "ADDED_HEADERS": json.dumps(house.headers(USER)),
        "ADDED_HEADERS_PORT": house.origin.rpartition(":")[2],
    }
    direct = asyncio.run(findings(f"{house.endpoint(USER)}/mcp", revision, _folder(tmp_path, "direct")))
    through = asyncio.run(
        findings(house.mcp_url, revision, _folder(tmp_path, "through"), environment=through_environment)
    )
    assert len(direct[1]) >= SCENARIOS_MIN
    assert through == direct


def _folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made
