"""What reconciling costs against the number of users, on the in-memory engine and store.

``resync.cpu_s.10000``: CPU seconds of one full resync: list, observe, judge whether anything may be removed,
plan and judge every settled user, look for what nobody owns.
``edit.cost_ratio``: the CPU that one changed UserContainer costs, at 10,000 users over at 100.
"""

import asyncio
import gc
import statistics
import time
from pathlib import Path

from bench.results import Sample
from bench.world import World, settled_world

USERS_MANY = 10_000
USERS_FEW = 100
RESYNCS = 7
BREATH_S = 0.2  # between two resyncs, in which the leases of both worlds are renewed
EDITS = 200


def run(_out: Path, *, quick: bool) -> list[Sample]:
    return asyncio.run(_run(2000 if quick else USERS_MANY))


async def _run(many: int) -> list[Sample]:
    few_world = await settled_world(USERS_FEW)
    many_world = await settled_world(many)
    try:
        resyncs = tuple([await _resync_cpu_s(many_world) for _ in range(RESYNCS)])
        few_s, many_s = await _edits_cpu_s(few_world, many_world)
    finally:
        await few_world.close()
        await many_world.close()
    how = f"{many} settled users, in-memory engine, median of {RESYNCS} resyncs, process CPU time"
    edit_how = f"CPU of one changed user at {many} users over at {USERS_FEW}, {EDITS} interleaved edits each"
    ratio = statistics.median(many_s) / statistics.median(few_s)
    beside = {f"{USERS_FEW:,} users CPU s": few_s, f"{many:,} users CPU s": many_s}
    return [
        Sample("resync.cpu_s.10000", resyncs, how),
        Sample("edit.cost_ratio", (ratio,), edit_how, beside),
    ]


async def _resync_cpu_s(world: World) -> float:
    """List the engine, take the list in, and do all that follows a list.

    That is: judge whether anything may be removed, plan and judge every user, look for what nobody owns.
    """
    gc.collect()
    await asyncio.sleep(BREATH_S)
    before = time.process_time()
    await world.operator.observer.list()
    unsettled = await world.operator.collect()
    spent = time.process_time() - before
    assert unsettled == 0, f"{unsettled} users were not settled: nothing comparable was measured"
    return spent


async def _edits_cpu_s(few: World, many: World) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Interleaved, so that what the machine does meanwhile falls on both alike."""
    gc.collect()
    gc.freeze()
    few_s, many_s = [], []
    for number in range(EDITS):
        few_s.append(await _edit_cpu_s(few, number))
        many_s.append(await _edit_cpu_s(many, number))
    gc.unfreeze()
    return tuple(few_s), tuple(many_s)


async def _edit_cpu_s(world: World, number: int) -> float:
    before = time.process_time()
    await world.edit_one(number)
    await world.until_settled()
    return time.process_time() - before
