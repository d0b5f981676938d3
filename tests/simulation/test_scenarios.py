"""Single faults, each told from beginning to end: what happens when, to the second."""

import asyncio
import copy
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from reconciler.core.addresses import AddressPool
from reconciler.core.container import ContainerState
from reconciler.engine.memory_machine import Box
from reconciler.operator import WORKERS
from state.kinds.home import Home
from state.kinds.incarnation import IncarnationNames
from state.kinds.report import Reconciler as ReconcilerReport
from state.kinds.resource import Condition, Conditions, ConditionType, Metadata
from state.kinds.template import Egress
from state.kinds.user_container import Power, UserContainer
from state.store.leases import EPOCH_MAX
from state.store.memory import MemoryRows
from state.store.port import Tx
from tests.simulation.judge import PROJECT
from tests.simulation.peace import stays_peaceful, until_peace
from tests.simulation.people import People
from tests.simulation.reconcilers import Reconciler
from tests.simulation.town import Town, town


async def settled(here: Town, *names: str, **template: Any) -> tuple[People, Reconciler]:
    """A town in which these users have their containers."""
    people = People(here)
    await people.apply(**template)
    for name in names:
        await people.come(name)
    here.gateway()
    slot = here.reconciler()
    slot.begin()
    await until_peace(here)
    return people, slot


def user(here: Town, name: str = "alice") -> UserContainer:
    return next(one for one in here.all(UserContainer) if one.name == name)


def container_name(here: Town, name: str = "alice") -> str:
    return IncarnationNames.container(PROJECT, user(here, name).status.home)


def box(here: Town, name: str = "alice") -> Box:
    found = here.machine.named(container_name(here, name))
    assert found is not None, f"{name} has a container"
    return found


def condition(here: Town, of: ConditionType, name: str = "alice") -> Condition:
    found = user(here, name).status.condition(of)
    assert found is not None
    return found


def reasons(here: Town, name: str = "alice") -> dict[ConditionType, str]:
    return {one.type: one.reason for one in user(here, name).status.conditions}


async def test_what_an_engine_tells_late_of_itself_is_heeded() -> None:
    """It was down at the start, and turns out to be one whose containers nobody reaches."""
    async with town() as here:
        people, _ = await settled(here, "bob")
        here.weather.egress_refused = ((Egress.INTERNET, "nobody reaches them"),)
        await asyncio.sleep(60)
        await people.come("alice")
        await asyncio.sleep(60)
        assert reasons(here)[ConditionType.READY] == "NotAllowed"
        assert user(here).status.endpoint is None
        here.weather.egress_refused = ()
        await until_peace(here)
        await asyncio.sleep(60)
        assert user(here).status.endpoint is not None


@pytest.mark.fault(1)
async def test_an_engine_that_is_down_is_unknown_and_nothing_is_made_until_it_is_back() -> None:
    async with town() as here:
        await settled(here, "alice", "bob")
        routed, before = user(here).status.endpoint, here.judge.mutations_count
        here.machine.down = "connection refused"
        here.machine.restart()
        await asyncio.sleep(60)
        assert condition(here, ConditionType.READY).status == "Unknown"
        assert condition(here, ConditionType.ENGINE_REACHABLE).status == "Unknown"
        assert (user(here).status.endpoint, here.judge.mutations_count) == (routed, before)
        here.machine.down = ""
        assert await until_peace(here) < 10
        await stays_peaceful(here)


@pytest.mark.fault(2)
async def test_an_engine_that_hangs_keeps_routes_and_tasks_within_bounds() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", "bob")
        here.weather.hangs = 1.0
        tasks = len(asyncio.all_tasks())
        for number in range(100):
            await people.override("bob", env={"N": str(number)})
            await asyncio.sleep(5)
            assert user(here).status.endpoint is not None
            assert len(asyncio.all_tasks()) < tasks + 50
        here.weather.clear()
        await until_peace(here)


@pytest.mark.fault(3)
async def test_an_engine_that_answers_500_has_nothing_made() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        here.weather.errs = 1.0
        await asyncio.sleep(50)
        before = here.judge.mutations_count
        await people.come("bob")
        await asyncio.sleep(300)
        assert here.judge.mutations_count == before
        assert reasons(here, "bob")[ConditionType.READY] == "EngineUnknown"
        here.weather.clear()
        await until_peace(here)


