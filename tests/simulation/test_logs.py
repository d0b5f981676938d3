"""The logs that people look at: read while they look, whatever the engine and the store do meanwhile."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.controllers.logs import READ_EVERY_S, READ_S_MAX, READS_AT_ONCE_MAX, VIEWS_MAX
from state.kinds.incarnation import Incarnation
from state.kinds.log_view import LOG_BYTES_MAX, LogView, LogViewSpec, LogViewStatus
from state.kinds.request import Verb
from state.kinds.resource import Metadata
from state.kinds.user_container import Power, UserContainer
from state.store.port import Tx
from tests.simulation.peace import until_peace
from tests.simulation.test_scenarios import box, container_name, settled, user
from tests.simulation.town import Town, town

A_WHILE_S = READ_EVERY_S + 1


async def look(here: Town, name: str = "alice", *, for_s: float = 600.0) -> None:
    """What a gateway writes for whoever looks, the first time and again."""
    uid = user(here, name).uid

    def want(tx: Tx) -> None:
        spec = LogViewSpec(user_container=uid, wanted_until=tx.now + timedelta(seconds=for_s))
        standing = tx.get(LogView, name)
        if standing is None:
            tx.create(LogView(metadata=Metadata(name=name), spec=spec))
        else:
            tx.update_spec(standing.replaced(spec=spec))

    await here.write(want)


def view(here: Town, name: str = "alice") -> LogView | None:
    return next((one for one in here.all(LogView) if one.name == name), None)


def seen(here: Town, name: str = "alice") -> LogViewStatus:
    found = view(here, name)
    assert found is not None, f"somebody looks at the log of {name}"
    return found.status


async def test_a_log_is_read_while_somebody_looks_and_forgotten_then() -> None:
    async with town() as here:
        await settled(here, "alice", "bob")
        box(here).printed = "hello\n"
        await asyncio.sleep(A_WHILE_S)
        assert view(here) is None, "nobody looks"
        await look(here, for_s=20)
        await asyncio.sleep(0.5)
        status = seen(here)
        assert (status.text, status.incarnation) == ("hello", user(here).status.incarnation)
        assert status.read_at is not None
        assert view(here, "bob") is None
        box(here).printed += "\x1b[31mworld\x1b[0m\n"
        await asyncio.sleep(A_WHILE_S)
        assert seen(here).text == "hello\nworld"
        await asyncio.sleep(20)
        assert view(here) is None
        before = here.rows.writes_count
        await asyncio.sleep(30)
        assert here.rows.writes_count - before < 30, "and nothing more is written for it"


async def test_no_log_is_read_but_of_ones_own_container() -> None:
    """A gateway that was taken over may write any id into the record."""
    async with town() as here:
        await settled(here, "alice", "bob")
        box(here, "bob").printed = "bob's\n"
        bobs = box(here, "bob").shown.id

        def forge(tx: Tx) -> None:
            [record] = [one for one in tx.list(Incarnation) if one.name == user(here).status.incarnation]
            tx.update_status(record.replaced(status=record.status.model_copy(update={"container_id": bobs})))

        await here.write(forge)
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        assert (seen(here).text, seen(here).message) == ("", "")


async def test_what_does_not_change_is_written_only_for_whoever_asks_again() -> None:
    async with town() as here:
        await settled(here, "alice")
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        found = view(here)
        assert found is not None
        await asyncio.sleep(60)
        assert view(here) == found
        await look(here, for_s=700)
        await asyncio.sleep(A_WHILE_S)
        again = view(here)
        assert again is not None
        assert again.status.observed_generation == again.metadata.generation == 2
        assert again.status.read_at is not None
        assert found.status.read_at is not None
        assert again.status.read_at > found.status.read_at


async def test_a_log_of_any_size_stays_within_its_bounds() -> None:
    async with town() as here:
        await settled(here, "alice")
        box(here).printed = "\x00" + "é" * LOG_BYTES_MAX + "".join(f"\nline {n}" for n in range(10_000))
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        text = seen(here).text
        assert len(text.encode()) <= LOG_BYTES_MAX
        assert text.startswith("line 9500\n")
        assert text.endswith("\nline 9999")


async def test_an_engine_that_hangs_leaves_the_last_words_and_holds_up_nobody() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice", "bob")
        box(here).printed = "hello\n"
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        here.weather.hangs = 1.0
        tasks = len(asyncio.all_tasks())
        await asyncio.sleep(READ_S_MAX + A_WHILE_S)
        assert seen(here).text == "hello"
        assert "did not answer" in seen(here).message
        await asyncio.sleep(600)
        assert len(asyncio.all_tasks()) < tasks + 30
        here.weather.clear()
        await look(here)
        await until_peace(here)
        await asyncio.sleep(5 * READ_S_MAX)
        assert (seen(here).text, seen(here).message) == ("hello", "")
        await people.leave("bob")
        await until_peace(here)


async def test_logs_that_hang_hide_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with town() as here:
        _, slot = await settled(here, *(f"user-{number}" for number in range(READS_AT_ONCE_MAX + 2)))
        box(here, last := f"user-{READS_AT_ONCE_MAX + 1}").printed = "hello\n"
        assert slot.operator is not None
        engine, well = slot.operator.hands.engine, box(here, last).shown.id
        read = engine.logs

        async def read_or_hang(container_id: str, lines_max: int) -> str:
            if container_id != well:
                await asyncio.Event().wait()
            return await read(container_id, lines_max)

        monkeypatch.setattr(engine, "logs", read_or_hang)
        await asyncio.gather(*(look(here, one.name) for one in here.all(UserContainer)))
        await asyncio.sleep(60)
        assert seen(here, last).text == "hello"


async def test_an_engine_that_is_down_is_no_empty_log() -> None:
    async with town() as here:
        await settled(here, "alice")
        box(here).printed = "hello\n"
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        here.machine.down = "connection refused"
        here.machine.cut_events()
        await asyncio.sleep(10)
        assert (seen(here).text, seen(here).message) == ("hello", "connection refused")
        here.machine.down = ""
        await asyncio.sleep(10)
        assert (seen(here).text, seen(here).message) == ("hello", "")


async def test_a_new_container_begins_a_new_log_and_none_has_none() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        box(here).printed = "of the first\n"
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        first = seen(here).incarnation
        await people.ask("alice", Verb.RESTART)
        await asyncio.sleep(1)
        await until_peace(here)
        box(here).printed = "of the second\n"
        await asyncio.sleep(A_WHILE_S)
        assert seen(here).text == "of the second"
        assert seen(here).incarnation not in ("", first)
        await people.set_power("alice", Power.STOPPED)
        await until_peace(here)
        await asyncio.sleep(20)
        assert (seen(here).text, seen(here).incarnation, seen(here).message) == ("", "", "")


async def test_whoever_is_deleted_takes_the_log_along_also_where_the_name_is_taken_again() -> None:
    async with town() as here:
        people, _ = await settled(here, "alice")
        box(here).printed = "a secret\n"
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        await people.leave("alice")
        await until_peace(here)
        assert not here.all(UserContainer)
        assert view(here) is None
        await people.come("alice", "mallory")
        await until_peace(here)
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        assert "a secret" not in seen(here).text


async def test_a_view_of_nobodys_container_is_taken_away_unread() -> None:
    async with town() as here:
        await settled(here, "alice")
        until = here.loop.now() + timedelta(hours=1)
        stale = LogView(
            metadata=Metadata(name="alice"), spec=LogViewSpec(user_container="uid-gone", wanted_until=until)
        )
        await here.write(lambda tx: tx.create(stale))
        await asyncio.sleep(A_WHILE_S)
        assert view(here) is None


async def test_a_reconciler_that_loses_the_lead_reads_no_more_and_its_successor_goes_on() -> None:
    async with town() as here:
        _, slot = await settled(here, "alice")
        box(here).printed = "one\n"
        await look(here, for_s=10_000)
        await asyncio.sleep(A_WHILE_S)
        second = here.reconciler()
        second.begin()
        slot.restart_s = 10_000.0
        slot.process.kill()
        box(here).printed = "two\n"
        await asyncio.sleep(5)
        assert seen(here).text == "one", "nobody leads yet"
        await asyncio.sleep(30)
        assert seen(here).text == "two"


async def test_what_an_outdated_reconciler_read_is_not_written() -> None:
    async with town() as here:
        _, slot = await settled(here, "alice")
        box(here).printed = "one\n"
        await look(here, for_s=10_000)
        await asyncio.sleep(A_WHILE_S)
        slot.restart_s = 10_000.0
        leader = here.rows.leader()
        here.rows.put_leader(replace(leader, holder="another", epoch=leader.epoch + 1))
        here.rows.commit()
        box(here).printed = "two\n"
        await asyncio.sleep(20)
        assert seen(here).text == "one"


async def test_last_words_are_as_readable_as_a_log() -> None:
    async with town() as here:
        await settled(here, "alice")
        box(here).printed = "\x1b[31mbad\x00 news\x1b[0m\n"
        here.machine.kill(container_name(here))
        await until_peace(here)
        ended = user(here).status.last_termination
        assert ended is not None
        assert ended.log_tail == "bad news"


async def test_a_store_that_is_locked_is_written_to_once_it_is_not() -> None:
    async with town() as here:
        await settled(here, "alice")
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        here.weather.is_store_locked = True
        box(here).printed = "meanwhile\n"
        await asyncio.sleep(60)
        here.weather.clear()
        await look(here)
        await until_peace(here)
        await asyncio.sleep(30)
        assert seen(here).text == "meanwhile"


async def test_who_looks_beyond_the_limit_is_told_and_read_once_there_is_room() -> None:
    async with town() as here:
        await settled(here, "alice")
        box(here).printed = "hello\n"
        uid, first_until = user(here).uid, here.loop.now() + timedelta(seconds=30)

        def crowd(tx: Tx) -> None:
            for number in range(VIEWS_MAX):
                spec = LogViewSpec(user_container=uid, wanted_until=first_until)
                tx.create(LogView(metadata=Metadata(name=f"a{number}"), spec=spec))

        await here.write(crowd)
        await look(here)
        await asyncio.sleep(A_WHILE_S)
        assert str(VIEWS_MAX) in seen(here).message
        assert seen(here).read_at is None
        await asyncio.sleep(40)
        assert (seen(here).text, seen(here).message) == ("hello", "")
        assert len(here.all(LogView)) == 1
