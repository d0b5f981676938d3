"""What is known of the disk from one look to the next, and who is told."""

import pytest

from reconciler.core.world import DiskUse
from reconciler.loop.disk import FREE_FILES_MIN, Disk
from reconciler.loop.gauge import Room

GIB = 1 << 30


class ScriptedGauge:
    def __init__(self) -> None:
        self.left: Room | None = Room(10 * GIB, 1_000_000)
        self.uses: dict[str, DiskUse | None] = {}

    async def room(self) -> Room | None:
        return self.left

    async def use(self, home: str, bytes_max: int) -> DiskUse | None:
        return self.uses[home]

    def close(self) -> None:
        pass


class Told:
    def __init__(self) -> None:
        self.gauge = ScriptedGauge()
        self.limits: dict[str, int] = {}
        self.rooms = 0
        self.over: list[str] = []
        self.disk = Disk(self.gauge, GIB, lambda: self.limits, on_room=self._on_room, on_use=self.over.append)

    def _on_room(self) -> None:
        self.rooms += 1


@pytest.mark.fault(14)
async def test_a_disk_that_fills_stops_what_is_made_until_there_is_room() -> None:
    told = Told()
    await told.disk.look()
    assert (told.disk.full, told.rooms) == ("", 0)
    told.gauge.left = Room(GIB - 1)
    await told.disk.look()
    await told.disk.look()
    assert "CEILING_DISK_FREE_MIN" in told.disk.full
    assert told.rooms == 1, "the same is not told twice"
    told.gauge.left = Room(GIB)
    await told.disk.look()
    assert (told.disk.full, told.rooms) == ("", 2)


async def test_a_disk_that_does_not_answer_stops_nobody() -> None:
    told = Told()
    told.gauge.left = None
    await told.disk.look()
    assert told.disk.full == ""


@pytest.mark.fault(14)
async def test_a_disk_that_takes_no_more_files_is_full_too() -> None:
    """However many bytes are free: who has a million empty files takes next to none."""
    told = Told()
    told.gauge.left = Room(10 * GIB, FREE_FILES_MIN - 1)
    await told.disk.look()
    assert "df -i" in told.disk.full
    told.gauge.left = Room(10 * GIB, FREE_FILES_MIN)
    await told.disk.look()
    assert told.disk.full == ""


async def test_who_takes_too_much_is_told_of_in_every_round() -> None:
    told = Told()
    told.limits = {"a": 10, "b": 10, "c": 10, "d": 10}
    told.gauge.uses = {"a": DiskUse(10), "b": DiskUse(11), "c": DiskUse(0, "too many files"), "d": None}
    await told.disk.measure()
    assert told.over == ["b", "c"]
    assert [told.disk.use(home) for home in "abcd"] == [told.gauge.uses[home] for home in "abcd"]
    await told.disk.measure()
    assert told.over == ["b", "c"] * 2


async def test_in_a_long_round_who_takes_too_much_is_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who frees some has to be seen before their time is over, however many others there are."""
    monkeypatch.setattr("reconciler.loop.disk.ROUND_PERIOD_S", 0.0)
    told = Told()
    told.limits = dict.fromkeys("abc", 10)
    told.gauge.uses = {"a": DiskUse(11), "b": DiskUse(1), "c": DiskUse(1)}
    await told.disk.measure()
    assert told.over == ["a"] * 4, "in its turn, and after each"


async def test_what_was_known_outlives_an_answer_that_does_not_come() -> None:
    told = Told()
    told.limits, told.gauge.uses = {"a": 10}, {"a": DiskUse(11)}
    await told.disk.measure()
    told.gauge.uses = {"a": None}
    await told.disk.measure()
    assert told.disk.use("a") == DiskUse(11)


async def test_who_has_no_container_any_more_is_forgotten() -> None:
    told = Told()
    told.limits, told.gauge.uses = {"a": 10}, {"a": DiskUse(11)}
    await told.disk.measure()
    told.limits = {}
    await told.disk.measure()
    assert told.disk.use("a") is None
