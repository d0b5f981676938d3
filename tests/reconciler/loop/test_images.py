"""Images: one fetch for many, and a slow one holds up nobody else."""

import asyncio

import pytest

from reconciler.core.errors import TransientError
from reconciler.engine.wrapped import WrappedEngine
from reconciler.loop.images import PRESENT_TRUSTED_S, Images
from state.kinds.template import Pull
from tests.reconciler.loop.machines import engine_on, machine
from tests.virtual_time import clock_s, now

IF_ABSENT, ALWAYS = Pull.IF_NOT_PRESENT, Pull.ALWAYS


class Registry(WrappedEngine):
    """Images take their time, or are not to be had."""

    def __init__(self) -> None:
        super().__init__(engine_on(machine()))
        self.takes_s: dict[str, float] = {}
        self.missing: set[str] = set()
        self.pulls: list[tuple[float, str]] = []

    async def ensure_image(self, reference: str, pull: Pull) -> None:
        self.pulls.append((clock_s(), reference))
        await asyncio.sleep(self.takes_s.get(reference, 0.0))
        if reference == "mistaken":
            raise RuntimeError("a mistake of ours")
        if reference in self.missing:
            raise TransientError("ImagePullFailed", f"{reference}: no route to registry")


class Shelf:
    def __init__(self) -> None:
        self.registry = Registry()
        self.arrived: list[tuple[float, str]] = []
        self.images = Images(self.registry, now, lambda what: self.arrived.append((clock_s(), what)))

    def is_present(self, reference: str, pull: Pull = IF_ABSENT) -> bool:
        return self.images.view(reference, pull).present


async def test_an_image_is_unknown_then_fetched_then_there() -> None:
    shelf = Shelf()
    shelf.registry.takes_s["a"] = 5
    assert not shelf.images.view("a", IF_ABSENT).fetching
    shelf.images.fetch("a", IF_ABSENT)
    assert shelf.images.view("a", IF_ABSENT).fetching
    await asyncio.sleep(6)
    assert shelf.is_present("a")
    assert shelf.arrived == [(5, "a")]


async def test_many_who_want_one_image_have_it_fetched_once() -> None:
    shelf = Shelf()
    shelf.registry.takes_s["a"] = 5
    for _ in range(100):
        shelf.images.fetch("a", IF_ABSENT)
        await asyncio.sleep(0.01)
    await asyncio.sleep(6)
    assert shelf.registry.pulls == [(0, "a")]


@pytest.mark.fault(9)
async def test_a_slow_image_holds_up_no_other() -> None:
    shelf = Shelf()
    shelf.registry.takes_s["slow"] = 500
    shelf.images.fetch("slow", IF_ABSENT)
    shelf.images.fetch("quick", IF_ABSENT)
    await asyncio.sleep(0.1)
    assert shelf.is_present("quick")
    assert not shelf.is_present("slow")
    await shelf.images.close()


@pytest.mark.fault(9)
async def test_many_slow_images_hold_up_none_that_is_there() -> None:
    shelf = Shelf()
    for number in range(50):
        shelf.registry.takes_s[str(number)] = 500
        shelf.images.fetch(str(number), IF_ABSENT)
    shelf.images.fetch("there", IF_ABSENT)
    await asyncio.sleep(0.1)
    assert shelf.is_present("there")
    await shelf.images.close()


@pytest.mark.fault(8)
async def test_an_image_that_is_not_to_be_had_says_why_and_when_it_is_tried_again() -> None:
    shelf = Shelf()
    shelf.registry.missing.add("a")
    waits = []
    for _ in range(9):
        shelf.images.fetch("a", IF_ABSENT)
        await asyncio.sleep(0.1)
        view = shelf.images.view("a", IF_ABSENT)
        assert (view.present, view.failed_reason) == (False, "ImagePullFailed")
        assert view.retry_at is not None
        waits.append(round((view.retry_at - now()).total_seconds() + 0.1))
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    shelf.registry.missing.clear()
    shelf.images.fetch("a", IF_ABSENT)
    await asyncio.sleep(0.1)
    assert shelf.is_present("a")


async def test_a_mistake_of_ours_is_told_like_any_other_failure() -> None:
    shelf = Shelf()
    shelf.images.fetch("mistaken", IF_ABSENT)
    await asyncio.sleep(1)
    view = shelf.images.view("mistaken", IF_ABSENT)
    assert (view.failed_reason, view.fetching) == ("ImageUnknown", False)
    assert view.retry_at is not None
    assert [what for _, what in shelf.arrived] == ["mistaken"]


async def test_what_is_known_is_trusted_for_a_while_and_for_less_where_it_should_always_be_pulled() -> None:
    shelf = Shelf()
    for pull in (IF_ABSENT, ALWAYS):
        shelf.images.fetch("a", pull)
    await asyncio.sleep(1)
    assert (shelf.is_present("a"), shelf.is_present("a", ALWAYS)) == (True, True)
    await asyncio.sleep(10)
    assert (shelf.is_present("a"), shelf.is_present("a", ALWAYS)) == (True, False)
    await asyncio.sleep(PRESENT_TRUSTED_S)
    assert not shelf.is_present("a")


async def test_an_image_that_somebody_removed_is_fetched_again() -> None:
    shelf = Shelf()
    shelf.images.fetch("a", IF_ABSENT)
    await asyncio.sleep(1)
    shelf.images.forget("a", IF_ABSENT)
    shelf.images.forget("never seen", IF_ABSENT)
    assert not shelf.is_present("a")
    shelf.images.fetch("a", IF_ABSENT)
    await asyncio.sleep(1)
    assert shelf.is_present("a")


async def test_fetches_under_way_end_with_us() -> None:
    shelf = Shelf()
    shelf.registry.takes_s["a"] = 500
    shelf.images.fetch("a", IF_ABSENT)
    await asyncio.sleep(1)
    await shelf.images.close()
    assert not shelf.images.view("a", IF_ABSENT).fetching
    assert shelf.arrived == []
