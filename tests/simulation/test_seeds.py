"""Seeded histories: people and misfortunes at random, then peace.

A failing seed prints itself and its last events. To run one again, or many more:
``SIMULATION_SEEDS=17 pytest tests/simulation/test_seeds.py``, ``SIMULATION_SEEDS=1000-1999 pytest …``.
"""

import asyncio
import os

import pytest

from tests.simulation.misfortunes import USERS, Misfortunes
from tests.simulation.peace import stays_peaceful, until_peace
from tests.simulation.people import People
from tests.simulation.town import Town, breaches, town

SEEDS_BY_DEFAULT = range(24)
DEEDS = 60
GAP_S = 6.0


def seeds() -> list[int]:
    wanted = os.environ.get("SIMULATION_SEEDS", "")
    if not wanted:
        return list(SEEDS_BY_DEFAULT)
    first, _, last = wanted.partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.fault(1)
@pytest.mark.fault(2)
@pytest.mark.fault(3)
@pytest.mark.fault(4)
@pytest.mark.fault(6)
@pytest.mark.fault(7)
@pytest.mark.fault(10)
@pytest.mark.fault(11)
@pytest.mark.fault(15)
@pytest.mark.fault(17)
@pytest.mark.fault(18)
@pytest.mark.fault(19)
@pytest.mark.fault(28)
@pytest.mark.fault(29)
@pytest.mark.fault(37)
@pytest.mark.fault(38)
@pytest.mark.fault(39)
@pytest.mark.parametrize("profile", ["laptop", "cluster"])
@pytest.mark.parametrize("seed", seeds())
async def test_whatever_happens_there_is_peace_in_the_end(seed: int, profile: str) -> None:
    async with town(seed, profile) as here:
        try:
            await live_through(here)
        except AssertionError as error:
            raise AssertionError(f"seed {seed} on a {profile}: {error}") from None


async def live_through(here: Town) -> None:
    people = People(here)
    misfortunes = Misfortunes(here, people)
    await begin(here, people)
    deeds, weights = misfortunes.deeds()
    for _ in range(DEEDS):
        await asyncio.sleep(here.draw.expovariate(1 / GAP_S))
        await here.draw.choices(deeds, weights)[0]()
        assert not here.history.breaches, breaches(here)
    await misfortunes.end()
    await make_peace(here, people)
    await until_peace(here)
    await stays_peaceful(here)


async def begin(here: Town, people: People) -> None:
    for template in ("demo", "other"):
        await people.apply(template)
    here.gateway()
    here.gateway()
    here.reconciler().begin()
    here.reconciler()
    for name in USERS[:3]:
        await people.come(name)


async def make_peace(here: Town, people: People) -> None:
    """Everything that is wanted can be had: templates that were never bad, and somebody at work."""
    for template in ("demo", "other"):
        await people.edit(template)
    for name in USERS:
        await people.override(name)
    if not any(slot.is_kept for slot in here.reconcilers):
        here.reconcilers[0].begin()
