"""Runs the MCP conformance suite against a server, and reads what it found.

Its findings can be compared: the same server directly and through the gateway must give the same.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

from mcpgw.bootstrap.node import node_program
from mcpgw.bootstrap.testing import ensure_conformance_suite

SUITE_MAX_S = 300.0
REVISIONS = ("2025-11-25", "2026-07-28")

Findings = dict[str, list[tuple[str, str, str]]]
"""Scenario → (check, status, what is wrong), in the suite's order."""


async def findings(
    url: str, revision: str, folder: Path, *, environment: Mapping[str, str] | None = None
) -> tuple[int, Findings]:
    """The suite's exit code (0: everything that the revision requires holds) and all that it checked.

    `environment` is for Node: NODE_OPTIONS=--import=… can add a header to each request, for example.
    """
    modules = await asyncio.to_thread(ensure_conformance_suite)
    program = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    words = ("server", "--url", url, "--requirements", revision, "--output-dir", str(folder))
    suite = await asyncio.create_subprocess_exec(
        node_program(modules),
        str(program),
        *words,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(suite.communicate(), SUITE_MAX_S)
    except TimeoutError:
        suite.kill()
        await suite.wait()
        raise
    (folder / "output.txt").write_bytes(output)
    assert suite.returncode is not None
    return suite.returncode, _read(folder)


def _read(folder: Path) -> Findings:
    """A scenario's folder is `server-<scenario>-<time>`; the time has five dashes of its own."""
    found: Findings = {}
    for checks in sorted(folder.glob("server-*/checks.json")):
        scenario = checks.parent.name.removeprefix("server-").rsplit("-", 5)[0]
        found[scenario] = [
            (check["id"], check["status"], check.get("errorMessage", ""))
            for check in json.loads(checks.read_text("utf-8"))
        ]
    return found
