"""What is known of the disk: whether there is room to make anything, and what each Home takes of it.

Looks again and again, at a pace that leaves the disk to those who work. What follows from it is decided by
:mod:`reconciler.core.disk`. Next: :mod:`reconciler.loop.observer`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from reconciler.core.world import DiskUse
from reconciler.loop.gauge import Gauge, Room
from reconciler.loop.layers import Layers, LayerUse

ROOM_PERIOD_S = 15.0
FREE_FILES_MIN = 1_000  # a birth takes a handful, and the state's own files need some, too
ROUND_PERIOD_S = 30.0  # from the end of one round over everybody's data to the next
REST_FACTOR = 4.0  # counting takes a fifth of one core, and of the disk's time, at the most
REST_S_MIN = 0.05
MIB = 1 << 20
_EMPTY = LayerUse(0)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a Home may take, and which container of its could write outside of mounts; "" for none."""

    bytes_max: int
    container_id: str = ""


class Disk:
    """One a reconciler process. ``allowances`` are by Home: only those are measured."""

    def __init__(
        self,
        gauge: Gauge,
        layers: Layers,
        free_bytes_min: int,
        allowances: Callable[[], Mapping[str, Allowance]],
        *,
        on_room: Callable[[], None],
        on_use: Callable[[str], None],
    ) -> None:
        self._gauge = gauge
        self._layers = layers
        self._free_bytes_min = free_bytes_min
        self._allowances = allowances
        self._on_room = on_room  # there is room again, or none any more
        self._on_use = on_use  # gets the Home that takes more than it may
        self._data: dict[str, DiskUse] = {}
        self._layer: dict[str, tuple[str, LayerUse]] = {}  # with the container's id
        self.full = ""  # why nothing may be made, "" if it may, or nobody knows

    def use(self, home: str, container_id: str) -> DiskUse | None:
        """What the last measurements of that Home found, and of that container of its."""
        data, (whose, layer) = self._data.get(home), self._layer.get(home, ("", _EMPTY))
        if data is None or whose != container_id or not container_id:
            return data
        return replace(data, layer_bytes=layer.bytes_used, layer_beyond=layer.beyond)

    async def run(self) -> None:
        """Look and measure for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_for_ever())
            group.create_task(self._measure_for_ever())

    async def look(self) -> None:
        """Whether there is room. What cannot be told stops nobody: the disk itself refuses then."""
        rooms = await self._gauge.rooms()
        before, self.full = self.full, next(filter(None, map(self._why_full, rooms)), "")
        if self.full != before:
            if self.full:
                _log.warning("disk.filled", rooms=rooms)
            else:
                _log.info("disk.emptied", rooms=rooms)
            self._on_room()

    def _why_full(self, room: Room) -> str:
        if room.free_bytes < self._free_bytes_min:
            return (
                f"less than {self._free_bytes_min // MIB} MiB are left {room.where}, so no container is "
                "made: free some room there, or lower CEILING_DISK_FREE_MIN. Where no files account for it, "
                "`lsof +L1` names who holds deleted ones open"
            )
        if room.free_files is not None and room.free_files < FREE_FILES_MIN:
            return (
                f"fewer than {FREE_FILES_MIN} files can still be made {room.where} (`df -i`), so no "
                "container is made: delete some there, or move it to a file system with more of them"
            )
        return ""

    async def measure(self) -> None:
        """One round over everybody."""
        allowed = self._allowances()
        self._data = {home: use for home, use in self._data.items() if home in allowed}
        self._layer = {home: use for home, use in self._layer.items() if home in allowed}
        looked_again_at = time.monotonic()
        for home in allowed:
            await self._measure(home, allowed[home])
            if time.monotonic() - looked_again_at > ROUND_PERIOD_S:  # a long round
                for over in [one for one in allowed if self._is_over(one, allowed[one])]:
                    await self._measure(over, allowed[over])
                looked_again_at = time.monotonic()

    async def _measure(self, home: str, allowed: Allowance) -> None:
        """What is not told is as it was when last counted."""
        began = time.monotonic()
        if (data := await self._gauge.use(home, allowed.bytes_max)) is not None:
            self._data[home] = data
        if allowed.container_id and (layer := await self._layers.use(allowed.container_id)) is not None:
            self._layer[home] = allowed.container_id, layer
        if self._is_over(home, allowed):
            self._on_use(home)
        await asyncio.sleep(max(REST_S_MIN, REST_FACTOR * (time.monotonic() - began)))

    def _is_over(self, home: str, allowed: Allowance) -> bool:
        use = self.use(home, allowed.container_id)
        return use is not None and (use.bytes_used > allowed.bytes_max or use.is_countless)

    async def _look_for_ever(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(ROOM_PERIOD_S)

    async def _measure_for_ever(self) -> None:
        while True:
            await self.measure()
            await asyncio.sleep(ROUND_PERIOD_S)
