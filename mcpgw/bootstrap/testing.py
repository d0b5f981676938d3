"""`./run test`: what the tests need, as a list of steps, and beside them the checks; then every test.

To give the tests something new, add a step to STEPS: a name for a person and a function that makes sure
of it, quickly when it is there already. Fixtures call the same functions, so a single test runs too.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.checks import check
from mcpgw.bootstrap.client_env import ensure_python_env
from mcpgw.bootstrap.command import environment, found
from mcpgw.bootstrap.compose import ensure_compose
from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.docker import ensure_docker
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.nftables import ensure_nft
from mcpgw.bootstrap.node import ensure_npm_packages
from mcpgw.bootstrap.paths import PROJECT_DIR
from mcpgw.bootstrap.podman import ensure_podman
from mcpgw.bootstrap.program_image import NEWER_RELEASE, PROGRAMS, ensure_program_image
from mcpgw.bootstrap.progress import say
from mcpgw.bootstrap.project_image import ensure_project_image
from mcpgw.bootstrap.release import unpack

PROCESSES_MAX = 5
"""Engines' tests wait most of the time, and the longest of them are four parts (tests/conftest.py)."""
TESTS_FAILED = 1
"""pytest's exit code. Source: pytest.ExitCode."""
LAST_FAILED = PROJECT_DIR / ".pytest_cache" / "v" / "cache" / "lastfailed"
AGAIN_MAX = 40
"""More that fail at once are no accident."""
POSTGRES_PROGRAMS = Path("/usr/lib/postgresql")


def ensure_postgres() -> Path:
    """The folder with `initdb` and `postgres`, from Debian. No server of the system's is touched or used."""
    if not _postgres_folders():
        debian.install(("postgresql",), why="PostgreSQL")
    if not (folders := _postgres_folders()):
        raise BootstrapError(
            f"postgresql is installed, but no initdb is below {POSTGRES_PROGRAMS}",
            mend="Run `apt-get install --reinstall postgresql`",
        )
    return folders[-1]


def _postgres_folders() -> list[Path]:
    folders = [path.parent for path in POSTGRES_PROGRAMS.glob("*/bin/initdb")]
    return sorted(folders, key=lambda folder: int(folder.parent.name))


def ensure_conformance_suite() -> Path:
    """The `node_modules` with the MCP conformance suite, identity providers, and a Node for all of them."""
    return ensure_npm_packages(PROJECT_DIR / "tests" / "npm")


def ensure_npm_clients() -> Path:
    """The `node_modules` with the MCP and OAuth clients of Node."""
    return ensure_npm_packages(PROJECT_DIR / "tests" / "npm-clients")


def ensure_client_env() -> Path:
    """The Python that has the official client of the major before ours."""
    return ensure_python_env(PROJECT_DIR / "tests" / "clients" / "mcp1-requirements.lock")


def ensure_chromium() -> Path:
    """The browser, from Debian."""
    if (program := found("chromium")) is None:
        debian.install(("chromium",), why="the tests in a browser")
    if (program := found("chromium")) is None:
        raise BootstrapError("chromium is installed, but not to be found", mend="Put it into PATH")
    return Path(program)


def ensure_reverse_proxies() -> dict[str, Path]:
    """nginx and Caddy by name, from Debian: the tests run them themselves, and never as services.

    ``edge`` is the Caddy that the edge's image has.
    """
    packages = {"nginx": "nginx-light", "caddy": "caddy"}
    missing = [package for program, package in packages.items() if found(program) is None]
    if missing:
        debian.install(missing, why="the tests behind a reverse proxy")
    programs = {program: found(program) for program in packages}
    for program, path in programs.items():
        if path is None:
            raise BootstrapError(f"{program} is installed, but not to be found", mend="Put it into PATH")
    edge = unpack(NEWER_RELEASE, PROGRAMS["caddy"].newer) / "usr" / "bin" / "caddy"
    return {"edge": edge, **{program: Path(path) for program, path in programs.items() if path is not None}}


def _images() -> None:
    for engine in (ensure_docker(), ensure_podman()):
        ensure_demo_image(engine)


def _compose() -> None:
    """Compose, and the images of what it starts."""
    ensure_compose()
    for engine in (ensure_docker(), ensure_podman()):
        ensure_project_image(engine)
        for name in ("busybox", "caddy", "prometheus"):
            ensure_program_image(engine, name)


STEPS: Sequence[tuple[str, Callable[[], object]]] = (
    ("Docker", ensure_docker),
    ("Podman", ensure_podman),
    ("the demo image on both", _images),
    ("PostgreSQL", ensure_postgres),
    ("the MCP conformance suite, and identity providers", ensure_conformance_suite),
    ("MCP clients from npm", ensure_npm_clients),
    ("the MCP client of an older major", ensure_client_env),
    ("a browser", ensure_chromium),
    ("nftables", ensure_nft),
    ("nginx and Caddy", ensure_reverse_proxies),
    ("Compose, and the project's image on both engines", _compose),
)


def prepare() -> None:
    """Do every step. BootstrapError names the one that failed and its mend."""
    for name, ensure in STEPS:
        say(f"the tests need {name}")
        ensure()


def test(arguments: Sequence[str]) -> int:
    """Prepare, check, and run pytest with the arguments; the exit code is 0 only if nothing was found."""
    with ThreadPoolExecutor(1) as beside:
        checking = beside.submit(check)  # what is prepared waits for others, or has one core
        prepare()
    clean = checking.result()
    if arguments:
        return _pytest(arguments) or (0 if clean else 1)
    # A short path: processes side by side get a folder more each, and sockets below it have 107 characters.
    folder = tempfile.mkdtemp(prefix="t")
    failed = _pytest((*_side_by_side(), f"--basetemp={folder}"))
    if failed == TESTS_FAILED:
        failed = _again()
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
    return failed or (0 if clean else 1)


def _pytest(arguments: Sequence[str]) -> int:
    words = (sys.executable, "-m", "pytest", *arguments)
    return subprocess.run(words, cwd=PROJECT_DIR, env=environment(), check=False).returncode  # noqa: S603 - our own words


def _again() -> int:
    """What failed beside others, once more alone: engines are slow for whoever shares a machine with them.

    Each stays named in the output above, and what fails again has failed.
    """
    failed: dict[str, bool] = json.loads(LAST_FAILED.read_text("utf-8"))
    if len(failed) > AGAIN_MAX:
        return TESTS_FAILED
    say(f"{len(failed)} tests failed side by side, and are tried once more alone: {', '.join(failed)}")
    return _pytest(("--last-failed", "--last-failed-no-failures=none"))


def _side_by_side() -> tuple[str, ...]:
    """Every test, in processes side by side where there is more than one core."""
    is_alone = (os.cpu_count() or 1) == 1
    parallel = () if is_alone else ("-n", str(PROCESSES_MAX), "--dist", "loadscope", "--no-loadscope-reorder")
    return (*parallel, "--durations=30")
