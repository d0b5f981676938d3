"""`./run check`: format, lint, types, layers. Each is run even if an earlier one found something."""

import subprocess
import sys
from pathlib import Path

from mcpgw.bootstrap.command import environment
from mcpgw.bootstrap.paths import PROJECT_DIR
from mcpgw.bootstrap.progress import say, step

CHECKS = (
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("lint", ("ruff", "check", "--quiet", ".")),
    ("types", ("mypy", "--no-error-summary")),
    ("layers", ("lint-imports",)),
)
CHECK_MAX_S = 900.0


def check() -> bool:
    """Whether nothing was found. What was is on standard output, in each tool's own words."""
    failed = [name for name, words in CHECKS if not _passes(name, words)]
    say(f"found something: {', '.join(failed)}" if failed else "format, lint, types and layers are clean")
    return not failed


def _passes(name: str, words: tuple[str, ...]) -> bool:
    program, *arguments = words
    with step(f"checking {name}"):
        done = subprocess.run(  # noqa: S603 - the words are ours, and no shell reads them
            (str(Path(sys.executable).parent / program), *arguments),
            cwd=PROJECT_DIR,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CHECK_MAX_S,
            check=False,
        )
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0
