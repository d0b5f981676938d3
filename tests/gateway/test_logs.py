"""The log of one's own container: a page, its events and the API; the tests play the reconciler."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from gateway.log_views import LOGS_MAX, RENEW_EVERY_S, WANTED_S, LogViews
from state.kinds.log_view import LogView, LogViewSpec, LogViewStatus
from state.kinds.resource import Metadata
from state.kinds.user_container import Termination, UserContainer
from state.store.errors import Unavailable
from state.store.port import Tx
from tests.gateway.conftest import Town, one_worker
from tests.gateway.rig import PATIENCE_S, Rig, bearer, until, until_true
from tests.gateway.test_homes import HTML
from tests.gateway.test_pages import csrf_of, post

ALICE = "app:shop.alice"
POLL_S = 0.02


@dataclass
class Reader:
    """The reconciler, as far as logs go: answers every wish with what a container printed."""

    rig: Rig
    printed: dict[str, str] = field(default_factory=dict)
    message: str = ""
    incarnation: str = "incarnation-1"
    is_silent: bool = False
    generations: dict[str, int] = field(default_factory=dict)  # of the wishes that were seen

    async def run(self) -> None:
        while True:
            if not self.is_silent:
                await self.rig.write(self._read)
            await asyncio.sleep(POLL_S)

    def _read(self, tx: Tx) -> None:
        for view in tx.list(LogView):
            self.generations[view.name] = view.metadata.generation
            text = self.printed.get(view.name, "")
            status = LogViewStatus(
                observed_generation=view.metadata.generation,
                text=text,
                incarnation=self.incarnation,
                read_at=tx.now,
                message=self.message,
            )
            if status.model_copy(update={"read_at": view.status.read_at}) != view.status:
                tx.update_status(view.replaced(status=status))


@pytest.fixture
async def reader(town: Town) -> AsyncIterator[Reader]:
    reading = Reader(town.rig)
    task = asyncio.create_task(reading.run())
    try:
        yield reading
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def log_page(rig: Rig, cookie: str, name: str = "alice") -> Any:
    return rig.request("GET", f"/-/log?name={name}", headers={**HTML, "Cookie": cookie})


def log_events(rig: Rig, cookie: str, name: str = "alice") -> Any:
    return rig.request("GET", f"/-/log/events?name={name}", headers={"Cookie": cookie})


async def shown(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The next event of a stream."""
    async with asyncio.timeout(PATIENCE_S):
        async for line in answer.content:
            if line.startswith(b"data: "):
                return dict(json.loads(line.removeprefix(b"data: ")))
    raise AssertionError("the stream ended")


async def until_shown(answer: aiohttp.ClientResponse, text: str) -> dict[str, Any]:
    while (state := await shown(answer))["text"] != text:
        pass
    return state


async def views(rig: Rig) -> list[LogView]:
    return list(await rig.read(lambda tx: tx.list(LogView)))


async def test_the_page_shows_what_the_container_printed_as_text(town: Town, reader: Reader) -> None:
    rig = town.rig
    reader.printed["alice"] = '</pre><script>alert(1)</script>\n&amp; "quoted"\nline 3'
    cookie = await rig.session(ALICE)
    async with log_page(rig, cookie) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        text = await answer.text()
    assert (
        "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;\n&amp;amp; &#34;quoted&#34;\nline 3</pre>" in text
    )
    assert "<script>alert" not in text
    assert "Log of demo" in text
    assert "Ready" in text
    assert 'href="/"' in text
    assert 'http-equiv="refresh"' in text, "it is followed without a script, too"
    [view] = await views(rig)
    assert view.name == "alice"
    left = view.spec.wanted_until - datetime.now(UTC)
    assert timedelta() < left <= timedelta(seconds=WANTED_S)


