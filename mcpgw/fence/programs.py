"""Runs the two programs that change the host's network: bounded, and a failure told in one line.

Next: :mod:`mcpgw.fence.nft` and :mod:`mcpgw.fence.tailnet`.
"""

import subprocess
from collections.abc import Sequence

from mcpgw.bootstrap.command import environment, found
from mcpgw.fence.errors import FenceError

RUN_S_MAX = 20.0  # each takes milliseconds
WORDS_CHARS_MAX = 300


def run(what: str, words: Sequence[str], package: str, text: str = "") -> str:
    """What the program prints. Raises FenceError, which begins with ``what`` cannot be done."""
    program, *arguments = words
    path = found(program)
    if path is None:
        raise FenceError(f"{what}: {program} is not installed; run `apt-get install {package}` as root")
    try:
        done = subprocess.run(  # noqa: S603 (the words are ours, and no shell reads them)
            (path, *arguments),
            input=text,
            env=environment({"LC_ALL": "C"}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=RUN_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FenceError(f"{what}: {program} did not end within {RUN_S_MAX:.0f} s; try again") from None
    except OSError as error:
        raise FenceError(f"{what}: {program} cannot be run ({error.strerror})") from None
    if done.returncode:
        said = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "no reason given")
        raise FenceError(f"{what}: {program} says: {said[:WORDS_CHARS_MAX]}")
    return done.stdout