@pytest.mark.fault(4)
@pytest.mark.fault(5)
async def test_with_every_event_lost_everything_still_comes_about() -> None:
    async with town() as here:
        here.weather.is_deaf = True
        people, _ = await settled(here, "alice", "bob")
        here.machine.remove_by_hand(container_name(here))
        here.machine.kill(container_name(here, "bob"))
        assert await until_peace(here) < 60
        await people.leave("bob")
        await until_peace(here)
        await stays_peaceful(here)


@pytest.mark.fault(38)
async def test_a_container_that_somebody_removed_is_back_without_waiting_for_a_list() -> None:
    async with town() as here:
        await settled(here, "alice")
        here.machine.remove_by_hand(container_name(here))
        assert await until_peace(here) < 2
        last = user(here).status.last_termination
        assert last is not None
        assert last.reason == "Removed"


@pytest.mark.fault(6)
async def test_a_container_that_was_killed_for_its_memory_says_so() -> None:
    async with town() as here:
        await settled(here, "alice")
        here.machine.kill(container_name(here), oom=True)
        await until_peace(here)
        status = user(here).status
        assert status.last_termination is not None
        assert (status.last_termination.reason, status.restart_count) == ("OOMKilled", 1)


def birthdays(here: Town) -> list[float]:
    """When containers started, in the machine's own time."""
    return [at for at, _ in here.judge.starts]


@pytest.mark.fault(7)
async def test_a_crash_loop_is_paced_to_the_second_and_forgiven_after_health() -> None:
    async with town() as here:
        people = People(here)
        await people.edit(behaviour="crashes")
        await people.come("alice")
        here.reconciler().begin()
        await asyncio.sleep(1500)
        starts = birthdays(here)
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        assert [round(gap) for gap in gaps[:8]] == [1, 11, 21, 41, 81, 161, 301, 301]
        assert reasons(here)[ConditionType.DEGRADED] == "CrashLoop"
        await people.edit()
        await until_peace(here, within_s=5)
        count = user(here).status.restart_count
        here.machine.kill(container_name(here))
        await until_peace(here)
        assert user(here).status.restart_count == count + 1
        await asyncio.sleep(601)
        here.machine.kill(container_name(here))
        assert await until_peace(here) < 3
        assert user(here).status.restart_count == 1


@pytest.mark.fault(11)
async def test_a_foreign_container_of_our_name_is_left_alone_and_said() -> None:
    async with town() as here:
        _, slot = await settled(here, "alice", "bob")
        await slot.end()
        name = container_name(here)
        here.machine.remove_by_hand(name)
        foreign = here.machine.put_foreign(name)
        slot.begin()
        await asyncio.sleep(300)
        seen = here.machine.named(name)
        assert seen is not None
        assert (seen.shown.id, seen.shown.state) == (foreign, ContainerState.RUNNING)
        assert user(here).status.endpoint is None
        assert reasons(here)[ConditionType.DEGRADED] == "NameTaken"
        assert user(here, "bob").status.endpoint is not None
        here.machine.remove_by_hand(name)
        await until_peace(here, within_s=70)


@pytest.mark.fault(12)
async def test_a_name_that_the_engine_holds_for_nobody_is_freed_or_said_without_a_hot_loop() -> None:
    async with town() as here:
        people, _ = await settled(here, "bob")
        here.weather.phantoms = 4
        before = here.judge.mutations_count
        await people.come("alice")
        assert await until_peace(here) < 60
        assert here.judge.mutations_count - before < 20
        here.weather.phantoms = 1_000_000
        await people.come("carol")
        before = here.judge.mutations_count
        await asyncio.sleep(600)
        assert here.judge.mutations_count - before < 60
        degraded = condition(here, ConditionType.DEGRADED, "carol")
        assert degraded.reason == "PhantomName"
        assert "already in use" in degraded.message
        assert user(here, "bob").status.endpoint is not None
        here.weather.phantoms = 0
        await until_peace(here)


