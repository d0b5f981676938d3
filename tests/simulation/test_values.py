"""What users fill in: from the store into their container, and through the loss of almost everything."""

import asyncio
from typing import Any

from reconciler.engine.memory_machine import Box
from state.kinds.home import Home
from state.kinds.resource import ConditionType
from state.kinds.user_container import Power, UserContainer
from state.kinds.user_inputs import InputValue, UserInputs, UserInputsSpec, new_user_inputs
from state.sealing import PrivateKey
from state.store.memory import MemoryRows
from state.store.port import Tx
from tests.simulation.peace import stays_peaceful, until_peace
from tests.simulation.people import People
from tests.simulation.test_crash_everywhere import PEACE_S, How, every_death, every_way, one_of_each
from tests.simulation.test_scenarios import (
    box,
    condition,
    copy_of,
    reasons,
    restored,
    settled,
    user,
)
from tests.simulation.town import KEY, Town, town

INPUTS: list[dict[str, Any]] = [
    {"name": "MODEL", "title": "The model"},
    {"name": "API_KEY", "title": "Your key", "secret": True},
]
NEEDED: list[dict[str, Any]] = [INPUTS[0], {**INPUTS[1], "required": True}]
SECRET = "sk-plain-text-of-a-secret"


async def fill_in(here: Town, name: str = "alice", *, key: PrivateKey = KEY, **texts: str) -> None:
    """As the gateway does. API_KEY is sealed."""

    def write(tx: Tx) -> None:
        owner = tx.get(UserContainer, name)
        assert owner is not None

        def kept(of: str, text: str) -> InputValue:
            if of != "API_KEY":
                return InputValue(text=text, set_at=tx.now)
            return InputValue(sealed=key.public.seal(text, owner=owner.uid, name=of), set_at=tx.now)

        values = {of: kept(of, text) for of, text in texts.items()}
        standing = tx.get(UserInputs, name)
        if standing is None:
            tx.create(new_user_inputs(owner, values))
        else:
            spec = UserInputsSpec(user_container=owner.uid, values=values)
            tx.update_spec(standing.replaced(spec=spec))

    await here.write(write)


def environment(of: Box) -> dict[str, str]:
    assert of.spec is not None
    return dict(of.spec.env)


def kept_texts(here: Town) -> str:
    """Everything that outlives the processes, as text: the store's rows and the claims."""
    objects = [one.model_dump_json() for rows in here.rows._objects.values() for one in rows.values()]
    assert objects and claims(here)
    return "\n".join((*objects, claims(here)))


def claims(here: Town) -> str:
    return "\n".join(one.model_dump_json() for one in here.disk.seats.values() if one is not None)


async def test_a_value_that_is_filled_in_replaces_the_container_and_stays_secret() -> None:
    async with town() as here:
        await settled(here, "alice", inputs=INPUTS)
        before = box(here).shown.id
        await fill_in(here, MODEL="large", API_KEY=SECRET)
        await until_peace(here)
        assert box(here).shown.id != before
        assert environment(box(here)) == {"MODEL": "large", "API_KEY": SECRET}
        await stays_peaceful(here)
        assert SECRET not in kept_texts(here)
        assert SECRET not in here.history.last(100_000)


async def test_nothing_is_made_before_what_is_needed_is_there() -> None:
    async with town() as here:
        people = People(here)
        await people.apply(inputs=NEEDED)
        await people.come("alice")
        here.gateway()
        here.reconciler().begin()
        await asyncio.sleep(60)
        assert reasons(here)[ConditionType.READY] == "InputMissing"
        assert "“Your key”" in condition(here, ConditionType.READY).message
        assert not here.machine.containers("sim")
        await fill_in(here, MODEL="large")
        await asyncio.sleep(5)
        assert reasons(here)[ConditionType.READY] == "InputMissing"
        await fill_in(here, MODEL="large", API_KEY=SECRET)
        await until_peace(here)
        assert environment(box(here)) == {"MODEL": "large", "API_KEY": SECRET}


async def test_what_was_filled_in_survives_the_loss_of_the_store() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", inputs=INPUTS)
        await fill_in(here, MODEL="large", API_KEY=SECRET)
        await until_peace(here)
        before = box(here).shown.id
        await restored(here, copy_of(MemoryRows(here.loop.time)))
        await people.apply(inputs=INPUTS)
        await until_peace(here)
        assert box(here).shown.id == before, "the very container is adopted"
        assert environment(box(here)) == {"MODEL": "large", "API_KEY": SECRET}


async def test_a_lease_that_is_renewed_late_holds_up_no_values() -> None:
    async with town() as here:
        _, slot = await settled(here, "alice", inputs=INPUTS)
        assert slot.operator is not None
        slot.operator.leader._until = 0.0
        await fill_in(here, MODEL="large")
        await asyncio.sleep(20)
        assert environment(box(here)) == {"MODEL": "large"}
        assert "large" in claims(here)


async def test_what_was_filled_in_does_not_outlive_its_user_with_the_data() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", inputs=INPUTS)
        await fill_in(here, MODEL="large", API_KEY=SECRET)
        await until_peace(here)
        sealed = here.all(UserInputs)[0].spec.values["API_KEY"].sealed
        assert sealed in claims(here)
        await people.leave("alice")
        await until_peace(here)
        [home] = here.all(Home)
        assert home.status.tombstoned_at is not None, "the data is retained"
        assert "large" not in kept_texts(here)
        assert sealed not in kept_texts(here)


