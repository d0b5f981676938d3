"""Templates that move from one way out to another, and networks that cannot be made."""

import asyncio
from typing import Any

from reconciler.controllers.report import RENEW_PERIOD_S
from reconciler.engine.memory_profile import Workload
from state.kinds.report import Reconciler as ReconcilerReport
from state.kinds.resource import ConditionType
from state.kinds.template import Egress
from tests.simulation.judge import PROJECT
from tests.simulation.peace import until_peace
from tests.simulation.test_scenarios import box, condition, settled, user
from tests.simulation.town import ZONES, Town, town

CLOSED, FREE = ZONES[Egress.NONE], ZONES[Egress.INTERNET]
FOREIGN: dict[str, Any] = {"Name": "foreign", "IPAM": {"Config": [{"Subnet": str(CLOSED.subnet)}]}}


def networks(here: Town) -> set[str]:
    return {str(one["Name"]) for one in here.machine.networks}


def degraded(here: Town) -> str:
    """What the reconciler says of the networks."""
    report = next(one for one in here.all(ReconcilerReport) if one.name == PROJECT)
    found = report.status.condition(ConditionType.DEGRADED)
    return f"{found.status} {found.message}" if found is not None else ""


async def test_a_template_moves_its_users_to_another_zone_and_back() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        assert networks(here) == {FREE.network}, "no network is made that nobody asks for"
        before = box(here)
        assert before.shown.address.startswith("127.0.0.1:")
        await people.apply(security={"egress": "None"})
        await until_peace(here)
        assert networks(here) == {FREE.network, CLOSED.network}
        moved = box(here)
        assert (moved.shown.id != before.shown.id, moved.shown.address) == (True, str(CLOSED.subnet[11]))
        assert moved.spec is not None and moved.spec.egress is Egress.NONE
        assert user(here).status.endpoint is not None
        await people.apply()
        await until_peace(here)
        assert box(here).shown.address.startswith("127.0.0.1:")


async def test_who_is_replaced_within_a_zone_keeps_their_address_there() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", "bob", security={"egress": "None"})
        before = {name: box(here, name).shown.address for name in ("alice", "bob")}
        assert len(set(before.values())) == 2
        await people.edit(security={"egress": "None"})
        await until_peace(here)
        assert {name: box(here, name).shown.address for name in before} == before


async def test_a_zones_network_that_cannot_be_made_is_told_to_those_who_need_it_and_heals() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        here.machine.networks.append(FOREIGN)
        await people.apply("closed", security={"egress": "None"})
        await people.come("bob", template="closed")
        await asyncio.sleep(60)
        told = condition(here, ConditionType.DEGRADED, "bob")
        assert told.reason == "SubnetCollision"
        assert "CONTAINER_SUBNET_PREFIX" in told.message
        assert degraded(here).startswith("True") and "foreign" in degraded(here)
        assert user(here).status.endpoint is not None, "nobody else is concerned"
        here.machine.networks.remove(FOREIGN)
        await until_peace(here)
        await asyncio.sleep(RENEW_PERIOD_S + 1)
        assert degraded(here).startswith("False")


async def test_a_failed_move_is_rolled_back_to_the_zone_that_worked() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        here.machine.workload_of = lambda spec: Workload(startup_s=1e9 if spec.egress is Egress.NONE else 0.0)
        await people.apply(security={"egress": "None"})
        await asyncio.sleep(200)
        served = box(here)
        assert served.spec is not None and served.spec.egress is Egress.INTERNET
        assert user(here).status.endpoint is not None