@pytest.mark.fault(13)
async def test_with_every_address_taken_who_comes_waits_in_words() -> None:
    async with town() as here:
        here.pool = AddressPool("publish", ports=range(21000, 21002))
        people, _ = await settled(here, "alice", "bob")
        await people.come("carol")
        before = here.rows.writes_count
        await asyncio.sleep(600)
        assert here.rows.writes_count - before < 1000
        degraded = condition(here, ConditionType.DEGRADED, "carol")
        assert degraded.reason == "AddressesExhausted"
        assert "CONTAINER_PORT_RANGE" in degraded.message
        await people.leave("bob")
        await until_peace(here)


@pytest.mark.fault(15)
async def test_a_locked_store_has_nothing_done_that_is_not_on_record() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        here.weather.is_store_locked = True
        here.machine.remove_by_hand(container_name(here))
        await people.come("bob")
        before = here.judge.mutations_count
        await asyncio.sleep(120)
        assert here.judge.mutations_count == before
        here.weather.clear()
        await until_peace(here)


def copy_of(rows: MemoryRows) -> dict[str, Any]:
    """A backup: what is kept is immutable, so that containers are all that need copying."""
    kept = {name: value for name, value in vars(rows).items() if not callable(value)}
    return copy.deepcopy({name: value for name, value in kept.items() if name != "_way_back"})


def restore(rows: MemoryRows, backup: dict[str, Any]) -> None:
    """Put it back, with the leader's lease of long ago."""
    vars(rows).update(backup)
    rows.put_leader(replace(rows.leader(), holder=""))
    rows.commit()


@pytest.mark.fault(16)
@pytest.mark.parametrize("newcomers", [("carol",), ()], ids=["somebody came since", "nobody came since"])
async def test_a_store_from_an_old_backup_removes_nothing_until_it_is_thawed(
    newcomers: tuple[str, ...],
) -> None:
    """Also where all is adopted meanwhile, and the reconciler starts anew: the old template is no news."""
    async with town() as here:
        people, slot = await settled(here, "alice", "bob")
        backup = await outdated(here, people, slot, *newcomers)
        ids = {one.id for one in here.machine.containers(PROJECT)}
        await restored(here, backup)
        await asyncio.sleep(300)
        slot.process.kill()
        await asyncio.sleep(300)
        assert {one.id for one in here.machine.containers(PROJECT)} == ids
        assert {one.name for one in here.all(UserContainer)} == {"alice", "bob", *newcomers}
        assert all(one.status.endpoint is not None for one in here.all(UserContainer)), "everybody is served"
        frozen = frozen_condition(here)
        assert frozen.is_true
        assert "thaw" in frozen.message
        await people.thaw()
        await until_peace(here)
        await asyncio.sleep(60)
        assert not frozen_condition(here).is_true
        assert not ids & {one.id for one in here.machine.containers(PROJECT)}, "the old template rules"
        slot.process.kill()
        await asyncio.sleep(60)
        assert not frozen_condition(here).is_true, "what was thawed stays so"


async def test_who_is_deleted_goes_whatever_finalizers_were_written() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")

        def forge(tx: Tx) -> None:
            alice = tx.get(UserContainer, "alice")
            assert alice is not None
            finalizers = (*alice.metadata.finalizers, *(f"nobodys-{number}" for number in range(10_000)))
            tx.update_spec(
                alice.replaced(metadata=alice.metadata.model_copy(update={"finalizers": finalizers}))
            )

        await here.write(forge)
        await people.leave("alice")
        await until_peace(here)
        assert here.all(UserContainer) == []
        assert here.machine.containers(PROJECT) == []
        await people.come("alice")
        await until_peace(here)
        assert user(here).status.endpoint is not None


async def test_an_epoch_that_nobody_came_to_makes_nothing_that_outlives_the_store() -> None:
    """Labels that carry the last epoch there is would keep every later store from ruling over them."""
    async with town() as here:
        people, slot = await settled(here, "alice")
        await slot.end()
        backup = copy_of(here.rows)
        slot.begin()
        ids = {one.id for one in here.machine.containers(PROJECT)}

        def forge(tx: Tx) -> None:
            [report] = tx.list(ReconcilerReport)
            tx.update_spec(report.replaced(spec=report.spec.model_copy(update={"epoch_min": EPOCH_MAX - 1})))

        await here.write(forge)
        await people.come("bob")
        await asyncio.sleep(120)
        assert {one.id for one in here.machine.containers(PROJECT)} == ids
        assert user(here).status.endpoint is not None, "who is served goes on"
        assert "put back a backup" in here.history.last(400)
        await slot.end()
        await restored(here, backup)
        slot.begin()
        await people.come("bob")
        await until_peace(here)
        assert not frozen_condition(here).is_true


