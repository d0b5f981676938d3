"""One JSON line a request, written in batches by a thread, so that a slow pipe never stops the loop.

Says which route and which UserContainer, never the path, the user or a header: paths carry user names and
hosted links, which are secrets. Lines beyond the queue's bound are dropped, and counted. A line is made where
the request ends: a thread that made them would hold up the loop for its turns with the interpreter.
"""

import asyncio
import os
import select
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from time import perf_counter, time

import orjson

from gateway.asked import Asked
from gateway.proxy import Failure

FLUSH_EVERY_S = 0.5
LINES_QUEUED_MAX = 20_000
PIPE_PIECE_BYTES = select.PIPE_BUF  # what a pipe that polls writable takes at once, and never torn apart
FILE_PIECE_BYTES = 256 * 1024
BEGINNINGS_KEPT_MAX = 4096
STALL_S = 2.0
_STDOUT = 1

_What = tuple[str, bool, str, str]  # method, whether at a Home's origin, route, UserContainer


class AccessLog:
    """One a worker. ``note`` is the hot path; ``run`` writes until cancelled, ``flush`` at the end."""

    def __init__(self, worker: str, descriptor: int = _STDOUT) -> None:
        self._worker = worker
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._beginnings: dict[_What, str] = {}
        self._clock = _Clock()
        self.dropped_count = 0

    def note(self, asked: Asked, ended_s: float) -> None:
        if len(self._lines) >= LINES_QUEUED_MAX:
            self.dropped_count += 1
            return
        self._lines.append(self._line(asked, ended_s))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            self._clock.set()
            if self._lines:
                await asyncio.to_thread(self._write, self._taken())

    def flush(self) -> None:
        """Write what is queued, at the end of the process."""
        self._write(self._taken())

    def _taken(self) -> list[bytes]:
        taken, self._lines = self._lines, []
        return taken

    def _write(self, lines: list[bytes]) -> None:
        with suppress(OSError):  # nobody reads: the requests matter more
            for piece in _pieces(lines, self._piece_bytes()):
                if not self._is_writable():
                    self.dropped_count += len(lines)
                    return
                os.write(self._descriptor, piece)

    def _piece_bytes(self) -> int:
        is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        return FILE_PIECE_BYTES if is_file else PIPE_PIECE_BYTES

    def _is_writable(self) -> bool:
        """Whether a piece can be written without blocking; a pipe that nobody empties must not hold us up."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(STALL_S * 1000))

    def _line(self, asked: Asked, ended_s: float) -> bytes:
        outcome, route, seat = asked.outcome, asked.route, asked.seat
        method = "WEBSOCKET" if asked.is_websocket else asked.scope["method"]
        what = (
            method,
            bool(asked.site.home),
            route.path if route is not None else "",
            seat.name if seat is not None else "",
        )
        beginning = self._beginnings.get(what) or self._begin(what)
        took_ms = (ended_s - asked.started_s) * 1000
        up, down = (outcome.bytes_up, outcome.bytes_down) if outcome is not None else (0, 0)
        more = "" if _is_plain(asked) else _more(asked)
        return (
            f'{{"timestamp":"{self._clock.at(asked.started_s)}",{beginning},"status":{asked.status},'
            f'"took_ms":{took_ms:.2f},"bytes_up":{up},"bytes_down":{down}{more}}}\n'
        ).encode()

    def _begin(self, what: _What) -> str:
        """The fields that request after request has in common."""
        method, is_home, route, seat = what
        fields = {
            "event": "request.answered",
            "worker": self._worker,
            "method": method,
            "site": "home" if is_home else "gateway",
            "route": route,
            "user_container": seat,
        }
        if len(self._beginnings) >= BEGINNINGS_KEPT_MAX:
            self._beginnings.clear()
        beginning = self._beginnings[what] = orjson.dumps(fields)[1:-1].decode()
        return beginning


class _Clock:
    """Wall-clock times of what ``perf_counter`` measured; the text of a second is made once."""

    def __init__(self) -> None:
        self.set()
        self._second = -1
        self._text = ""

    def set(self) -> None:
        """Again and again: somebody may set the wall clock."""
        self._offset_s = time() - perf_counter()

    def at(self, counter_s: float) -> str:
        """ISO 8601 with microseconds, UTC."""
        second, fraction = divmod(counter_s + self._offset_s, 1)
        if second != self._second:
            self._second = int(second)
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._text}.{int(fraction * 1e6):06d}Z"


def _is_plain(asked: Asked) -> bool:
    outcome = asked.outcome
    is_whole = outcome is None or outcome.failure is Failure.NONE
    return is_whole and not (asked.held_s or asked.dials or asked.reason)


def _more(asked: Asked) -> str:
    """What only an unusual request has to tell."""
    fields: dict[str, object] = {}
    if asked.held_s:
        fields["held_ms"] = round(asked.held_s * 1000)
    if asked.dials:
        fields["dials_failed"] = asked.dials
    if asked.outcome is not None and asked.outcome.failure is not Failure.NONE:
        fields["failure"] = str(asked.outcome.failure)
    if asked.reason:
        fields["reason"] = asked.reason
    return "," + orjson.dumps(fields)[1:-1].decode()


def _pieces(lines: list[bytes], most: int) -> Iterator[bytes]:
    """Whole lines together, up to ``most`` bytes, so that several workers' lines on one pipe stay whole."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > most:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield b"".join(piece)
