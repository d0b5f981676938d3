"""Whoever is put to sleep: from the asking to the waking, through everything that happens meanwhile."""

import asyncio

import pytest

from reconciler.engine.memory_machine import Box
from state.kinds.request import Outcome, Request, Verb
from state.kinds.resource import ConditionType, Truth
from state.kinds.user_container import Power, UserContainer
from state.store.memory import MemoryRows
from tests.simulation.judge import PROJECT
from tests.simulation.peace import stays_peaceful, until_peace
from tests.simulation.people import People
from tests.simulation.reconcilers import Reconciler
from tests.simulation.test_scenarios import (
    box,
    condition,
    container_name,
    copy_of,
    frozen_condition,
    reasons,
    restored,
    settled,
    user,
)
from tests.simulation.town import Town, town


async def slept(here: Town) -> tuple[People, Reconciler]:
    """A town in which alice sleeps and bob does not."""
    people, slot = await settled(here, "alice", "bob")
    await people.ask("alice", Verb.SLEEP)
    await until_peace(here)
    assert containers(here) == [container_name(here, "bob")]
    return people, slot


def containers(here: Town) -> list[str]:
    return [one.name for one in here.machine.containers(PROJECT)]


def request(here: Town) -> Request:
    [asked] = here.all(Request)
    return asked


async def test_who_is_put_to_sleep_keeps_home_and_data_and_wakes_on_a_call() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        home, before = user(here).status.home, box(here)
        before_data = here.machine.volumes[before.volume]
        await people.ask("alice", Verb.SLEEP)
        assert await until_peace(here) < 20
        await stays_peaceful(here)
        assert (request(here).status.outcome, request(here).status.message) == (Outcome.DONE, "put to sleep")
        assert condition(here, ConditionType.HIBERNATED).status is Truth.TRUE
        assert reasons(here)[ConditionType.READY] == "Asleep"
        assert reasons(here)[ConditionType.DEGRADED] == "AsExpected"
        ended = user(here).status.last_termination
        assert ended is not None
        assert ended.reason == "Slept"
        await people.call("alice")
        assert await until_peace(here) < 10, "no backoff holds up who wakes"
        after: Box = box(here)
        assert user(here).status.home == home
        assert (after.volume, here.machine.volumes[after.volume]) == (before.volume, before_data)
        assert user(here).status.restart_count == 0
        assert condition(here, ConditionType.HIBERNATED).status is Truth.FALSE
        assert request(here).status.outcome is Outcome.DONE


async def test_nothing_but_a_request_or_an_operators_word_wakes() -> None:
    async with town() as here:
        people, slot = await slept(here)
        asleep_since = user(here).status.asleep_since
        await people.edit()
        await people.override("alice", env={"A": "1"})
        await until_peace(here)
        slot.process.kill()
        await asyncio.sleep(60)
        here.machine.down = "connection refused"
        here.machine.restart()
        await asyncio.sleep(60)
        here.machine.down = ""
        await until_peace(here)
        await people.set_power("alice", Power.STOPPED)
        await until_peace(here)
        await people.set_power("alice", Power.AUTO)
        await until_peace(here)
        assert user(here).status.asleep_since == asleep_since
        assert containers(here) == [container_name(here, "bob")]
        await people.set_power("alice", Power.RUNNING)
        await until_peace(here)
        spec = box(here).spec
        assert spec is not None
        assert ("A", "1") in spec.env, "as it is wanted by now"


async def test_who_is_kept_up_by_an_operator_is_refused_and_serves_on() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        await people.set_power("alice", Power.RUNNING)
        before = box(here).shown.id
        await people.ask("alice", Verb.SLEEP)
        await until_peace(here)
        assert request(here).status.outcome is Outcome.REFUSED
        assert "Auto" in request(here).status.message
        assert box(here).shown.id == before


