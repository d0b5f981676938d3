"""How long `./run test` takes from cold: a fresh clone of what is committed, with no environment of its own.

What is installed on the machine stays installed, and engines that run go on: stop them first, and run this
alone. Left out unless it is asked for, as it takes as long as all the tests.
"""

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bench.results import Sample
from mcpgw.bootstrap.command import environment

CLONE_S_MAX = 600.0
SUITE_S_MAX = 5400.0
TICK_S = 60.0
WORDS_CHARS_MAX = 400


def run(out: Path, *, quick: bool) -> list[Sample]:
    """Raises RuntimeError where a test fails: that is no time to go by. ``quick`` measures none."""
    if quick:
        return []
    with tempfile.TemporaryDirectory(prefix="s") as folder:
        Path(folder).chmod(0o755)  # tests run some programs as users without rights
        clone, log = Path(folder) / "c", out.parent / "build" / "suite.log"
        log.parent.mkdir(exist_ok=True)
        words = ("git", "clone", "--quiet", str(out.parent), str(clone))
        subprocess.run(words, check=True, env=environment(), timeout=CLONE_S_MAX)
        began_at = time.monotonic()
        failed = _suite(clone, log, began_at)
        minutes = (time.monotonic() - began_at) / 60
        if failed:
            said = log.read_bytes().decode(errors="replace").strip()[-WORDS_CHARS_MAX:]
            raise RuntimeError(
                f"`./run test` ended with {failed} after {minutes:.0f} minutes; see {log}: {said}"
            )
        passed = [line for line in log.read_text(errors="replace").splitlines() if " passed" in line]
    return [Sample("suite.minutes", (minutes,), f"`./run test` in a fresh clone: {passed[0].strip(' =')}")]


def _suite(clone: Path, log: Path, began_at: float) -> int:
    """Its exit code; a sign of life each minute. Raises TimeoutExpired, having ended it."""
    words = ("./run", "test")
    with log.open("wb") as file:
        suite = subprocess.Popen(words, cwd=clone, stdout=file, stderr=file, start_new_session=True)
    try:
        while (spent_s := time.monotonic() - began_at) < SUITE_S_MAX:
            with suppress(subprocess.TimeoutExpired):
                return suite.wait(TICK_S)
            print(f"bench: suite: {spent_s / 60:.0f} minutes …", flush=True)
        raise subprocess.TimeoutExpired(words, SUITE_S_MAX)
    finally:
        for number in (signal.SIGINT, signal.SIGKILL):  # the first lets tests take away what they made
            if suite.poll() is None:
                os.killpg(suite.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    suite.wait(TICK_S)