async def test_a_record_of_another_name_asks_nobody_to_begin_anew() -> None:
    """No restart would come to the epoch that it asks for."""
    async with town() as here:
        people, slot = await settled(here, "alice")
        assert slot.operator is not None
        epoch = slot.operator.leader.epoch

        def forge(tx: Tx) -> None:
            [report] = tx.list(ReconcilerReport)
            spec = report.spec.model_copy(update={"epoch_min": epoch + 1000})
            tx.create(ReconcilerReport(metadata=Metadata(name="another"), spec=spec))

        await here.write(forge)
        await people.come("bob")
        await until_peace(here)
        assert slot.operator.leader.epoch == epoch
        assert user(here, "bob").status.endpoint is not None


async def outdated(here: Town, people: People, slot: Reconciler, *newcomers: str) -> dict[str, Any]:
    """A backup, after which everybody's container was replaced, and these came."""
    await slot.end()
    backup = copy_of(here.rows)
    slot.begin()
    await people.edit()
    for name in newcomers:
        await people.come(name)
    await until_peace(here)
    return backup


async def restored(here: Town, backup: dict[str, Any]) -> None:
    """An old store under processes that were all ended, and begin anew."""
    for process in (
        *(slot.process for slot in here.reconcilers),
        *(worker.process for worker in here.judge.workers),
    ):
        process.kill()
    restore(here.rows, backup)
    here.gateway()


@pytest.mark.fault(16)
@pytest.mark.fault(19)
async def test_who_waits_for_the_lead_takes_over_what_was_found_meanwhile() -> None:
    async with town() as here:
        people, slot = await settled(here, "alice")
        backup = await outdated(here, people, slot)
        ids = {one.id for one in here.machine.containers(PROJECT)}
        second = here.reconciler()
        second.begin()
        await restored(here, backup)
        await asyncio.sleep(120)
        assert frozen_condition(here).is_true
        [leading] = [one for one in (slot, second) if one.operator and one.operator.leader.is_leading]
        leading.restart_s = 10_000.0
        leading.process.kill()
        await asyncio.sleep(120)
        assert frozen_condition(here).is_true
        assert {one.id for one in here.machine.containers(PROJECT)} == ids
        await people.thaw()
        await asyncio.sleep(120)
        assert not frozen_condition(here).is_true
        await until_peace(here)


@pytest.mark.fault(16)
async def test_what_ends_while_nothing_may_be_removed_is_started_again() -> None:
    """The machine went down, and an old store was put in place before it came up."""
    async with town() as here:
        people, slot = await settled(here, "alice", "bob")
        backup = await outdated(here, people, slot)
        ids = {one.id for one in here.machine.containers(PROJECT)}
        names = [container_name(here, name) for name in ("alice", "bob")]
        slot.process.kill()
        for name in names:
            here.machine.kill(name)
        await restored(here, backup)
        await asyncio.sleep(120)
        assert frozen_condition(here).is_true
        assert {one.id for one in here.machine.containers(PROJECT)} == ids
        assert all(one.state is ContainerState.RUNNING for one in here.machine.containers(PROJECT))
        assert all(user(here, name).status.endpoint is not None for name in ("alice", "bob"))


@pytest.mark.fault(16)
@pytest.mark.parametrize("gates", range(1, 40, 3))
async def test_a_reconciler_that_dies_anywhere_while_it_finds_out_forgets_nothing(gates: int) -> None:
    async with town() as here:
        people, slot = await settled(here, "alice")
        backup = await outdated(here, people, slot)
        ids = {one.id for one in here.machine.containers(PROJECT)}
        await slot.end()
        await restored(here, backup)
        dying = here.reconciler()
        dying.dies_at_gate = gates
        dying.begin()
        await asyncio.sleep(300)
        assert dying.starts >= 2, "it has died on its way"
        assert frozen_condition(here).is_true
        assert {one.id for one in here.machine.containers(PROJECT)} == ids


