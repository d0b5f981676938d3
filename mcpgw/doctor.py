"""`mcpgw doctor`: everything that has to be right, looked at once, each with the mend where it is not.

Decides what is looked at and in which order, never what is done about it: it changes nothing.
A look that cannot be had is said to be missing, not passed over. Next: :mod:`mcpgw.doctor_looks`.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

from gateway.settings import GatewaySettings
from mcpgw.bootstrap.engine_api import EngineUnreachable, named_engine, networks
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.choices import read_choices
from mcpgw.doctor_compose import SUBNETS, at_router, at_subnets
from mcpgw.doctor_looks import (
    Finding,
    Verdict,
    at_engine,
    at_folders,
    at_public_address,
    at_settings,
    at_store,
)
from mcpgw.terminal import plain
from reconciler.engine.networks import host_routes
from reconciler.settings import ReconcilerSettings
from state.logs import configure
from state.settings import SettingsError, load_settings

LOOK_S_MAX = 20.0  # for one part: an engine or a store that hangs is a finding, not an end


def doctor(env_file: Path, part: str = "") -> int:
    """Print a line for each finding; 1 if anything keeps people out or data in danger.

    ``part`` is gateway or reconciler where only that one's settings are at hand, "" where both are, and
    compose in the compose file's ``check``, which has the reconciler's.
    """
    configure("critical", "mcpgw")
    findings = asyncio.run(_look(env_file, part))
    width = max(len(one.about) for one in findings)
    for one in findings:
        print(plain(f"{one.verdict:<8} {one.about:<{width}}  {one.said}"))
    troubles = sum(one.verdict is Verdict.TROUBLE for one in findings)
    print(f"\n{troubles} in need of mending" if troubles else "\nnothing in need of mending")
    return 1 if troubles else 0


async def _look(env_file: Path, part: str) -> Sequence[Finding]:
    findings = list(at_settings(env_file, part))
    try:
        gateway = load_settings(GatewaySettings, env_file=env_file) if part in ("", "gateway") else None
        reconciler = _reconciler_settings(env_file) if part != "gateway" else None
    except SettingsError:
        return [
            *findings,
            Finding(Verdict.TROUBLE, "settings", "mend these first; nothing else was looked at"),
        ]
    has_state = part != "compose"  # the store is the stack's: a look would bring it to this program's version
    if reconciler is not None:
        findings += _apart("folders", lambda: at_folders(reconciler, has_state=has_state))
    if gateway is not None:
        findings += at_public_address(gateway)
    if part in ("", "compose"):
        findings += at_router(env_file)
    if reconciler is not None:
        if part == "compose":
            findings += _apart("subnets", lambda: _at_subnets(reconciler))
        findings += await _bounded("engine", at_engine(reconciler, has_state=has_state))
    if not has_state:
        return findings
    shared = reconciler or gateway
    assert shared is not None, "a part leaves one of the two"
    findings += await _bounded("store", at_store(shared, gateway))
    return findings


def _at_subnets(settings: ReconcilerSettings) -> Iterator[Finding]:
    given = {name: os.environ[name] for name in SUBNETS if name in os.environ}
    if not given:
        said = "are Compose's to say: run `docker compose -f docker-compose.check.yml run --rm check`"
        yield Finding(Verdict.WARNING, "subnets", said)
        return
    try:
        engine = named_engine(settings.container_engine, "ENGINE_SOCKET", settings.engine_address)
        standing = networks(engine)
    except (EngineUnreachable, BootstrapError) as error:
        yield Finding(Verdict.TROUBLE, "subnets", f"could not be looked at: {error}")
        return
    yield from at_subnets(settings.container_project_name, settings.zones, given, standing, host_routes())


def _reconciler_settings(env_file: Path) -> ReconcilerSettings:
    """With what `mcpgw up` chose for this machine. Raises SettingsError."""
    settings = load_settings(ReconcilerSettings, env_file=env_file)
    return load_settings(ReconcilerSettings, env_file=env_file, below=read_choices(settings.state_dir))


def _apart(about: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """In a thread that ends with the process: a disk that hangs would hang whoever looks."""
    found: list[Finding] = []

    def collect() -> None:
        try:
            found.extend(look())
        except OSError as error:
            said = f"cannot be looked at: {error}; see whether the disk is well"
            found.append(Finding(Verdict.TROUBLE, about, said))
        except Exception as error:  # what a look did not foresee is told, and not passed over
            found.append(Finding(Verdict.TROUBLE, about, f"cannot be looked at: {error!r}"))

    looking = threading.Thread(target=collect, daemon=True)
    looking.start()
    looking.join(LOOK_S_MAX)
    return [*found, _silent(about)] if looking.is_alive() else found


def _silent(about: str) -> Finding:
    return Finding(Verdict.TROUBLE, about, f"did not answer within {LOOK_S_MAX:g} s; see whether it hangs")


async def _bounded(about: str, looking: AsyncIterator[Finding]) -> list[Finding]:
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(LOOK_S_MAX):
            async for one in looking:
                findings.append(one)  # noqa: PERF401 (what was found before a silence counts too)
    except TimeoutError:
        findings.append(_silent(about))
    return findings