async def test_what_was_filled_in_before_there_was_a_container_survives_it_too() -> None:
    inputs = [*INPUTS, {"name": "REGION", "title": "The region", "required": True}]
    async with town() as here:
        people = People(here)
        await people.apply(inputs=inputs)
        await people.come("alice")
        here.gateway()
        here.reconciler().begin()
        await fill_in(here, API_KEY=SECRET)
        await asyncio.sleep(20)
        await restored(here, copy_of(MemoryRows(here.loop.time)))
        await people.apply(inputs=inputs)
        await asyncio.sleep(20)
        [found] = here.all(UserInputs)
        region = InputValue(text="eu", set_at=here.loop.now())
        spec = UserInputsSpec(
            user_container=found.spec.user_container, values={**found.spec.values, "REGION": region}
        )
        await here.write(lambda tx: tx.update_spec(found.replaced(spec=spec)))
        await until_peace(here)
        assert environment(box(here)) == {"API_KEY": SECRET, "REGION": "eu"}


async def test_an_older_store_overwrites_nothing_that_the_disk_knows_better() -> None:
    async with town() as here:
        people, slot = await settled(here, "alice", inputs=INPUTS)
        await fill_in(here, MODEL="old")
        await until_peace(here)
        await slot.end()
        backup = copy_of(here.rows)
        slot.begin()
        await fill_in(here, MODEL="new")
        await until_peace(here)
        await restored(here, backup)
        await asyncio.sleep(300)
        [claim] = here.disk.seats.values()
        assert claim is not None
        assert (claim.values["MODEL"].text, environment(box(here))) == ("new", {"MODEL": "new"})
        await people.thaw()
        await until_peace(here)
        assert environment(box(here)) == {"MODEL": "old"}, "somebody decided that the store rules"


async def test_who_is_stopped_keeps_what_they_filled_in_meanwhile_on_disk() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", inputs=INPUTS)
        await people.set_power("alice", Power.STOPPED)
        await until_peace(here)
        await fill_in(here, MODEL="large")
        await asyncio.sleep(5)
        [home] = here.all(Home)
        claim = here.disk.seats[home.name]
        assert claim is not None
        assert (claim.power, claim.values["MODEL"].text) == ("Stopped", "large")


async def test_a_full_disk_when_values_come_is_made_up_for_later() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", inputs=INPUTS)
        await people.set_power("alice", Power.STOPPED)
        await until_peace(here)
        here.weather.is_disk_full = True
        await fill_in(here, MODEL="large")
        await asyncio.sleep(5)
        [home] = here.all(Home)
        claim = here.disk.seats[home.name]
        assert claim is not None and not claim.values
        here.weather.is_disk_full = False
        await asyncio.sleep(90)
        claim = here.disk.seats[home.name]
        assert claim is not None and claim.values


async def test_a_secret_for_a_lost_key_is_asked_for_again() -> None:
    async with town() as here:
        await settled(here, "alice", inputs=INPUTS)
        before = box(here).shown.id
        await fill_in(here, API_KEY=SECRET, key=PrivateKey(b"a key that was lost............."))
        await asyncio.sleep(30)
        assert box(here).shown.id == before, "what runs is not given up for what cannot be made"
        assert reasons(here)[ConditionType.DEGRADED] == "InputUnreadable"
        await fill_in(here, API_KEY=SECRET)
        await until_peace(here)
        assert environment(box(here)) == {"API_KEY": SECRET}


async def test_a_secret_that_was_tampered_with_is_asked_for_again() -> None:
    """It says that it is for our key, and is not: known only at the engine's door."""
    async with town() as here:
        people = People(here)
        await people.apply(inputs=NEEDED)
        await people.come("alice")
        here.gateway()
        here.reconciler().begin()
        await asyncio.sleep(5)
        forged = PrivateKey(b"f" * 32)
        forged.public.id = KEY.public.id
        await fill_in(here, API_KEY=SECRET, key=forged)
        await asyncio.sleep(30)
        assert not here.machine.containers("sim")
        assert reasons(here)[ConditionType.READY] == "InputUnreadable"
        await fill_in(here, API_KEY=SECRET)
        await until_peace(here)
        assert environment(box(here)) == {"API_KEY": SECRET}


async def test_values_go_with_their_user_and_are_not_for_who_comes_next_by_the_name() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", inputs=INPUTS)
        await fill_in(here, MODEL="large", API_KEY=SECRET)
        await until_peace(here)
        uid = user(here).uid
        await people.leave("alice")
        while here.all(UserContainer):
            await asyncio.sleep(1)
        assert here.all(UserInputs) == []
        await people.come("alice")
        await until_peace(here)
        assert user(here).uid != uid
        assert environment(box(here)) == {}


async def filling_in(here: Town, people: People) -> None:
    """alice lives, then fills something in while nobody reconciles."""
    await people.apply(inputs=INPUTS)
    await people.come("alice")
    slot = here.reconciler()
    slot.begin()
    await until_peace(here, PEACE_S)
    await slot.end()
    await fill_in(here, API_KEY=SECRET)


def one_of_each_with_the_value(here: Town) -> None:
    one_of_each(here)
    assert environment(box(here)) == {"API_KEY": SECRET}
    [claim] = here.disk.seats.values()
    assert claim is not None and claim.values


@every_way
async def test_a_death_anywhere_loses_no_value(how: How) -> None:
    await every_death(filling_in, one_of_each_with_the_value, how)
