"""Says what is being done, once it has taken longer than a person waits without wondering.

A step under two seconds leaves no line. One that takes longer is named, counted every few seconds, and
closed with the time it took. What a person must know beforehand goes through `say`.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_S = 2.0
"""Source: the project's contract: progress is shown for whatever takes over two seconds."""
REPEAT_S = 10.0


def say(line: str) -> None:
    """One line to a person, on standard error so that answers on standard output stay clean."""
    print(f"mcpgw: {line}", file=sys.stderr, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Show `name` while the block runs, if it runs for long."""
    started_at = time.monotonic()
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(name, started_at, over), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
        taken_s = time.monotonic() - started_at
    if taken_s > QUIET_S:
        say(f"{name}: done in {taken_s:.0f} s")


def _tell(name: str, started_at: float, over: threading.Event) -> None:
    if over.wait(QUIET_S):
        return
    say(f"{name} …")
    while not over.wait(REPEAT_S):
        say(f"{name} … {time.monotonic() - started_at:.0f} s")
