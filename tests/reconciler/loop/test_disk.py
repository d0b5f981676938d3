"""What is known of the disk from one look to the next, and who is told."""

import pytest

from reconciler.core.errors import OutcomeUnknownError, TransientError
from reconciler.core.world import DiskUse
from reconciler.engine.memory import MemoryEngine
from reconciler.engine.port import LAYER_UNCOUNTABLE
from reconciler.loop.disk import FREE_FILES_MIN, Allowance, Disk
from reconciler.loop.gauge import Room
from reconciler.loop.layers import BEYOND, EngineLayers, LayerUse

GIB = 1 << 30
TEN = Allowance(10)


class ScriptedGauge:
    def __init__(self) -> None:
        self.left = [Room("here", 10 * GIB, 1_000_000)]
        self.uses: dict[str, DiskUse | None] = {}

    async def rooms(self) -> list[Room]:
        return self.left

    async def use(self, home: str, bytes_max: int) -> DiskUse | None:
        return self.uses[home]

    def close(self) -> None:
        pass


class ScriptedLayers:
    def __init__(self) -> None:
        self.uses: dict[str, LayerUse | None] = {}

    async def use(self, container_id: str) -> LayerUse | None:
        return self.uses[container_id]


class Told:
    def __init__(self) -> None:
        self.gauge, self.layers = ScriptedGauge(), ScriptedLayers()
        self.allowed: dict[str, Allowance] = {}
        self.rooms = 0
        self.over: list[str] = []
        self.disk = Disk(
            self.gauge,
            self.layers,
            GIB,
            lambda: self.allowed,
            on_room=self._on_room,
            on_use=self.over.append,
        )

    def _on_room(self) -> None:
        self.rooms += 1


@pytest.mark.fault(14)
async def test_a_disk_that_fills_stops_what_is_made_until_there_is_room() -> None:
    told = Told()
    await told.disk.look()
    assert (told.disk.full, told.rooms) == ("", 0)
    told.gauge.left = [Room("there", 2 * GIB), Room("where layers are", GIB - 1)]
    await told.disk.look()
    await told.disk.look()
    assert "CEILING_DISK_FREE_MIN" in told.disk.full
    assert "left where layers are" in told.disk.full
    assert told.rooms == 1, "the same is not told twice"
    told.gauge.left = [Room("there", GIB)]
    await told.disk.look()
    assert (told.disk.full, told.rooms) == ("", 2)


async def test_a_disk_that_does_not_answer_stops_nobody() -> None:
    told = Told()
    told.gauge.left = []
    await told.disk.look()
    assert told.disk.full == ""


@pytest.mark.fault(14)
async def test_a_disk_that_takes_no_more_files_is_full_too() -> None:
    """However many bytes are free: who has a million empty files takes next to none."""
    told = Told()
    told.gauge.left = [Room("here", 10 * GIB, FREE_FILES_MIN - 1)]
    await told.disk.look()
    assert "df -i" in told.disk.full
    told.gauge.left = [Room("here", 10 * GIB, FREE_FILES_MIN)]
    await told.disk.look()
    assert told.disk.full == ""


async def test_who_takes_too_much_is_told_of_in_every_round() -> None:
    told = Told()
    told.allowed = dict.fromkeys("abcd", TEN)
    told.gauge.uses = {"a": DiskUse(10), "b": DiskUse(11), "c": DiskUse(0, "too many files"), "d": None}
    await told.disk.measure()
    assert told.over == ["b", "c"]
    assert [told.disk.use(home, "") for home in "abcd"] == [told.gauge.uses[home] for home in "abcd"]
    await told.disk.measure()
    assert told.over == ["b", "c"] * 2


