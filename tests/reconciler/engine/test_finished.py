"""Endings are read once, and never shown for another exit."""

import pytest

from reconciler.core.container import ContainerState, ObservedContainer
from reconciler.engine.finished import ENDING_AGE_MAX_S, FinishedContainers
from tests.reconciler.engine.real import RealRig
from tests.reconciler.engine.rig import Program, exited, listed, seat, shown, started

ENDED = ObservedContainer("id", "name", None, ContainerState.EXITED, exit_code=1)


def test_an_ending_is_known_until_something_says_that_it_may_have_changed() -> None:
    now_s = 0.0
    finished = FinishedContainers(lambda: now_s)
    finished.put("Exited (1", ENDED)
    assert finished.get("id", "Exited (1") is ENDED
    assert finished.get("id", "Exited (2") is None
    now_s = ENDING_AGE_MAX_S
    assert finished.get("id", "Exited (1") is None
    finished.put("Exited (1", ENDED)
    finished.forget("id")
    assert finished.get("id", "Exited (1") is None
    finished.put("Exited (1", ENDED)
    finished.keep_only([])
    assert finished.get("id", "Exited (1") is None


@pytest.mark.engine
async def test_a_list_reads_each_ending_once(engine_rig: RealRig) -> None:
    seats = [seat(engine_rig, Program.CRASH, home=letter * 26) for letter in "abc"]
    for one in seats:
        await started(engine_rig, one)
        await exited(engine_rig, one)
    first = await listed(engine_rig.engine)
    engine_rig.proxy.asked.clear()
    assert await listed(engine_rig.engine) == first
    assert len(engine_rig.proxy.asked) == 1


@pytest.mark.engine
async def test_an_ending_after_our_own_restart_is_read_again(engine_rig: RealRig) -> None:
    one = seat(engine_rig, Program.CRASH)
    seen = await started(engine_rig, one)
    await exited(engine_rig, one)
    before = (await listed(engine_rig.engine))[one.name]
    await engine_rig.engine.start(seen.id)
    await exited(engine_rig, one)
    after = (await listed(engine_rig.engine))[one.name]
    assert after == await shown(engine_rig, one)
    assert after.finished_at != before.finished_at