@pytest.mark.fault(16)
async def test_a_backup_from_before_anybody_came_is_old_and_not_new() -> None:
    async with town() as here:
        people = People(here)
        await people.apply()
        here.gateway()
        slot = here.reconciler()
        slot.begin()
        await asyncio.sleep(60)
        backup = await outdated(here, people, slot, "alice")
        ids = {one.id for one in here.machine.containers(PROJECT)}
        await restored(here, backup)
        await asyncio.sleep(300)
        assert frozen_condition(here).is_true
        assert {one.id for one in here.machine.containers(PROJECT)} == ids
        assert user(here).status.endpoint is not None


@pytest.mark.fault(37)
async def test_a_freed_address_goes_on_resting_when_the_reconciler_starts_anew() -> None:
    """Whoever still knows it, from an old store say, meets nobody there for as long as others are free."""
    async with town() as here:
        people, slot = await settled(here, "alice", "bob")
        freed = user(here, "alice").status.endpoint
        await people.leave("alice")
        await until_peace(here)
        await slot.end()
        slot.begin()
        await people.come("carol")
        await until_peace(here)
        came = user(here, "carol").status.endpoint
        assert came is not None
        assert freed is not None
        assert (came.host, came.port) != (freed.host, freed.port)


async def test_who_was_stopped_stays_so_when_the_store_is_lost() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", "bob")
        await people.set_power("alice", Power.STOPPED)
        await until_peace(here)
        await restored(here, copy_of(MemoryRows(here.loop.time)))
        await people.apply()
        await until_peace(here)
        powers = {one.name: one.spec.power for one in here.all(UserContainer)}
        assert powers == {"alice": Power.STOPPED, "bob": Power.AUTO}
        assert not frozen_condition(here).is_true, "nothing is newer than a store that begins anew"


def frozen_condition(here: Town) -> Condition:
    conditions = here.all(ReconcilerReport)[0].status.conditions
    found = Conditions.find(conditions, ConditionType.DESTRUCTION_FROZEN)
    assert found is not None
    return found


@pytest.mark.fault(19)
async def test_of_two_reconcilers_one_acts_and_the_other_takes_over() -> None:
    async with town() as here:
        people, first = await settled(here, "alice")
        second = here.reconciler()
        second.begin()
        await asyncio.sleep(30)
        first.restart_s = 1000.0
        first.process.kill()
        await people.come("bob")
        assert await until_peace(here) < 20
        assert second.operator is not None
        assert second.operator.leader.is_leading


@pytest.mark.fault(19)
async def test_a_lead_found_lost_by_a_refused_write_ends_the_process_and_is_no_mistake() -> None:
    async with town() as here:
        people, slot = await settled(here, "alice")
        operator = slot.operator
        assert operator is not None
        store, lost = operator.hands.store, operator.leader.epoch
        await store.lead(slot.process.name, ttl_s=1.0, epoch_min=lost + 1)
        await people.override("alice", env={"N": "1"})
        await until_peace(here)
        told = here.history.last(400)
        assert f"leadership.lost why=epoch {lost} is over" in told
        assert "ended: None" in told
        assert slot.starts == 2


@pytest.mark.fault(25)
async def test_a_spec_that_never_gets_ready_is_rolled_back_after_its_deadline() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        good = user(here).status.spec_hash
        await people.edit(behaviour="never")
        await asyncio.sleep(5)
        assert user(here).status.endpoint is None
        await asyncio.sleep(20)
        status = user(here).status
        assert status.endpoint is not None
        assert (status.spec_hash, status.failed_spec_hash != "") == (good, True)
        assert reasons(here)[ConditionType.DEGRADED] == "RolledBack"
        await people.edit()
        await until_peace(here)


@pytest.mark.fault(25)
async def test_a_spec_that_the_engine_cannot_start_is_rolled_back_at_once() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        good = user(here).status.spec_hash
        await people.edit(behaviour="cannot run")
        await asyncio.sleep(2)
        assert user(here).status.endpoint is not None
        assert user(here).status.spec_hash == good
        assert reasons(here)[ConditionType.DEGRADED] == "RolledBack"