async def test_in_a_long_round_who_takes_too_much_is_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who frees some has to be seen before their time is over, however many others there are."""
    monkeypatch.setattr("reconciler.loop.disk.ROUND_PERIOD_S", 0.0)
    told = Told()
    told.allowed = dict.fromkeys("abc", TEN)
    told.gauge.uses = {"a": DiskUse(11), "b": DiskUse(1), "c": DiskUse(1)}
    await told.disk.measure()
    assert told.over == ["a"] * 4, "in its turn, and after each"


async def test_what_was_known_outlives_an_answer_that_does_not_come() -> None:
    told = Told()
    told.allowed, told.gauge.uses = {"a": TEN}, {"a": DiskUse(11)}
    await told.disk.measure()
    told.gauge.uses = {"a": None}
    await told.disk.measure()
    assert told.disk.use("a", "") == DiskUse(11)


async def test_who_has_no_container_any_more_is_forgotten() -> None:
    told = Told()
    told.allowed, told.gauge.uses = {"a": TEN}, {"a": DiskUse(11)}
    await told.disk.measure()
    told.allowed = {}
    await told.disk.measure()
    assert told.disk.use("a", "") is None


async def test_what_a_container_wrote_counts_while_it_is_there() -> None:
    told = Told()
    told.allowed, told.gauge.uses = {"a": Allowance(10, "c1")}, {"a": DiskUse(4)}
    told.layers.uses = {"c1": LayerUse(6)}
    await told.disk.measure()
    assert told.over == []
    told.layers.uses = {"c1": LayerUse(7)}
    await told.disk.measure()
    assert told.over == ["a"]
    assert told.disk.use("a", "c1") == DiskUse(4, layer_bytes=7)
    assert told.disk.use("a", "c2") == told.disk.use("a", "") == DiskUse(4), "the next one wrote nothing yet"
    told.layers.uses = {"c1": None}
    await told.disk.measure()
    assert told.disk.use("a", "c1") == DiskUse(4, layer_bytes=7), "unknown is as it was"
    told.allowed = {}
    await told.disk.measure()
    assert told.disk.use("a", "c1") is None


async def test_of_data_that_nobody_can_tell_of_nothing_is_told() -> None:
    told = Told()
    told.allowed, told.gauge.uses = {"a": Allowance(10, "c1")}, {"a": None}
    told.layers.uses = {"c1": LayerUse(11)}
    await told.disk.measure()
    assert told.disk.use("a", "c1") is None
    assert told.over == []


class CountingEngine(MemoryEngine):
    """Counts as it is told to, and may not answer anything else either."""

    def __init__(self, *counts: int | Exception | None, answers: bool = True) -> None:
        self._counts = iter(counts)
        self._answers = answers

    async def layer_bytes(self, container_id: str) -> int | None:
        del container_id
        said = next(self._counts)
        if isinstance(said, Exception):
            raise said
        return said

    async def ping(self) -> None:
        if not self._answers:
            raise OutcomeUnknownError("EngineTimeout", "no answer")


HANGS = OutcomeUnknownError("EngineTimeout", "not within 20 s")
GIVES_UP = OutcomeUnknownError(LAYER_UNCOUNTABLE, "a path is too long")
TOO_MANY, TOO_DEEP = (LayerUse(0, BEYOND[one.reason]) for one in (HANGS, GIVES_UP))
COUNTS: dict[str, tuple[CountingEngine, list[LayerUse | None]]] = {
    "what is counted": (CountingEngine(7), [LayerUse(7)]),
    "what is no more": (CountingEngine(None), [None]),
    "what takes too long time and again": (CountingEngine(HANGS, HANGS, HANGS), [None, TOO_MANY, TOO_MANY]),
    "what takes too long now and then": (
        CountingEngine(HANGS, 7, HANGS, 7),
        [None, LayerUse(7), None, LayerUse(7)],
    ),
    "what the engine gives up time and again": (CountingEngine(GIVES_UP, GIVES_UP), [None, TOO_DEEP]),
    "an engine that answers nothing": (CountingEngine(HANGS, HANGS, answers=False), [None, None]),
    "an engine that breaks": (CountingEngine(OutcomeUnknownError("EngineError", "500")), [None]),
    "an engine that is busy": (CountingEngine(TransientError("EngineBusy", "no slot")), [None]),
}


@pytest.mark.parametrize(("engine", "uses"), COUNTS.values(), ids=COUNTS.keys())
async def test_only_an_engine_that_answers_can_say_that_it_is_too_much(
    engine: CountingEngine, uses: list[LayerUse | None]
) -> None:
    layers = EngineLayers(engine)
    assert [await layers.use("c1") for _ in uses] == uses


async def test_each_container_is_judged_by_its_own_counts() -> None:
    layers = EngineLayers(CountingEngine(HANGS, HANGS))
    assert [await layers.use(one) for one in ("c1", "c2")] == [None, None]
