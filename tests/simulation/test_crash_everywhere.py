"""One user's birth and one user's end, with the reconciler killed at every await in turn.

Not drawn: await number one, then two, and so on to the last. Each is lived twice: what was on the wire at
the moment of death is lost, or still arrives.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from state.kinds.home import Home
from state.kinds.incarnation import Incarnation
from state.kinds.request import Verb
from state.kinds.user_container import UserContainer
from tests.simulation.judge import PROJECT
from tests.simulation.peace import stays_peaceful, until_peace
from tests.simulation.people import People
from tests.simulation.town import Town, town

GATES_MIN = 25  # fewer would mean that the gates are not where the awaits are
PEACE_S = 200.0
QUIET_S = 50.0  # a list, some probes
END_AFTER_S = 300.0  # longer than there may be no peace

Life = Callable[[Town, People], Awaitable[None]]


@dataclass(frozen=True)
class How:
    profile: str
    sends_last_words: bool  # what was on the wire still arrives


async def lived(life: Life, check: Callable[[Town], None], how: How, at_gate: int | None) -> int:
    """One life, with a death at that await; the number of awaits that it had until there was peace."""
    async with town(at_gate or 0, how.profile) as here:
        people = People(here)
        await people.apply()
        here.gateway()
        await life(here, people)
        slot = here.reconciler()
        slot.dies_at_gate, slot.sends_last_words = at_gate, how.sends_last_words
        slot.begin()
        await until_peace(here, PEACE_S)
        gates = slot.process.gates_passed
        await stays_peaceful(here, QUIET_S)
        assert at_gate is None or slot.starts > 1, "nobody died"
        check(here)
        return gates


async def every_death(life: Life, check: Callable[[Town], None], how: How) -> None:
    gates = await lived(life, check, how, None)
    assert gates > GATES_MIN, f"a whole life has only {gates} awaits"
    for at_gate in range(1, gates + 1):
        try:
            await lived(life, check, how, at_gate)
        except AssertionError as error:
            raise AssertionError(f"killed at await {at_gate} of {gates}: {error}") from None


async def birth(here: Town, people: People) -> None:
    await people.come("alice")


async def an_end(here: Town, people: People) -> None:
    """alice lives, then nobody reconciles while she is deleted."""
    await people.come("alice")
    slot = here.reconciler()
    slot.begin()
    await until_peace(here, PEACE_S)
    await slot.end()
    await people.leave("alice")


async def an_end_at_once(here: Town, people: People) -> None:
    """The same, without keeping the data."""
    await people.apply(data={"mountPath": "/data", "retainDays": 0})
    await an_end(here, people)


async def a_change(here: Town, people: People) -> None:
    """alice lives, then another container is wanted for her."""
    await people.come("alice")
    slot = here.reconciler()
    slot.begin()
    await until_peace(here, PEACE_S)
    await slot.end()
    await people.edit()


async def a_sleep(here: Town, people: People) -> None:
    """alice lives, then nobody reconciles while she asks to be put to sleep."""
    await people.come("alice")
    slot = here.reconciler()
    slot.begin()
    await until_peace(here, PEACE_S)
    await slot.end()
    await people.ask("alice", Verb.SLEEP)


async def a_wake(here: Town, people: People) -> None:
    """alice sleeps, then nobody reconciles while she is called."""
    await people.come("alice")
    slot = here.reconciler()
    slot.begin()
    await until_peace(here, PEACE_S)
    await people.ask("alice", Verb.SLEEP)
    await until_peace(here, PEACE_S)
    await slot.end()
    await people.call("alice")


async def a_last_use(here: Town, people: People) -> None:
    """alice is a one-time user and lives, then nobody reconciles until she has not been used for long."""
    await people.declare_app("shop", persistent=False, endAfter=END_AFTER_S)
    await people.come_by_app("alice", "shop")
    slot = here.reconciler()
    slot.begin()
    await until_peace(here, PEACE_S)
    await slot.end()
    await asyncio.sleep(END_AFTER_S)


def one_of_each(here: Town) -> None:
    """One container, one record, one home, one directory."""
    assert len(here.machine.containers(PROJECT)) == 1
    assert len(here.all(Incarnation)) == len(here.all(Home)) == 1
    assert list(here.disk.seats) == [here.all(Home)[0].name]


def asleep(here: Town) -> None:
    """No container, no record; the home, the directory, and the mark."""
    assert not here.machine.containers(PROJECT)
    assert not here.all(Incarnation)
    (home,), (alice,) = here.all(Home), here.all(UserContainer)
    assert list(here.disk.seats) == [home.name]
    assert home.status.tombstoned_at is None
    assert alice.status.asleep_since is not None
    assert alice.status.endpoint is None


def put_aside(here: Town) -> None:
    """Nothing but the data, and its end on record and on disk."""
    assert not here.machine.containers(PROJECT)
    assert not here.all(Incarnation)
    assert not here.all(UserContainer)
    (home,) = here.all(Home)
    claim = here.disk.seats[home.name]
    assert home.status.retain_until is not None
    assert claim is not None
    assert claim.retain_until is not None


def nothing_left(here: Town) -> None:
    for kind in (Incarnation, UserContainer, Home):
        assert not here.all(kind)
    assert not here.machine.containers(PROJECT)
    assert not here.disk.seats


every_way = pytest.mark.parametrize(
    "how",
    [How(profile, last_words) for profile in ("laptop", "cluster") for last_words in (False, True)],
    ids=lambda how: f"{how.profile}, what was sent {'arrives' if how.sends_last_words else 'is lost'}",
)


@pytest.mark.fault(10)
@pytest.mark.fault(15)
@pytest.mark.fault(17)
@every_way
async def test_a_birth_leaves_exactly_one_of_each(how: How) -> None:
    await every_death(birth, one_of_each, how)


@pytest.mark.fault(18)
@pytest.mark.fault(28)
@every_way
async def test_an_end_leaves_the_data_put_aside(how: How) -> None:
    await every_death(an_end, put_aside, how)


@pytest.mark.fault(18)
@every_way
async def test_an_end_whose_retention_is_over_leaves_nothing(how: How) -> None:
    await every_death(an_end_at_once, nothing_left, how)


@pytest.mark.fault(17)
@pytest.mark.fault(18)
@every_way
async def test_a_change_leaves_exactly_one_of_each(how: How) -> None:
    await every_death(a_change, one_of_each, how)


@pytest.mark.fault(17)
@pytest.mark.fault(18)
@every_way
async def test_a_sleep_leaves_the_data_and_no_container(how: How) -> None:
    await every_death(a_sleep, asleep, how)


@pytest.mark.fault(17)
@every_way
async def test_a_wake_leaves_exactly_one_of_each(how: How) -> None:
    await every_death(a_wake, one_of_each, how)


@pytest.mark.fault(18)
@every_way
async def test_the_end_of_a_one_time_user_leaves_nothing(how: How) -> None:
    await every_death(a_last_use, nothing_left, how)
