"""`kill -9` of the reconciler at any moment of births and deaths: one container each, nothing left over."""

import random
import sys
import time
from functools import partial

import pytest

from mcpgw.testing.house import House, until
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.user_container import UserContainer
from tests.e2e.aside import Aside
from tests.e2e.hand import Hand
from tests.e2e.statefile import end_leadership

pytestmark = pytest.mark.engine

ROUNDS = 4
USERS_A_ROUND = 6
BIRTH_S = 3.0  # about how long it takes to make so many
DEATH_S = 2.0
SETTLED_S_MAX = 120.0


@pytest.mark.fault(17)
def test_births_survive_the_reconcilers_death_at_any_moment(docker_house: House, hand: Hand) -> None:
    house, dice = docker_house, _dice()
    for number in range(ROUNDS):
        users = [f"born-{number}-{one}" for one in range(USERS_A_ROUND)]
        calls = [Aside(partial(house.call, user_id, "disk", text=user_id)) for user_id in users]
        _kill_after(house, dice.uniform(0, BIRTH_S))
        for call, user_id in zip(calls, users, strict=True):
            if call.status != 200:  # it waited too long, and may try again
                house.serve(user_id)
    until(lambda: _has_one_container_each(house, hand), "one container for each", SETTLED_S_MAX)
    assert _directories(house) == _homes(house)


@pytest.mark.fault(18)
def test_deaths_survive_the_reconcilers_death_at_any_moment(docker_house: House, hand: Hand) -> None:
    house, dice = docker_house, _dice()
    users = house.read(lambda tx: tx.list(UserContainer))
    assert len(users) >= ROUNDS * USERS_A_ROUND, "the test before made them"
    homes = _homes(house)
    for number in range(ROUNDS):
        some = users[number::ROUNDS]
        house.delete_users(*(one.name for one in some))
        _kill_after(house, dice.uniform(0, DEATH_S))
    until(lambda: not house.read(lambda tx: tx.list(UserContainer)), "all are forgotten", SETTLED_S_MAX)
    until(lambda: not hand.containers(house), "no container is left")
    until(lambda: not house.read(lambda tx: tx.list(Incarnation)), "no address is taken")
    kept = house.read(lambda tx: tx.list(Home))
    assert {one.name for one in kept} == homes
    assert all(one.status.tombstoned_at is not None for one in kept)
    assert _directories(house) == homes


def _dice() -> random.Random:
    """The seed is printed with a failure."""
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    return random.Random(seed)


def _kill_after(house: House, seconds: float) -> None:
    time.sleep(seconds)  # not to wait for anything: it only picks the moment
    house.kill("reconciler")
    end_leadership(house)
    house.reconciler.start()
    house.wait_ready("reconciler")


def _homes(house: House) -> set[str]:
    return {one.name for one in house.read(lambda tx: tx.list(Home))}


def _directories(house: House) -> set[str]:
    return {path.name for path in house.homes.iterdir() if path.is_dir()}


def _has_one_container_each(house: House, hand: Hand) -> bool:
    users = house.read(lambda tx: tx.list(UserContainer))
    live = [
        one
        for one in house.read(lambda tx: tx.list(Incarnation))
        if one.status.state is not IncarnationState.QUARANTINED
    ]
    names = sorted(one["Names"][0].removeprefix("/") for one in hand.containers(house))
    is_routed = all(one.status.endpoint is not None for one in users)
    return is_routed and len(live) == len(users) and names == sorted(one.spec.container_name for one in live)
