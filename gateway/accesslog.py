"""One JSON line a request, written in batches by a thread, so that a slow pipe never stops the loop.

Says which route and which UserContainer, never the path, the user or a header: paths carry user names and
hosted links, which are secrets. Lines beyond the queue's bound are dropped, and counted.
"""

import asyncio
import os
import select
from contextlib import suppress
from datetime import UTC, datetime
from time import perf_counter, time

import orjson

from gateway.asked import Asked
from gateway.proxy import Failure

FLUSH_EVERY_S = 0.5
LINES_QUEUED_MAX = 20_000
PIECE_BYTES = select.PIPE_BUF  # what a pipe that polls writable takes at once
STALL_S = 2.0
_STDOUT = 1

# In the order of the line's fields; one tuple a request is all that the hot path makes.
Line = tuple[float, str, str, str, str, int, float, float, int, int, int, str, str]


class AccessLog:
    """One a worker. ``note`` is the hot path; ``run`` writes until cancelled, ``flush`` at the end."""

    def __init__(self, worker: str, descriptor: int = _STDOUT) -> None:
        self._worker = worker
        self._descriptor = descriptor
        self._lines: list[Line] = []
        self.dropped_count = 0

    def note(self, asked: Asked, ended_s: float) -> None:
        if len(self._lines) >= LINES_QUEUED_MAX:
            self.dropped_count += 1
            return
        self._lines.append(_line(asked, ended_s))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            if self._lines:
                await asyncio.to_thread(self._write, self._taken())

    def flush(self) -> None:
        """Write what is queued, at the end of the process."""
        self._write(self._taken())

    def _taken(self) -> list[Line]:
        taken, self._lines = self._lines, []
        return taken

    def _write(self, lines: list[Line]) -> None:
        text = memoryview(b"".join(self._formatted(line) for line in lines))
        with suppress(OSError):  # nobody reads: the requests matter more
            while text:
                if not self._is_writable():
                    self.dropped_count += len(lines)
                    return
                text = text[os.write(self._descriptor, text[:PIECE_BYTES]) :]

    def _is_writable(self) -> bool:
        """Whether a piece can be written without blocking; a pipe that nobody empties must not hold us up."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(STALL_S * 1000))

    def _formatted(self, line: Line) -> bytes:
        at, method, site, route, seat, status, took_s, held_s, dials, up, down, failure, reason = line
        fields: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(at, UTC),
            "event": "request.answered",
            "worker": self._worker,
            "method": method,
            "site": site,
            "route": route,
            "user_container": seat,
            "status": status,
            "took_ms": round(took_s * 1000, 2),
            "bytes_up": up,
            "bytes_down": down,
        }
        if held_s:
            fields["held_ms"] = round(held_s * 1000)
        if dials:
            fields["dials_failed"] = dials
        if failure:
            fields["failure"] = failure
        if reason:
            fields["reason"] = reason
        return orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _line(asked: Asked, ended_s: float) -> Line:
    outcome, seat, route = asked.outcome, asked.seat, asked.route
    failed = outcome is not None and outcome.failure is not Failure.NONE
    return (
        time() - (perf_counter() - asked.started_s),
        "WEBSOCKET" if asked.is_websocket else asked.scope["method"],
        "home" if asked.site.home else "gateway",
        route.path if route is not None else "",
        seat.name if seat is not None else "",
        asked.status,
        ended_s - asked.started_s,
        asked.held_s,
        asked.dials,
        outcome.bytes_up if outcome is not None else 0,
        outcome.bytes_down if outcome is not None else 0,
        str(outcome.failure) if outcome is not None and failed else "",
        asked.reason,
    )
