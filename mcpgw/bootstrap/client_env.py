"""A Python environment for clients of another age: packages that may not stand beside the project's own.

The lock pins each package by its digest and names no index; pip's own settings say where to fetch. Which
packages they are is the lock's business.
"""

import hashlib
import shutil
import sys
from pathlib import Path

from mcpgw.bootstrap.command import run
from mcpgw.bootstrap.paths import cache_dir, only_one
from mcpgw.bootstrap.progress import step


def ensure_python_env(lock: Path) -> Path:
    """The Python that has what ``lock`` names and nothing else; made when the lock or our Python changes."""
    ours = f"{sys.base_prefix} {sys.version}".encode()
    folder = cache_dir("python") / hashlib.sha256(lock.read_bytes() + ours).hexdigest()[:12]
    with only_one("python"):
        if not folder.exists():
            _install(lock, folder)
    return folder / "bin" / "python"


def _install(lock: Path, folder: Path) -> None:
    """Its `bin/python` works wherever the folder is moved to, and is all that is used of its programs."""
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    log = cache_dir("logs") / "pip.log"
    with step(f"installing the Python packages of {lock.name}"):
        run(
            (sys.executable, "-m", "venv", "--without-pip", str(draft)),
            log=log,
            mend="Delete .venv and start again",
        )
        options = ("-q", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:")
        run(
            # The lock is its own constraint: older pips do not take "a==1" for an answer to "a[extra]".
            (*_pip_for(draft), "install", *options, "--require-hashes", "-r", str(lock), "-c", str(lock)),
            log=log,
            mend="See that the Python package index answers, and start again",
        )
    draft.rename(folder)


def _pip_for(env: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "pip", "--python", str(env / "bin" / "python"))
