"""``auth.conformance``: the share of the MCP conformance suite's authorization checks that a gateway passes.

The suite judges a real process, at every revision that tests hold it to; somebody of the benchmark's issuer
consents. Who brings the suite and the person is :mod:`tests.clients.conformance`.
"""

import asyncio
import tempfile
from pathlib import Path

from bench.gateways import Processes, settings_of, until_ready
from bench.issuer import SOMEBODY, Issuer, issuing
from bench.people import PROVIDER, settle, user_of
from bench.results import Sample
from mcpgw.bootstrap.testing import ensure_conformance_suite
from mcpgw.testing.ports import free_ports
from tests.clients.conformance import Found, authorization_findings
from tests.clients.robot import LostError, Person
from tests.demo.suite import REVISIONS

PASSED = "SUCCESS"
NAME = "auth.conformance"


def measured() -> Sample:
    ensure_conformance_suite()
    try:
        found = asyncio.run(_found())
    except (LostError, TimeoutError) as error:  # a finding: what else was measured stays
        return Sample(NAME, (0.0,), f"the suite did not come to its end: {type(error).__name__}")
    return _judged(found)


def _judged(found: dict[str, Found]) -> Sample:
    checks = {
        f"{check} at {revision}": said
        for revision, one in found.items()
        for check, said in one.checks.items()
    }
    failed = [check for check, said in checks.items() if said != PASSED]
    # A suite that ends badly without saying of what has a check the more, which failed.
    failed += [f"the suite itself at {revision}" for revision, one in found.items() if _is_broken(one)]
    passed = sum(said == PASSED for said in checks.values())
    how = f"{passed} checks at revisions {' and '.join(found)}"
    if failed:
        how += f"; not passed: {', '.join(failed)}"
    return Sample(NAME, (passed / max(1, passed + len(failed)),), how)


def _is_broken(found: Found) -> bool:
    return not found.checks or (found.code != 0 and all(said == PASSED for said in found.checks.values()))


async def _found() -> dict[str, Found]:
    first = free_ports(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = Processes(folder)
        async with issuing() as issuer:
            try:
                settings = await _gateway(processes, folder, first, issuer)
                return {one: await _judge(settings["GATEWAY_ORIGIN"], one, folder) for one in REVISIONS}
            finally:
                await asyncio.to_thread(processes.stop)


async def _gateway(processes: Processes, folder: Path, port: int, issuer: Issuer) -> dict[str, str]:
    settings = settings_of(folder / "house", port, port + 1) | issuer.settings
    await settle(settings, [user_of(SOMEBODY)])
    processes.start_gateway(settings)
    await asyncio.to_thread(until_ready, port + 1)
    return settings


async def _judge(origin: str, revision: str, folder: Path) -> Found:
    said = folder / revision
    said.mkdir()
    async with Person("decision=allow", f"provider={PROVIDER}") as person:
        return await authorization_findings(origin, f"{origin}/mcp", revision, person, said)