async def test_the_page_follows_what_is_printed_and_cannot_be_made_to_say_more(
    town: Town, reader: Reader
) -> None:
    rig = town.rig
    cookie = await rig.session(ALICE)
    reader.printed["alice"] = "one"
    async with log_events(rig, cookie) as answer:
        assert answer.content_type == "text/event-stream"
        state = await until_shown(answer, "one")
        assert (state["phase"], state["tone"]) == ("Ready", "good")
        assert "Read at " in state["note"]
        hostile = "one\n\nevent: state\ndata: {}\r\rid: 1\u2028<b>"
        reader.printed["alice"] = hostile
        assert await until_shown(answer, hostile)
        await rig.unroute("alice")
        while (await shown(answer))["phase"] != "Starting":
            pass
    await until(lambda: rig.followers_count == 0)


async def test_anothers_log_is_404_as_is_none_and_nothing_is_asked_for(town: Town, reader: Reader) -> None:
    rig = town.rig
    reader.printed["bob"] = "a secret"
    cookie = await rig.session(ALICE)
    for name in ("bob", "nobody", "", "..%2fbob"):
        for request in (log_page(rig, cookie, name), log_events(rig, cookie, name)):
            async with request as answer:
                assert answer.status == 404
                assert "a secret" not in await answer.text()
    for name in ("bob", "nobody"):
        path = f"/-/api/v1/containers/{name}/log"
        for headers in ({"Cookie": cookie}, bearer(town.key, "alice")):
            async with rig.request("GET", path, headers=headers) as answer:
                assert (answer.status, answer.content_type) == (404, "application/problem+json")
    assert await views(rig) == []


async def test_whoever_is_not_signed_in_sees_no_log(town: Town, reader: Reader) -> None:
    rig = town.rig
    for cookie in ("", "mcpgw=nonsense"):
        async with log_page(rig, cookie) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
        async with log_events(rig, cookie) as answer:
            assert answer.status == 403
    async with rig.request("GET", "/-/api/v1/containers/alice/log") as answer:
        assert answer.status == 401
    assert await views(rig) == []


async def test_no_page_of_another_origin_has_a_log_read(town: Town, reader: Reader) -> None:
    """To cookies a Home is one site with the gateway, and its pages load pictures from wherever they like."""
    rig = town.rig
    cookie = await rig.session(ALICE)
    loads = {"Cookie": cookie, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}
    for path in ("/-/log?name=alice", "/-/log/events?name=alice", "/-/api/v1/containers/alice/log"):
        async with rig.request("GET", path, headers={**loads, "Sec-Fetch-Dest": "image"}) as answer:
            assert (answer.status, (await answer.json(content_type=None))["reason"]) == (403, "BadOrigin")
    assert await views(rig) == []


async def test_the_events_end_with_the_session(town: Town, reader: Reader) -> None:
    rig = town.rig
    cookie = await rig.session(ALICE)
    csrf = await csrf_of(rig, cookie)
    reader.printed["alice"] = "before"
    async with log_events(rig, cookie) as answer:
        await until_shown(answer, "before")
        async with post(rig, "/signout", cookie, {"csrf": csrf}) as signed_out:
            assert signed_out.status == 303
        rig.forget_sessions()  # what another worker believes for a moment
        reader.printed["alice"] = "after"
        async with asyncio.timeout(PATIENCE_S):
            assert b"after" not in await answer.content.read()
    await until(lambda: rig.followers_count == 0)


async def test_the_events_end_with_the_container_also_where_another_takes_its_name(
    town: Town, reader: Reader
) -> None:
    rig = town.rig
    cookie = await rig.session(ALICE)
    reader.printed["alice"] = "of alice"

    def pass_on(tx: Tx) -> None:
        found = tx.get(UserContainer, "alice")
        assert found is not None
        left = tx.update_spec(found.replaced(metadata=found.metadata.model_copy(update={"finalizers": ()})))
        tx.delete(left)

    async with log_events(rig, cookie) as answer:
        await until_shown(answer, "of alice")
        await rig.write(pass_on)
        await rig.add_user("alice", "app:shop.carol")
        async with asyncio.timeout(PATIENCE_S):
            await answer.content.read()
    await rig.applied()
    async with log_page(rig, cookie) as answer:
        assert answer.status == 404
    reader.is_silent = True
    carol = await rig.session("app:shop.carol")
    async with log_page(rig, carol) as answer:
        assert "of alice" not in await answer.text(), "what is in the store is of whoever had the name before"


