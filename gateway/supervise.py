"""Several workers on one socket: started, started again when one dies, stopped within a limit.

Decides when a dead worker is replaced, and that one which its settings stop at the start is not; refuses to
know what a worker does. The parent opens no store and serves nothing, so there is nothing in it to go wrong.
"""

import multiprocessing
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from time import monotonic

import structlog

from gateway.settings import GatewaySettings
from state.settings import EXIT_SETTINGS

RESTART_S_MIN = 0.5
RESTART_S_MAX = 30.0
HEALTHY_S = 60.0  # after so long, a death is news and not the same trouble again
STOP_S = 15.0  # for a worker to stop beside draining, before it is killed

_log = structlog.get_logger(__name__)
Main = Callable[[GatewaySettings, socket.socket, int], None]


@dataclass
class _Slot:
    """One worker's place, whoever holds it at the time."""

    index: int
    process: SpawnProcess | None = None
    started_s: float = 0.0
    start_at_s: float = 0.0
    deaths_count: int = field(default=0)


def supervise(main: Main, settings: GatewaySettings, listener: socket.socket) -> int:
    """Run `GATEWAY_WORKERS` children until SIGTERM or SIGINT, or until one cannot begin (EXIT_SETTINGS).

    Returns the exit code. A child that ends so has said why in a line of its own. Settings that were good for
    a while do not go bad: what stops a child later is the machine, and the others serve on.
    """
    spawning = multiprocessing.get_context("spawn")
    slots = [_Slot(index) for index in range(settings.gateway_workers)]
    exit_code, began_s = 0, monotonic()
    with _stopping() as stop:
        while not stop.asked and not exit_code:
            for slot in slots:
                if slot.process is None and monotonic() >= slot.start_at_s:
                    slot.process = spawning.Process(target=main, args=(settings, listener, slot.index))
                    slot.process.start()
                    slot.started_s = monotonic()
            _wait(slots, stop)
            buried = [_bury(slot) for slot in slots]
            if EXIT_SETTINGS in buried and monotonic() - began_s < HEALTHY_S:
                exit_code = EXIT_SETTINGS
    _stop_all(slots, listener, STOP_S + settings.drain_timeout_s)
    return exit_code


class _Stop:
    """Whether somebody asked to stop; ``wakeup`` becomes readable then."""

    def __init__(self, wakeup: socket.socket) -> None:
        self.asked = False
        self.wakeup = wakeup


@contextmanager
def _stopping() -> Iterator[_Stop]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    stop = _Stop(ours)

    def ask(_number: int, _frame: object) -> None:
        stop.asked = True

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, ask) for number in numbers]
    wakeup_before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        ours.close()
        theirs.close()


def _wait(slots: list[_Slot], stop: _Stop) -> None:
    """Until a worker died, one may be started again, or somebody asked to stop."""
    dead = [slot.start_at_s for slot in slots if slot.process is None]
    timeout_s = max(0.0, min(dead) - monotonic()) if dead else None
    wait([stop.wakeup, *(slot.process.sentinel for slot in slots if slot.process is not None)], timeout_s)


def _bury(slot: _Slot) -> int | None:
    """Take note of a worker that died, and of when the next may start; its exit code."""
    process = slot.process
    if process is None or process.is_alive():
        return None
    now_s = monotonic()
    slot.deaths_count = 1 if now_s - slot.started_s > HEALTHY_S else slot.deaths_count + 1
    pause_s = min(RESTART_S_MAX, RESTART_S_MIN * 2 ** (slot.deaths_count - 1))
    slot.start_at_s = now_s + pause_s
    slot.process = None
    exit_code = process.exitcode
    _log.error("worker.died", index=slot.index, exit_code=exit_code, restart_after_s=pause_s)
    process.close()
    return exit_code


def _stop_all(slots: list[_Slot], listener: socket.socket, timeout_s: float) -> None:
    """SIGTERM to all at once, then one limit for all of them."""
    processes = [slot.process for slot in slots if slot.process is not None]
    for process in processes:
        process.terminate()
    listener.close()  # or whoever dialled from now on would be let in by nobody, and reset at our own end
    deadline_s = monotonic() + timeout_s
    for process in processes:
        process.join(max(0.0, deadline_s - monotonic()))
        if process.is_alive():
            _log.warning("worker.killed", pid=process.pid)
            process.kill()
            process.join()