@pytest.mark.fault(25)
async def test_a_mended_spec_is_tried_at_once() -> None:
    """However long the engine's refusal of the last one is to be waited for."""
    async with town() as here:
        people = People(here)
        await people.edit(behaviour="cannot run")
        await people.come("alice")
        here.reconciler().begin()
        await asyncio.sleep(10)
        assert reasons(here)[ConditionType.DEGRADED] == "StartFailed"
        await people.edit()
        assert await until_peace(here) < 2


@pytest.mark.fault(26)
async def test_what_falls_ill_is_unrouted_at_the_threshold_and_replaced_at_twice_of_it() -> None:
    async with town() as here:
        await settled(here, "alice")
        ill = box(here)
        ill.is_well = False
        await asyncio.sleep(25)
        assert user(here).status.endpoint is not None
        await asyncio.sleep(10)
        assert user(here).status.endpoint is None
        assert box(here) is ill
        await asyncio.sleep(30)
        assert box(here) is not ill
        await until_peace(here)


@pytest.mark.fault(26)
@pytest.mark.parametrize(("ill_s", "well_s", "flips_max"), [(1, 1, 0), (12, 12, 0), (19, 11, 0), (35, 15, 2)])
async def test_what_flaps_is_unrouted_only_by_as_many_failures_in_a_row_as_the_threshold(
    ill_s: int, well_s: int, flips_max: int
) -> None:
    """Probed every 10 s, unrouted at 3 failures: what is ill for less moves nothing, else twice a spell."""
    async with town() as here:
        await settled(here, "alice")
        container, spells, flips, was_routed = box(here), 20, 0, True
        for second in range(spells * (ill_s + well_s)):
            container.is_well = second % (ill_s + well_s) >= ill_s
            await asyncio.sleep(1)
            is_routed = user(here).status.endpoint is not None
            flips += is_routed != was_routed
            was_routed = is_routed
        assert flips <= flips_max * spells
        assert bool(flips) == bool(flips_max)
        assert box(here) is container


@pytest.mark.fault(27)
async def test_when_all_probes_fail_at_once_nothing_is_restarted() -> None:
    async with town() as here:
        names = [f"u{number}" for number in range(6)]
        await settled(here, *names)
        before = here.judge.mutations_count
        here.weather.probes_fail = True
        await asyncio.sleep(600)
        assert here.judge.mutations_count == before
        assert all(user(here, name).status.endpoint is not None for name in names)
        here.weather.clear()
        await until_peace(here)


@pytest.mark.fault(27)
@pytest.mark.parametrize("event", ["a reconciler that is killed", "a mistyped startup probe"])
async def test_what_was_ready_does_not_begin_again_while_the_prober_is_suspect(event: str) -> None:
    """Whatever makes the prober begin anew: what it then fails to reach was routed and stays so."""
    async with town() as here:
        names = [f"u{number}" for number in range(6)]
        people, slot = await settled(here, *names)
        before = here.judge.mutations_count
        if event == "a mistyped startup probe":
            await people.apply(probes={"startup": {"http": "/no-such-path", "timeoutSeconds": 60}})
        here.weather.probes_fail = True
        if event == "a reconciler that is killed":
            slot.process.kill()
        await asyncio.sleep(600)
        assert here.judge.mutations_count == before
        assert all(user(here, name).status.endpoint is not None for name in names)
        here.weather.clear()
        await until_peace(here)


@pytest.mark.fault(28)
async def test_a_deleted_users_data_is_kept_until_its_retention_ends() -> None:
    async with town() as here:
        probes = {"liveness": {"periodSeconds": 3600}}
        people, _ = await settled(here, "alice", data={"mountPath": "/data", "retainDays": 1}, probes=probes)
        home = user(here).status.home
        await people.leave("alice")
        await until_peace(here)
        await asyncio.sleep(timedelta(hours=23).total_seconds())
        assert home in here.disk.seats
        await asyncio.sleep(timedelta(hours=2).total_seconds())
        assert home not in here.disk.seats
        assert not here.all(Home)


@pytest.mark.fault(29)
async def test_the_same_name_again_gets_another_home() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        home, uid = user(here).status.home, user(here).uid
        await people.leave("alice")
        await until_peace(here)
        await people.come("alice")
        await until_peace(here)
        assert user(here).uid != uid
        assert user(here).status.home != home
        assert set(here.disk.seats) == {home, user(here).status.home}


