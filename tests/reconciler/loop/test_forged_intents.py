"""Intents that somebody else wrote into the store: nothing is made at an address that is not ours to give."""

import asyncio
from typing import Any

import pytest

from reconciler.core.addresses import AddressPool, is_of
from reconciler.core.container import ObservedContainer
from reconciler.loop.observer import Observer
from state.kinds.home import Home, HomeSpec, Owner
from state.kinds.incarnation import Incarnation, IncarnationNames, IncarnationSpec, IncarnationStatus
from state.kinds.resource import Metadata
from state.kinds.template import Egress
from state.kinds.user_container import UserContainerSpec, new_user_container
from state.store.port import Tx
from tests.simulation.judge import PROJECT
from tests.simulation.peace import until_peace
from tests.simulation.test_scenarios import box, settled, user
from tests.simulation.town import CONTAINERS_MAX, PORTS, ZONES, Town, town

FORGED_NUMBER = 7
LOOK_S = 5.0  # longer than whoever finds no room waits before they try again
POOLS = {
    Egress.INTERNET: AddressPool("publish", ports=PORTS),
    Egress.NONE: AddressPool("network", subnet=str(ZONES[Egress.NONE].subnet)),
}
KEPT, OTHER = str(ZONES[Egress.NONE].subnet[4]), str(ZONES[Egress.PROXY].subnet[11])
FORGED = {
    Egress.INTERNET: ("", "nonsense", "0.0.0.0:21005", "127.0.0.1:80", "127.0.0.1:021005", KEPT, OTHER),
    Egress.NONE: ("", "nonsense", "127.0.0.1:21005", "10.9.9.9", KEPT, OTHER, f"{KEPT}:80"),
}


async def forge(here: Town, address: str, name: str = "bob") -> None:
    """A user, their Home, and an intent that the reconciler did not write, with another user's hash."""
    spec_hash, home = user(here, "alice").status.spec_hash, name.ljust(26, "b")

    def write(tx: Tx) -> None:
        spec = UserContainerSpec(user=f"github:{name}", template="demo")
        forged = tx.create(new_user_container(name, spec, managed_by="api"))
        tx.update_status(forged.replaced(status=forged.status.model_copy(update={"home": home})))
        owner = Owner(user_container=name, uid=forged.uid, user=spec.user)
        tx.create(Home(metadata=Metadata(name=home), spec=HomeSpec(template="demo", owner=owner)))
        intent = IncarnationSpec(
            home=home,
            user_container=forged.uid,
            number=FORGED_NUMBER,
            spec_hash=spec_hash,
            container_name=IncarnationNames.container(PROJECT, home),
            address=address,
            port=8080,
            epoch=1,
        )
        record = Metadata(name=IncarnationNames.record(home, FORGED_NUMBER))
        tx.create(Incarnation(metadata=record, spec=intent, status=IncarnationStatus()))

    await here.write(write)


@pytest.mark.parametrize(
    ("egress", "address"), [(egress, address) for egress, forged in FORGED.items() for address in forged]
)
async def test_an_intent_without_an_address_of_its_zone_starts_over(egress: Egress, address: str) -> None:
    security: dict[str, Any] = {} if egress is Egress.INTERNET else {"security": {"egress": str(egress)}}
    async with town() as here:
        await settled(here, "alice", **security)
        await forge(here, address)
        await until_peace(here)
        identity = box(here, "bob").shown.identity
        assert identity is not None and identity.number != FORGED_NUMBER, "it was never made"
        assert is_of(POOLS[egress], box(here, "bob").shown.address)


async def test_an_intent_with_an_address_where_the_engine_chooses_starts_over() -> None:
    async with town(profile="cluster") as here:
        await settled(here, "alice")
        await forge(here, str(ZONES[Egress.INTERNET].subnet[11]))
        await until_peace(here)
        assert box(here, "bob").shown.address == ""


async def test_an_intent_that_could_be_ours_is_carried_out() -> None:
    """The store's word is good for that: it is within what the settings allow."""
    async with town() as here:
        await settled(here, "alice")
        await forge(here, POOLS[Egress.INTERNET].at(5))
        await until_peace(here)
        shown = box(here, "bob").shown
        assert shown.identity is not None
        assert (shown.identity.number, shown.address) == (FORGED_NUMBER, POOLS[Egress.INTERNET].at(5))


def look_slowly(observer: Observer) -> None:
    """An engine that has made a container shows it late."""
    look = observer.look

    async def slowly(container_name: str) -> ObservedContainer | None:
        await asyncio.sleep(LOOK_S)
        return await look(container_name)

    observer.look = slowly  # type: ignore[method-assign]


async def test_many_at_once_make_no_more_containers_than_there_may_be() -> None:
    async with town() as here:
        _, slot = await settled(here, "alice")
        assert slot.operator is not None
        here.weather.is_deaf, here.weather.slow_s = True, LOOK_S
        look_slowly(slot.operator.hands.observer)
        for index in range(1, len(PORTS)):
            await forge(here, POOLS[Egress.INTERNET].at(index), f"bob{chr(ord('a') + index)}")
        counts = set()
        for _ in range(6000):
            counts.add(len(here.machine.containers(PROJECT)))
            await asyncio.sleep(0.01)
        assert max(counts) == CONTAINERS_MAX
