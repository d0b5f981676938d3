"""What happened, in order: for whoever has to find out why a seed fails."""

from collections import deque
from collections.abc import MutableMapping
from typing import Any

import structlog

EVENTS_KEPT_MAX = 400
EVENTS_SHOWN = 70
# What our own code says of a mistake of ours, whatever the world did.
MISTAKES = {"pass.crashed", "plan.refused", "probe.crashed"}


class History:
    """The last events, every breach, and a fingerprint of all that was ever noted."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.breaches: list[str] = []
        self.before_the_first_breach = ""
        self.fingerprint = 0
        self.events_count = 0
        self._events: deque[str] = deque(maxlen=EVENTS_KEPT_MAX)

    def note(self, who: str, what: str) -> None:
        event = f"{self.now_s:10.3f}  {who:<12} {what}"
        self._events.append(event)
        self.events_count += 1
        self.fingerprint = _mixed(self.fingerprint, event)

    def breach(self, what: str) -> None:
        """Something that must never be."""
        self.note("JUDGE", what)
        if not self.breaches:
            self.before_the_first_breach = self.last(EVENTS_SHOWN)
        self.breaches.append(f"at {self.now_s:.3f} s: {what}")

    def last(self, count: int) -> str:
        return "\n".join(list(self._events)[-count:])

    def log(self, _logger: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor: the program's own log is part of the history."""
        name = event.pop("event")
        trace = event.pop("exc_info", None)
        said = " ".join(f"{key}={value}" for key, value in event.items())
        if name in MISTAKES:
            self.breach(f"{name} {said} {_last_frame(trace)}")
        else:
            self.note(level, f"{name} {said}")
        raise structlog.DropEvent


def _mixed(fingerprint: int, event: str) -> int:
    """Not Python's hash(), which another process salts otherwise."""
    for byte in event.encode():
        fingerprint = (fingerprint * 1_000_003 ^ byte) & 0xFFFFFFFFFFFFFFFF
    return fingerprint


def _last_frame(trace: object) -> str:
    import sys
    import traceback

    error = sys.exc_info()[1] if trace is True else trace
    if not isinstance(error, BaseException):
        return ""
    return "".join(traceback.format_exception(error))[-1500:]
