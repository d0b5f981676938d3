"""What is known of the disk: whether there is room to make anything, and what each Home's data takes.

Looks again and again, at a pace that leaves the disk to those who work. What follows from it is decided by
:mod:`reconciler.core.disk`. Next: :mod:`reconciler.loop.observer`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from reconciler.core.world import DiskUse
from reconciler.loop.gauge import Gauge, Room

ROOM_PERIOD_S = 15.0
FREE_FILES_MIN = 1_000  # a birth takes a handful, and the state's own files need some, too
ROUND_PERIOD_S = 30.0  # from the end of one round over everybody's data to the next
REST_FACTOR = 4.0  # counting takes a fifth of one core, and of the disk's time, at the most
REST_S_MIN = 0.05
MIB = 1 << 20

_log = structlog.get_logger(__name__)


class Disk:
    """One a reconciler process. ``limits`` says what data may take, by Home: only those are measured."""

    def __init__(
        self,
        gauge: Gauge,
        free_bytes_min: int,
        limits: Callable[[], Mapping[str, int]],
        *,
        on_room: Callable[[], None],
        on_use: Callable[[str], None],
    ) -> None:
        self._gauge = gauge
        self._free_bytes_min = free_bytes_min
        self._limits = limits
        self._on_room = on_room  # there is room again, or none any more
        self._on_use = on_use  # gets the Home that takes more than it may
        self._used: dict[str, DiskUse] = {}
        self.full = ""  # why nothing may be made, "" if it may, or nobody knows

    def use(self, home: str) -> DiskUse | None:
        """What the last measurement of that Home found."""
        return self._used.get(home)

    async def run(self) -> None:
        """Look and measure for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_for_ever())
            group.create_task(self._measure_for_ever())

    async def look(self) -> None:
        """Whether there is room. What cannot be told stops nobody: the disk itself refuses then."""
        room = await self._gauge.room()
        before, self.full = self.full, self._why_full(room) if room is not None else ""
        if self.full != before:
            if self.full:
                _log.warning("disk.filled", room=room)
            else:
                _log.info("disk.emptied", room=room)
            self._on_room()

    def _why_full(self, room: Room) -> str:
        if room.free_bytes < self._free_bytes_min:
            return (
                f"less than {self._free_bytes_min // MIB} MiB are left where HOST_DATA_DIR is, so no "
                "container is made: free some room there, or lower CEILING_DISK_FREE_MIN. Where no files "
                "account for it, `lsof +L1` names who holds deleted ones open"
            )
        if room.free_files is not None and room.free_files < FREE_FILES_MIN:
            return (
                f"fewer than {FREE_FILES_MIN} files can still be made where HOST_DATA_DIR is (`df -i`), so "
                "no container is made: delete some there, or move it to a file system with more of them"
            )
        return ""

    async def measure(self) -> None:
        """One round over everybody's data."""
        limits = self._limits()
        self._used = {home: use for home, use in self._used.items() if home in limits}
        looked_again_at = time.monotonic()
        for home in limits:
            await self._measure(home, limits)
            if time.monotonic() - looked_again_at > ROUND_PERIOD_S:  # a long round
                for over in [one for one in limits if self._is_over(one, limits)]:
                    await self._measure(over, limits)
                looked_again_at = time.monotonic()

    async def _measure(self, home: str, limits: Mapping[str, int]) -> None:
        began = time.monotonic()
        use = await self._gauge.use(home, limits[home])
        if use is not None:
            self._used[home] = use
            if self._is_over(home, limits):
                self._on_use(home)
        await asyncio.sleep(max(REST_S_MIN, REST_FACTOR * (time.monotonic() - began)))

    def _is_over(self, home: str, limits: Mapping[str, int]) -> bool:
        use = self._used.get(home)
        return use is not None and (use.bytes_used > limits[home] or bool(use.beyond))

    async def _look_for_ever(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(ROOM_PERIOD_S)

    async def _measure_for_ever(self) -> None:
        while True:
            await self.measure()
            await asyncio.sleep(ROUND_PERIOD_S)