async def test_a_crash_loop_is_ended_by_sleep_and_does_not_meet_who_wakes() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        await people.override("alice", env={"BEHAVIOUR": "crashes"})
        await asyncio.sleep(120)
        await people.ask("alice", Verb.SLEEP)
        await asyncio.sleep(60)
        assert containers(here) == []
        await stays_peaceful(here, 600)
        await people.override("alice", env={})
        await people.call("alice")
        assert await until_peace(here) < 10


async def test_to_wake_while_the_container_still_goes_makes_another_once_it_is_gone() -> None:
    """The call comes in the very moment of the sleep; what ignores SIGTERM takes its time."""
    async with town() as here:
        people, _ = await settled(here, "alice", env={"BEHAVIOUR": "ignores SIGTERM"})
        before = box(here).shown.id
        await people.ask("alice", Verb.SLEEP)
        await asyncio.sleep(1)
        assert user(here).status.asleep_since is not None
        assert containers(here), "it is still being stopped"
        await people.call("alice")
        await until_peace(here)
        assert user(here).status.asleep_since is None
        assert box(here).shown.id != before


async def test_who_sleeps_and_is_deleted_goes_like_anybody_else() -> None:
    async with town() as here:
        people, _ = await slept(here)
        home = user(here).status.home
        await people.leave("alice")
        await until_peace(here)
        assert [one.name for one in here.all(UserContainer)] == ["bob"]
        assert here.disk.seats[home] is not None, "the data is put aside"
        assert not [one for one in here.all(Request) if one.spec.user_container == "alice"]


@pytest.mark.fault(37)
async def test_the_container_goes_once_no_worker_sends_requests_to_it() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        stuck = here.gateway()
        await asyncio.sleep(1)
        stuck.is_stuck = True
        await people.ask("alice", Verb.SLEEP)
        await asyncio.sleep(100)
        assert stuck.routes_in_use()
        assert containers(here), "it is still sent requests"
        stuck.is_stuck = False
        await until_peace(here)
        assert not containers(here)


@pytest.mark.fault(16)
async def test_sleep_waits_visibly_while_nothing_may_be_removed() -> None:
    async with town() as here:
        people, slot = await settled(here, "alice")
        await slot.end()
        backup = copy_of(here.rows)
        slot.begin()
        await people.edit()
        await until_peace(here)
        await restored(here, backup)
        await asyncio.sleep(120)
        ids = {one.id for one in here.machine.containers(PROJECT)}
        await people.ask("alice", Verb.SLEEP)
        await asyncio.sleep(120)
        assert {one.id for one in here.machine.containers(PROJECT)} == ids
        assert user(here).status.endpoint is not None, "it serves meanwhile"
        assert request(here).status.outcome is Outcome.PENDING
        assert reasons(here)[ConditionType.DEGRADED] == "DestructionFrozen"
        await people.thaw()
        await until_peace(here)
        assert not containers(here)
        assert user(here).status.asleep_since is not None


@pytest.mark.fault(16)
async def test_an_old_store_that_says_asleep_ends_nobody_who_was_woken_since() -> None:
    async with town() as here:
        people, slot = await slept(here)
        await slot.end()
        backup = copy_of(here.rows)
        slot.begin()
        await people.call("alice")
        await people.edit()
        await until_peace(here)
        ids = {one.id for one in here.machine.containers(PROJECT)}
        await restored(here, backup)
        await asyncio.sleep(120)
        assert frozen_condition(here).is_true
        assert {one.id for one in here.machine.containers(PROJECT)} == ids
        await people.call("alice")
        await asyncio.sleep(60)
        assert user(here).status.endpoint is not None, "the first call finds it again"
        assert {one.id for one in here.machine.containers(PROJECT)} == ids


async def test_a_lost_store_forgets_the_sleep_and_nothing_else() -> None:
    async with town() as here:
        people, _ = await slept(here)
        home = user(here).status.home
        await restored(here, copy_of(MemoryRows(here.loop.time)))
        await people.apply()
        await until_peace(here)
        assert user(here).status.home == home
        assert user(here).status.asleep_since is None
        assert box(here).shown.state == "running"