async def test_everybody_who_looks_costs_one_wish_and_no_write_while_it_is_fresh(
    town: Town, reader: Reader
) -> None:
    rig = town.rig
    cookie = await rig.session(ALICE)
    reader.printed["alice"] = "one"
    for _ in range(4):
        async with log_page(rig, cookie) as answer:
            assert answer.status == 200
    async with log_events(rig, cookie) as one, log_events(rig, cookie) as other:
        await until_shown(one, "one")
        await until_shown(other, "one")
    assert reader.generations == {"alice": 1}


@one_worker
async def test_a_wish_is_renewed_while_somebody_looks_and_not_afterwards(
    town: Town, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.log_views.RENEW_EVERY_S", 0.2)
    monkeypatch.setattr("gateway.log_views.READ_EVERY_S", 0.05)
    monkeypatch.setattr("gateway.log_views.KEPT_S", 0.5)
    rig = town.rig
    cookie = await rig.session(ALICE)
    async with log_events(rig, cookie) as answer:
        await shown(answer)
        await until(lambda: reader.generations.get("alice", 0) >= 4, "the wish is renewed")
    await until(lambda: not rig.worker._desk.logs._logs, "the worker forgets it")
    before = dict(reader.generations)
    await asyncio.sleep(0.6)
    assert reader.generations == before


async def test_an_app_and_a_person_read_the_log_by_the_api(town: Town, reader: Reader) -> None:
    rig = town.rig
    reader.printed["alice"] = "one\ntwo"
    cookie = await rig.session(ALICE)
    for headers in ({"Cookie": cookie}, bearer(town.key, "alice")):
        async with rig.request("GET", "/-/api/v1/containers/alice/log", headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            said = await answer.json()
        assert (said["text"], said["message"]) == ("one\ntwo", "")
        assert datetime.fromisoformat(said["readAt"]).tzinfo is not None


async def test_a_reconciler_that_is_silent_is_told_and_holds_nobody_up(
    town: Town, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.log_views.FIRST_READ_S", 0.3)
    rig = town.rig
    reader.is_silent = True
    cookie = await rig.session(ALICE)
    async with asyncio.timeout(PATIENCE_S), log_page(rig, cookie) as answer:
        assert (answer.status, "Not read yet." in await answer.text()) == (200, True)
    async with rig.request("GET", "/-/api/v1/containers/alice/log", headers={"Cookie": cookie}) as answer:
        assert await answer.json() == {
            "text": "",
            "readAt": None,
            "message": "it was not read yet; ask again",
        }


async def test_why_it_cannot_be_read_is_told_beside_what_was_read_last(town: Town, reader: Reader) -> None:
    rig = town.rig
    cookie = await rig.session(ALICE)
    reader.printed["alice"], reader.message = "one", "the engine did not answer within 4 s"
    async with log_page(rig, cookie) as answer:
        text = await answer.text()
    assert "It cannot be read now: the engine did not answer within 4 s. This was read at " in text
    assert ">one</pre>" in text


async def test_without_a_container_the_last_words_stand_there(town: Town, reader: Reader) -> None:
    rig = town.rig
    cookie = await rig.session(ALICE)
    reader.incarnation = ""
    async with log_page(rig, cookie) as answer:
        assert "There is no container now." in await answer.text()
    ended = Termination(reason="OOMKilled", at=datetime.now(UTC), log_tail="<b>the end\n")
    await rig.status("alice", last_termination=ended)
    await rig.applied()
    async with log_page(rig, cookie) as answer:
        text = await answer.text()
    assert "&lt;b&gt;the end</pre>" in text
    assert "This is how the last one ended (OOMKilled, " in text


async def test_a_log_that_is_no_longer_read_is_not_passed_off_as_the_newest(
    town: Town, reader: Reader
) -> None:
    rig = town.rig
    reader.is_silent = True
    uid = (await rig.read(lambda tx: tx.get(UserContainer, "alice"))).uid
    now = datetime.now(UTC)
    spec = LogViewSpec(user_container=uid, wanted_until=now + timedelta(seconds=WANTED_S))
    status = LogViewStatus(
        observed_generation=1, text="long ago", incarnation="i", read_at=now - timedelta(minutes=5)
    )
    await rig.write(
        lambda tx: tx.update_status(
            tx.create(LogView(metadata=Metadata(name="alice"), spec=spec)).replaced(status=status)
        )
    )
    async with log_page(rig, await rig.session(ALICE)) as answer:
        text = await answer.text()
    assert ">long ago</pre>" in text
    assert "and not since: the reconciler does not answer." in text


@one_worker
async def test_a_silent_store_is_told_and_what_was_read_stays(town: Town, reader: Reader) -> None:
    rig = town.rig
    cookie = await rig.session(ALICE)
    reader.printed["alice"] = "one"
    logs = rig.worker._desk.logs
    async with log_events(rig, cookie) as answer:
        await until_shown(answer, "one")
        store, logs._store = logs._store, _Silent()  # type: ignore[assignment]  # only what is asked of it
        state = await shown(answer)
        assert state["text"] == "one"
        assert "It cannot be read now: the store does not answer. This was read at " in state["note"]
        logs._store = store
        reader.printed["alice"] = "two"
        await until_shown(answer, "two")


@one_worker
async def test_a_log_that_was_forgotten_meanwhile_is_asked_for_anew(town: Town, reader: Reader) -> None:
    """The store or this worker was silent for longer than a wish lasts."""
    rig = town.rig
    cookie = await rig.session(ALICE)
    reader.printed["alice"] = "one"
    async with log_page(rig, cookie) as answer:
        assert ">one</pre>" in await answer.text()
    log = rig.worker._desk.logs._logs[(await views(rig))[0].spec.user_container]
    log._generation = 7  # as after a long time
    async with log_events(rig, cookie) as answer:
        await until_shown(answer, "one")
        reader.printed["alice"] = "two"
        await rig.write(lambda tx: [tx.delete(view) for view in tx.list(LogView)])
        state = await until_shown(answer, "two")
        assert "Read at " in state["note"]
        await until(lambda: log.is_read, "it counts as read")


class _Silent:
    async def read(self, _fn: object) -> None:
        raise Unavailable("locked")

    async def transact(self, _fn: object, *, actor: str) -> None:
        raise Unavailable("locked")


@one_worker
async def test_so_many_logs_are_looked_at_at_once_and_no_more(town: Town, reader: Reader) -> None:
    rig = town.rig
    logs: LogViews = rig.worker._desk.logs
    for number in range(LOGS_MAX):
        name = f"u{number}"
        await rig.add_user(name, f"app:shop.{name}")
    await rig.applied()
    cookie = await rig.session(ALICE)
    for number in range(LOGS_MAX):
        seat = rig.worker.table.seat_named(f"u{number}")
        assert seat is not None
        logs.of(seat).watched_count = 1
    async with log_page(rig, cookie) as answer:
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    for log in logs._logs.values():
        log.watched_count = 0

    async def is_shown() -> bool:
        async with log_page(rig, cookie) as answer:
            return bool(answer.status == 200)

    await until_true(is_shown, "there is room again")


def test_a_wish_outlives_some_renewals_that_fail() -> None:
    assert WANTED_S >= 2 * RENEW_EVERY_S
