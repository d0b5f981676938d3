"""What hangs in threads of its own holds up nobody who uses others, and piles nothing up."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.loop import fence
from reconciler.loop.fence import fence_file
from reconciler.loop.own_threads import OwnThreads

SOON_S, LONG_S = 0.05, 60.0


class HangingDisk:
    """Answers nothing until it is ``mended``."""

    def __init__(self) -> None:
        self.mended = threading.Event()
        self.asked = 0

    def ask(self, *_: object) -> None:
        self.asked += 1
        self.mended.wait(LONG_S)


@pytest.fixture
def disk() -> Iterator[HangingDisk]:
    made = HangingDisk()
    yield made
    made.mended.set()


async def test_an_answer_and_an_error_are_the_callers() -> None:
    threads = OwnThreads("asked")
    assert await threads.ask(LONG_S, lambda: threading.current_thread().name) == "asked_0"

    def fails() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="is gone"):
        await threads.ask(LONG_S, fails)
    assert await threads.ask(LONG_S, lambda: 1) == 1
    threads.close()


async def test_while_one_hangs_nobody_else_is_begun_and_then_everybody_is(disk: HangingDisk) -> None:
    threads = OwnThreads("asked")
    for _ in range(5):
        with pytest.raises(TimeoutError):
            await threads.ask(SOON_S, disk.ask)
    late = [asyncio.create_task(threads.ask(LONG_S, disk.ask)) for _ in range(5)]
    await asyncio.sleep(SOON_S)
    assert disk.asked == 1
    disk.mended.set()
    await asyncio.gather(*late)
    assert disk.asked == 6, "those who had left are not asked for"
    threads.close()


async def test_what_hangs_about_one_holds_up_nothing_about_another(disk: HangingDisk) -> None:
    threads = OwnThreads("asked", threads_max=2)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await threads.ask(SOON_S, disk.ask, about="one")
    assert await threads.ask(LONG_S, lambda: 1, about="another") == 1
    assert disk.asked == 1
    disk.mended.set()
    assert await threads.ask(LONG_S, lambda: 2, about="one") == 2
    threads.close()


async def test_a_report_that_hangs_takes_no_thread_of_others(
    disk: HangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "READ_S_MAX", SOON_S)
    monkeypatch.setattr(fence, "read_fence", disk.ask)
    others = ThreadPoolExecutor(max_workers=1)
    asyncio.get_running_loop().set_default_executor(others)
    read = fence_file(Path("fence.json"))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await read()
    async with asyncio.timeout(LONG_S / 2):
        assert await asyncio.to_thread(lambda: 1) == 1
    assert disk.asked == 1
