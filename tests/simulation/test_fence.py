"""The fence goes and comes back while people are at work: the whole operator, to the second."""

import asyncio

from reconciler.loop.fence import LOOK_PERIOD_S
from state.kinds.report import Reconciler as ReconcilerReport
from state.kinds.request import Verb
from state.kinds.resource import Condition, ConditionType
from tests.simulation.judge import PROJECT
from tests.simulation.peace import stays_peaceful, until_peace
from tests.simulation.test_scenarios import box, reasons, settled, user
from tests.simulation.town import Town, town

TOLD_S_MAX = LOOK_PERIOD_S + 1  # a look, and the write that follows it


def isolated(here: Town) -> Condition:
    [report] = here.all(ReconcilerReport)
    found = report.status.condition(ConditionType.ISOLATED)
    assert found is not None
    return found


async def test_without_the_fence_what_runs_serves_on_and_nobody_gets_a_container_until_it_is_back() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        assert (isolated(here).status, isolated(here).reason) == ("True", "Fenced")
        endpoint, container = user(here).status.endpoint, box(here).shown.id
        here.weather.unfenced_since_s = here.loop.time()
        await asyncio.sleep(TOLD_S_MAX)
        assert (isolated(here).status, isolated(here).reason) == ("False", "NotFenced")

        await people.come("bob")
        await people.override("alice", env={"A": "1"})
        await people.ask("alice", Verb.RESTART)
        await asyncio.sleep(300)
        assert [one.identity and one.identity.user_container for one in here.machine.containers(PROJECT)] == [
            user(here).uid
        ]
        assert (user(here).status.endpoint, box(here).shown.id) == (endpoint, container)
        assert reasons(here, "bob")[ConditionType.READY] == "NotIsolated"
        assert reasons(here)[ConditionType.DEGRADED] == "NotIsolated"

        here.weather.unfenced_since_s = None
        assert await until_peace(here) < TOLD_S_MAX + 30
        await stays_peaceful(here)
        assert box(here).shown.id != container, "what was asked for meanwhile came about"
        assert isolated(here).is_true


async def test_what_ends_without_the_fence_comes_back_with_it() -> None:
    async with town() as here:
        await settled(here, "alice")
        here.weather.unfenced_since_s = here.loop.time()
        await asyncio.sleep(TOLD_S_MAX)
        here.machine.kill(box(here).shown.name)
        await asyncio.sleep(300)
        assert here.machine.containers(PROJECT) == []
        assert reasons(here)[ConditionType.READY] == "NotIsolated"
        here.weather.unfenced_since_s = None
        await until_peace(here)
        await stays_peaceful(here)


async def test_a_reconciler_that_starts_without_the_fence_takes_over_what_runs() -> None:
    async with town() as here:
        _, slot = await settled(here, "alice")
        container = box(here).shown.id
        await slot.end()
        here.weather.unfenced_since_s = here.loop.time() - LOOK_PERIOD_S - 1
        slot.begin()
        await until_peace(here)
        await asyncio.sleep(120)
        assert box(here).shown.id == container
        assert user(here).status.endpoint is not None
        assert not isolated(here).is_true
