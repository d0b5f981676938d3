"""What calls say, from the store into their user's files, through deaths and the loss of almost all."""

import asyncio
import json
from typing import Any

from state.kinds.home import Home
from state.kinds.resource import ConditionType
from state.kinds.user_container import UserContainer
from state.kinds.user_headers import UserHeaders, UserHeadersSpec, new_user_headers
from state.store.memory import MemoryRows
from state.store.port import Tx
from tests.simulation.peace import until_peace
from tests.simulation.people import People
from tests.simulation.test_crash_everywhere import PEACE_S, How, every_death, every_way, one_of_each
from tests.simulation.test_scenarios import box, condition, copy_of, restored, settled, user
from tests.simulation.town import Town, town

FILES: list[dict[str, Any]] = [
    {
        "path": "a.json",
        "headers": {"x-a": {"pattern": "[a-z]+"}},
        "contents": [{"content": {"a": "{x-a}"}}],
    }
]
SPEC: dict[str, Any] = {"data": {"mountPath": "/data"}, "files": FILES}


async def say(here: Town, value: str, name: str = "alice") -> int:
    """As the gateway does; the generation that stands then."""

    def write(tx: Tx) -> int:
        owner, kept = tx.get(UserContainer, name), tx.get(UserHeaders, name)
        assert owner is not None
        values = {"x-a": value}
        if kept is None:
            return tx.create(new_user_headers(owner, values)).metadata.generation
        spec = UserHeadersSpec(user_container=owner.uid, values=values)
        return tx.update_spec(kept.replaced(spec=spec)).metadata.generation

    generation: int = await here.write(write)
    return generation


def said(here: Town) -> str:
    """What the file of the one Home says; "" while there is none."""
    [files] = here.disk.files.values() or [{}]
    return str(json.loads(files["a.json"])["a"]) if "a.json" in files else ""


async def test_what_is_said_is_in_the_file_and_the_container_runs_on() -> None:
    async with town() as here:
        await settled(here, "alice", **SPEC)
        before = box(here).shown.id
        generation = await say(here, "one")
        await until_peace(here)
        assert (said(here), user(here).status.files.headers_generation) == ("one", generation)
        await say(here, "two")
        await until_peace(here)
        assert (said(here), box(here).shown.id) == ("two", before)


async def test_what_is_said_first_is_there_before_the_container_starts() -> None:
    async with town() as here:
        people = People(here)
        await people.apply(**SPEC)
        await people.come("alice")
        await say(here, "one")
        here.gateway()
        here.reconciler().begin()
        while not here.machine.containers("sim"):
            await asyncio.sleep(0.01)
        assert said(here) == "one"
        await until_peace(here)


async def test_news_without_end_are_written_at_their_pace_and_the_last_one_at_last() -> None:
    async with town() as here:
        await settled(here, "alice", **SPEC)
        written: set[str] = set()
        for number in range(100):
            await say(here, "abcdefghij"[number // 10] + "abcdefghij"[number % 10])
            await asyncio.sleep(0.1)
            written.add(said(here))
        await until_peace(here)
        assert said(here) == "jj"
        assert len(written) <= 12, "ten seconds of it"


async def test_a_lost_store_loses_no_file() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", **SPEC)
        await say(here, "one")
        await until_peace(here)
        before = box(here).shown.id
        await restored(here, copy_of(MemoryRows(here.loop.time)))
        await people.apply(**SPEC)
        await until_peace(here)
        assert not here.all(UserHeaders)
        assert (said(here), box(here).shown.id) == ("one", before)


async def test_a_full_disk_is_told_makes_nobody_unready_and_is_made_up_for() -> None:
    async with town() as here:
        await settled(here, "alice", **SPEC)
        here.weather.is_disk_full = True
        await say(here, "one")
        await asyncio.sleep(10)
        degraded = condition(here, ConditionType.DEGRADED)
        assert (degraded.reason, degraded.message) == ("FileUnwritten", "the disk is full")
        assert user(here).status.files.headers_generation == 0, "whoever waits for it is not told otherwise"
        assert condition(here, ConditionType.READY).is_true
        here.weather.is_disk_full = False
        await asyncio.sleep(90)
        assert said(here) == "one"
        assert not condition(here, ConditionType.DEGRADED).is_true


async def test_what_was_said_goes_with_its_user() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", **SPEC)
        await say(here, "one")
        await until_peace(here)
        await people.leave("alice")
        while here.all(UserContainer):
            await asyncio.sleep(1)
        assert here.all(UserHeaders) == []
        await people.come("alice")
        await until_peace(here)
        homes = {one.name for one in here.all(Home) if one.status.tombstoned_at is None}
        assert all("a.json" not in here.disk.files.get(home, {}) for home in homes)


async def changing_their_mind(here: Town, people: People) -> None:
    """alice says something before she has a container, and something else while nobody reconciles."""
    await people.apply(**SPEC)
    await people.come("alice")
    await say(here, "one")
    slot = here.reconciler()
    slot.begin()
    await until_peace(here, PEACE_S)
    await slot.end()
    await say(here, "two")


def one_of_each_with_the_file(here: Town) -> None:
    one_of_each(here)
    assert said(here) == "two"
    assert user(here).status.files.headers_generation == 2


@every_way
async def test_a_death_anywhere_loses_no_word(how: How) -> None:
    await every_death(changing_their_mind, one_of_each_with_the_file, how)