@pytest.mark.fault(37)
async def test_an_address_rests_until_the_slowest_worker_has_dropped_it() -> None:
    """One address for two users: the second gets it only once nobody sends the first one's requests there."""
    async with town() as here:
        here.pool = AddressPool("publish", ports=range(21000, 21001))
        people, _ = await settled(here, "alice")
        stuck = here.gateway()
        await asyncio.sleep(1)
        stuck.is_stuck = True
        await people.leave("alice")
        await people.come("bob")
        await asyncio.sleep(300)
        assert stuck.routes_in_use()
        assert user(here, "bob").status.endpoint is None
        stuck.is_stuck = False
        await until_peace(here)


@pytest.mark.fault(37)
async def test_an_address_of_a_dead_container_rests_until_a_dead_workers_lease_is_over() -> None:
    async with town() as here:
        here.pool = AddressPool("publish", ports=range(21000, 21001))
        people, _ = await settled(here, "alice")
        dead = here.gateway()
        await asyncio.sleep(1)
        dead.is_stuck = True
        here.machine.remove_by_hand(container_name(here))
        await people.leave("alice")
        dead.process.kill()
        await people.come("bob")
        assert await until_peace(here) < 40


@pytest.mark.fault(39)
async def test_a_second_container_of_a_user_leaves_the_recorded_one_routed() -> None:
    async with town() as here:
        await settled(here, "alice")
        endpoint, mine = user(here).status.endpoint, box(here)
        here.machine.copy_by_hand(mine, "copy")
        await asyncio.sleep(100)
        assert user(here).status.endpoint == endpoint
        assert reasons(here)[ConditionType.DEGRADED] == "TwoContainers"
        assert here.machine.named("copy") is not None
        here.machine.remove_by_hand("copy")
        await until_peace(here)


async def test_whoever_is_ready_is_let_through_before_the_next_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many who come at once do not wait for the last of them."""
    monkeypatch.setitem(WORKERS, "user", 1)
    async with town() as here:
        await settled(here, *(f"user-{number}" for number in range(8)))
        story = here.history.last(10_000)
        assert story.index("route.opened") < story.rindex("container.created")


async def test_a_one_time_user_goes_after_the_last_use_with_all_that_was_theirs() -> None:
    async with town() as here:
        people, _ = await settled(here, "bob")
        await people.declare_app("shop", persistent=False, endAfter=300)
        await people.come_by_app("alice", "shop")
        await until_peace(here)
        home = user(here).status.home
        for _ in range(20):
            await people.use("alice")
            await asyncio.sleep(60)
        assert user(here).status.home == home, "used for twenty minutes, she is still there"
        await asyncio.sleep(600)
        await until_peace(here)
        assert [one.name for one in here.all(UserContainer)] == ["bob"]
        assert home not in here.disk.seats
        assert [one.name for one in here.all(Home)] == [user(here, "bob").status.home]


async def test_whose_use_could_not_be_written_down_is_not_ended_before_it_is() -> None:
    """As after an outage of the store: whoever leads then may be sooner than the gateways."""
    async with town() as here:
        people, slot = await settled(here, "bob")
        await people.declare_app("shop", persistent=False, endAfter=300)
        await people.come_by_app("alice", "shop")
        await until_peace(here)
        home = user(here).status.home
        await slot.end()
        await asyncio.sleep(600)
        slot.begin()
        await asyncio.sleep(20)
        await people.use("alice")
        await asyncio.sleep(200)
        assert user(here).status.home == home
        assert not user(here).metadata.is_deleted
        await asyncio.sleep(150)
        await until_peace(here)
        assert [one.name for one in here.all(UserContainer)] == ["bob"]


async def test_users_that_an_app_keeps_from_now_on_are_kept() -> None:
    async with town() as here:
        people, _ = await settled(here)
        await people.declare_app("shop", persistent=False, endAfter=300)
        await people.come_by_app("alice", "shop")
        await until_peace(here)
        await people.declare_app("shop", persistent=True)
        await asyncio.sleep(3600)
        assert user(here).status.endpoint is not None
        await people.declare_app("shop", persistent=False, endAfter=300)
        await asyncio.sleep(300)
        await until_peace(here)
        assert not here.all(UserContainer)
