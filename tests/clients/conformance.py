"""Runs the MCP conformance suite's authorization scenarios straight at an authorization server.

They are two: the metadata, and a whole code grant, for which the suite prints an address that a person has to
visit, and waits at its own callback. It neither registers a client nor knows a test user. Its public client
has no secret; scenarios named `auth/…` are for clients, and judge no server.
Source: the suite's `authorization --help`, version 0.2.0-alpha.12.
"""

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from mcpgw.bootstrap.node import node_program
from mcpgw.bootstrap.testing import ensure_conformance_suite
from tests.clients.robot import Person
from tests.gateway.test_processes import free_port

SUITE_S_MAX = 120.0
LAST_WORDS_CHARS_MAX = 3000

Checks = dict[str, str]
"""A check's name → its status, and what is wrong."""


@dataclass(frozen=True)
class Found:
    """The suite's exit code (0: all holds), its checks by name, and all that it said."""

    code: int
    checks: Checks
    said: str


async def authorization_findings(
    issuer: str, resource: str, revision: str, person: Person, folder: Path
) -> Found:
    """Register a public client, and let the suite judge ``issuer`` by it."""
    port = free_port()
    client_id = await _registered(issuer, f"http://127.0.0.1:{port}/callback")
    words = {
        "--url": issuer,
        "--client-id": client_id,
        "--resource": resource,
        "--port": str(port),
        "--spec-version": revision,
        "--output-dir": str(folder),
    }
    code, said = await _run(words, person)
    return Found(code, _read(folder), said)


async def _registered(issuer: str, redirect_uri: str) -> str:
    metadata = {
        "client_name": "The conformance suite",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{issuer}/.well-known/oauth-authorization-server") as found,
        http.post((await found.json())["registration_endpoint"], json=metadata) as answer,
    ):
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["client_id"])


async def _run(words: Mapping[str, str], person: Person) -> tuple[int, str]:
    modules = await asyncio.to_thread(ensure_conformance_suite)
    program = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    options = [word for pair in words.items() for word in pair]
    suite = await asyncio.create_subprocess_exec(
        *(node_program(modules), str(program), "authorization", *options),
        env={**os.environ, "NO_COLOR": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SUITE_S_MAX):
            said = await _follow(suite, person)
            return await suite.wait(), said
    finally:
        with contextlib.suppress(ProcessLookupError):
            suite.kill()
        await suite.wait()


async def _follow(suite: asyncio.subprocess.Process, person: Person) -> str:
    assert suite.stdout is not None
    lines: list[str] = []
    while line := (await suite.stdout.readline()).decode(errors="replace"):
        lines.append(line)
        if re.match(r"https?://\S+[?&]code_challenge=", line):
            await person.visit(line.strip())
    return "".join(lines)


def _read(folder: Path) -> Checks:
    checks: list[dict[str, Any]] = [
        check for path in sorted(folder.glob("**/checks.json")) for check in json.loads(path.read_text())
    ]
    return {check["id"]: f"{check['status']} {check.get('errorMessage') or ''}".strip() for check in checks}
