"""`kill -9` of either process at any moment under `mcpgw up`: nothing is lost, and nobody has to help."""

import random
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest

from mcpgw.testing.house import House, PartName, until
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.user_container import UserContainer
from tests.e2e.aside import Aside
from tests.e2e.conftest import opened
from tests.e2e.hand import Hand
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

ROUNDS: tuple[tuple[PartName, ...], ...] = (
    ("reconciler",),
    ("gateway",),
    ("reconciler", "gateway"),
    ("gateway", "reconciler"),
)
"""Which process dies in each round, after the other where it is both."""

USERS_A_ROUND = 6
BIRTH_S = 3.0  # about how long it takes to make so many
DEATH_S = 2.0
SETTLED_S_MAX = 180.0  # a dead leader's lease and the supervisor's growing pauses among it
RESIDENT = "resident"
STREAM_STEPS = 60
STREAM_STEP_S = 0.1


@pytest.fixture(scope="module")
def up_house(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Both processes under `mcpgw up`, and somebody who lives there already."""
    with opened(real_engine, tmp_path_factory.mktemp("kills"), begin="up") as house:
        house.serve(RESIDENT)
        assert house.call(RESIDENT, "counter").result["result"] == 1
        assert house.call(RESIDENT, "disk", text="kept").status == 200
        yield house


@pytest.mark.fault(17)
def test_births_held_requests_and_streams_survive_either_death_at_any_moment(
    up_house: House, hand: Hand
) -> None:
    house, dice = up_house, _dice()
    resident = hand.id_of(house.container_name(RESIDENT))
    for number, parts in enumerate(ROUNDS):
        stream = Aside(partial(house.call, RESIDENT, "slow", steps=STREAM_STEPS, interval_s=STREAM_STEP_S))
        users = [f"born-{number}-{one}" for one in range(USERS_A_ROUND)]
        held = [Aside(partial(house.call, user_id, "disk", text=user_id)) for user_id in users]
        for part in parts:
            _kill(house, part, dice.uniform(0, BIRTH_S))
        if "gateway" not in parts:
            assert stream.status == 200, "what streams needs no reconciler"
            assert [call.status for call in held] == [200] * USERS_A_ROUND, (
                "nor does what is held need a new try"
            )
        for call, user_id in zip(held, users, strict=True):
            if call.status != 200:  # its connection died with the gateway, and it tries again
                until(partial(_keeps, house, user_id), f"{user_id} is served", SETTLED_S_MAX)
        stream.end()
    until(lambda: _has_one_container_each(house, hand), "one container for each", SETTLED_S_MAX)
    assert _directories(house) == _homes(house)
    for number in range(len(ROUNDS)):
        for one in range(USERS_A_ROUND):
            assert house.call(f"born-{number}-{one}", "disk").result["result"] == f"born-{number}-{one}"
    assert hand.id_of(house.container_name(RESIDENT)) == resident
    assert house.call(RESIDENT, "counter").result["result"] == 2, "its process has lived on"


@pytest.mark.fault(18)
def test_deaths_survive_either_death_at_any_moment(up_house: House, hand: Hand) -> None:
    house, dice = up_house, _dice()
    users = house.read(lambda tx: tx.list(UserContainer))
    assert len(users) == len(ROUNDS) * USERS_A_ROUND + 1, "the test before made them"
    homes = _homes(house)
    for number, parts in enumerate(ROUNDS):
        house.delete_users(*(one.name for one in users[number :: len(ROUNDS)]))
        for part in parts:
            _kill(house, part, dice.uniform(0, DEATH_S))
    until(lambda: not house.read(lambda tx: tx.list(UserContainer)), "all are forgotten", SETTLED_S_MAX)
    until(lambda: not hand.containers(house), "no container is left")
    until(lambda: not house.read(lambda tx: tx.list(Incarnation)), "no address is taken")
    kept = house.read(lambda tx: tx.list(Home))
    assert {one.name for one in kept} == homes
    assert all(one.status.tombstoned_at is not None for one in kept)
    assert _directories(house) == homes
    written = {f"born-{number}-{one}" for number in range(len(ROUNDS)) for one in range(USERS_A_ROUND)}
    on_disk = {path.read_text() for path in house.homes.glob("*/data/*") if path.is_file()}
    assert on_disk >= {*written, "kept"}, "put aside is not lost"


def _dice() -> random.Random:
    """The seed is printed with a failure."""
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    return random.Random(seed)


def _kill(house: House, part: PartName, after_s: float) -> None:
    """What was started again a moment ago may well die before it is ready."""
    time.sleep(after_s)  # not to wait for anything: it only picks the moment
    house.kill(part)


def _keeps(house: House, user_id: str) -> bool:
    """Whether the user's container takes what it is to keep; not while no gateway listens."""
    return Aside(partial(house.call, user_id, "disk", text=user_id)).status == 200


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
