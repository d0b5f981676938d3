"""Programs from npm that tests and benchmarks need: unpacked from a lock into the cache, nowhere else.

The lock pins each package by its digest and names no registry; npm's own settings say where to fetch. No
package's install script is run. Which packages they are is the lock's business. What an older lock had
installed goes once nobody has asked for it in a while: a program that runs may still load from there.
"""

import hashlib
import json
import os
import platform
import shutil
import time
from pathlib import Path

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found, run
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.paths import cache_dir, only_one
from mcpgw.bootstrap.progress import step

NODE_MAJOR_MIN = 22
"""Source: the `engines` field of the conformance suite's package."""
MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
DRAFT = ".draft"
UNUSED_KEPT_S = 6 * 3600.0  # longer than any run of the tests


def ensure_npm_packages(locked: Path) -> Path:
    """The `node_modules` with what `locked/package-lock.json` names; made when the lock changes."""
    content = b"".join((locked / name).read_bytes() for name in ("package.json", "package-lock.json"))
    folder = cache_dir("npm") / hashlib.sha256(content).hexdigest()[:12]
    with only_one("npm"):
        if not folder.exists():
            _install(locked, folder)
        os.utime(folder)
        _drop_older(folder)
    return folder / "node_modules"


def node_program(modules: Path) -> str:
    """A Node that is new enough: the one among the packages, or else this machine's."""
    packed = modules / f"node-linux-{MACHINES.get(platform.machine(), '')}" / "bin" / "node"
    if packed.exists():
        return str(packed)
    if (system := found("node")) and _major(system) >= NODE_MAJOR_MIN:
        return system
    raise BootstrapError(
        f"Node {NODE_MAJOR_MIN} is missing, and npm has none for {platform.system()} on {platform.machine()}",
        mend=f"Install Node {NODE_MAJOR_MIN} or later and start again",
    )


def _install(locked: Path, folder: Path) -> None:
    if found("npm") is None:
        debian.install(("npm",), why="npm")
    draft = folder.with_suffix(DRAFT)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(locked / name, draft)
    with step("installing npm packages"):
        run(
            ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"),
            cwd=draft,
            log=cache_dir("logs") / "npm.log",
            mend="See that the npm registry answers, and start again",
        )
    draft.rename(folder)


def _drop_older(folder: Path) -> None:
    """What older locks of the same package had installed, and drafts that were given up, unless it is recent.

    First it becomes a draft, so that a death in between leaves nothing that looks whole.
    """
    for other in sorted(folder.parent.iterdir()):
        if other == folder or not other.exists() or other.stat().st_mtime > time.time() - UNUSED_KEPT_S:
            continue  # ours, gone with the one before, or of a run that may be under way
        if other.suffix == DRAFT:
            shutil.rmtree(other, ignore_errors=True)
        elif _package(other) == _package(folder):
            draft = other.with_suffix(DRAFT)
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(other.rename(draft), ignore_errors=True)


def _package(folder: Path) -> str:
    """Of which package it is; empty where that cannot be told."""
    try:
        return str(json.loads((folder / "package.json").read_bytes())["name"])
    except (OSError, ValueError, KeyError):
        return ""


def _major(program: str) -> int:
    version = run((program, "--version"), mend="Repair or remove it").strip()
    return int(version.removeprefix("v").partition(".")[0])
