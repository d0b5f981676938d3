"""What is under way ends with what let it in, at either origin, and with nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from gateway.auth.oauth.tokens import TOKEN_S
from gateway.pages.events import STREAMS_PER_USER_MAX
from gateway.server.cycle import Cycle
from gateway.streams import OUTLIVES_S, WITHDRAWN_CODE
from state.kinds.access_policy import Role, Rule
from state.kinds.account import Decision
from state.kinds.app import App, AppLimits, key_sha256, mint_key
from state.store.port import Tx
from tests.gateway.conftest import ALICE_HOME, Town
from tests.gateway.rig import Rig, bearer, container, until
from tests.gateway.sign_in.browser import Browser, Program
from tests.gateway.sign_in.conftest import ANN_USER, BOB_USER, Place
from tests.gateway.sign_in.test_consent import connected
from tests.gateway.sign_in.test_tokens import connected_for
from tests.gateway.test_homes import enter, host

SOON_S = 5.0
HOME = ALICE_HOME


class Opened:
    """Streams of Ann's, of every kind; each is a task that returns how it ended."""

    def __init__(self, place: Place, stack: AsyncExitStack) -> None:
        self.place = place
        self.rig = place.rig
        self._stack = stack
        self.endings: dict[str, asyncio.Task[str]] = {}
        self.program: Program | None = None
        self.tokens: dict[str, Any] = {}

    async def connect(self) -> None:
        self.program, self.tokens = await connected(self.place)

    async def calls(self) -> None:
        """With a token: a GET stream, a POST that is answered at length, and a WebSocket."""
        await self.connect()
        headers = bearer(self.tokens["access_token"])
        answer = await self._stack.enter_async_context(
            self.rig.request("GET", "/mcp/stream", headers=headers)
        )
        await self._begun("get", answer, b"data: begun")
        await self.post_on_a_kept_connection()
        socket = await self._socket("/mcp/ws", {"Host": f"localhost:{self.rig.port}", **headers})
        self._follow("mcp socket", _socket_ending(socket))

    async def post_on_a_kept_connection(self) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        client = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        headers = {"Host": f"localhost:{self.rig.port}", **bearer(self.tokens["access_token"])}
        for _ in range(2):  # the first dials
            async with client.post(self.rig.url("/mcp"), headers=headers, data=b"{}") as answer:
                assert answer.status == 200
                await answer.read()
        asking = client.post(self.rig.url("/mcp/stream"), headers=headers, data=b"{}")
        answer = await self._stack.enter_async_context(asking)
        await self._begun("post", answer, b"data: begun")
        assert any(isinstance(stream, Cycle) for stream in running(self.rig)), "it went the direct way"

    async def pages(self) -> None:
        """With a session: a Home's WebSocket, and what follows at both origins."""
        await self.rig.give_home("ann", HOME)
        await self.rig.route("ann", self.place.ann, HOME)
        await self.rig.applied()
        cookie = await enter(self.rig, ANN_USER, HOME)
        own = {"Host": host(self.rig, HOME), "Cookie": cookie, "Origin": f"http://{host(self.rig, HOME)}"}
        self._follow("home socket", _socket_ending(await self._socket("/ws", own)))
        following = self.rig.request(
            "GET", "/-/events", host=host(self.rig, HOME), headers={"Cookie": cookie}
        )
        await self._begun("home events", await self._stack.enter_async_context(following), b"event: state")
        session = await self.rig.session(ANN_USER)
        following = self.rig.request("GET", "/-/events", headers={"Cookie": session})
        await self._begun("events", await self._stack.enter_async_context(following), b"event: state")

    async def by_link(self) -> None:
        """A stranger's WebSocket, by a hosted link."""
        socket = await self._socket(f"/dpage/{HOME}-1", {"Host": host(self.rig, HOME)})
        self._follow("link", _socket_ending(socket))

    async def all_end(self) -> dict[str, str]:
        async with asyncio.timeout(SOON_S):
            return {name: await ending for name, ending in self.endings.items()}

    @property
    def ended(self) -> list[str]:
        return [name for name, ending in self.endings.items() if ending.done()]

    async def close(self) -> None:
        for ending in self.endings.values():
            ending.cancel()
        await asyncio.gather(*self.endings.values(), return_exceptions=True)

    async def _begun(self, name: str, answer: aiohttp.ClientResponse, line: bytes) -> None:
        assert answer.status == 200, await answer.text()
        async with asyncio.timeout(SOON_S):
            assert line in await answer.content.readline()
        self._follow(name, _answer_ending(answer))

    async def _socket(self, path: str, headers: dict[str, str]) -> aiohttp.ClientWebSocketResponse:
        connecting = self.rig.client.ws_connect(f"ws://127.0.0.1:{self.rig.port}{path}", headers=headers)
        socket = await self._stack.enter_async_context(connecting)
        await socket.send_str("hello")
        assert await socket.receive_str() == "ann: hello"
        return socket

    def _follow(self, name: str, ending: Any) -> None:
        self.endings[name] = asyncio.create_task(ending)


async def _answer_ending(answer: aiohttp.ClientResponse) -> str:
    try:
        rest = await answer.content.read()
    except aiohttp.ClientPayloadError:
        return "cut"
    return "whole" if b"ended" in rest else "ended"


async def _socket_ending(socket: aiohttp.ClientWebSocketResponse) -> str:
    while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
        pass
    return str(message.data)


def running(rig: Rig, user: str = ANN_USER) -> list[Any]:
    return [s for worker in rig.workers for s in worker.table.streams.holder(user).running]


@pytest.fixture
async def opened(place: Place) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        opened = Opened(place, stack)
        stack.push_async_callback(opened.close)
        yield opened


async def ban(rig: Rig) -> None:
    await rig.workers[0]._desk.accounts.decide(ANN_USER, Decision.BANNED, "test")


async def sign_out(rig: Rig) -> None:
    desk = rig.workers[-1]._desk
    await desk.accounts.sign_out(ANN_USER)


async def shut_out(rig: Rig) -> None:
    await rig.add_policy(Rule(users=(ANN_USER,), allow=False), name="a-first")


WITHDRAWALS = pytest.mark.parametrize("withdraw", [ban, sign_out, shut_out])


@pytest.mark.negative(66)
@WITHDRAWALS
async def test_what_a_token_opened_ends_when_its_person_may_no_longer(
    opened: Opened, withdraw: Callable[[Rig], Awaitable[None]]
) -> None:
    await opened.calls()
    await withdraw(opened.rig)
    code = str(WITHDRAWN_CODE)
    assert await opened.all_end() == {"get": "cut", "post": "cut", "mcp socket": code}
    await until(opened.place.ann.disconnects.is_set, "the container hears of it")
    assert not running(opened.rig)


@pytest.mark.negative(66)
@WITHDRAWALS
async def test_what_a_session_opened_ends_when_its_person_may_no_longer(
    opened: Opened, withdraw: Callable[[Rig], Awaitable[None]]
) -> None:
    await opened.pages()
    await withdraw(opened.rig)
    ended = {"home socket": str(WITHDRAWN_CODE), "home events": "ended", "events": "ended"}
    assert await opened.all_end() == ended
    await until(lambda: opened.rig.followers_count == 0)


async def test_a_grant_revoked_ends_what_was_opened_by_it_and_nothing_else(opened: Opened) -> None:
    await opened.pages()
    pages = set(opened.endings)
    await opened.calls()
    assert opened.program is not None
    fields = {"token": opened.tokens["refresh_token"], "client_id": opened.program.client_id}
    assert (await opened.program.post("/revoke", fields))[0] == 200
    await until(lambda: {"get", "post", "mcp socket"} == set(opened.ended), "the end of what it opened")
    assert pages.isdisjoint(opened.ended)


async def test_signing_in_again_and_others_affairs_end_nothing(opened: Opened) -> None:
    await opened.pages()
    await opened.calls()
    rig = opened.rig
    await rig.signed_in(ANN_USER)
    await rig.signed_in(BOB_USER)
    await rig.workers[0]._desk.accounts.decide(BOB_USER, Decision.BANNED, "test")
    await rig.add_policy(Rule(users=(ANN_USER,)), name="a-first")
    await connected(opened.place)
    await asyncio.sleep(0.3)
    assert opened.ended == []
    opened.place.ann.release.set()
    assert await opened.endings["get"] == await opened.endings["post"] == "whole"


async def test_what_ended_by_itself_is_kept_nowhere(opened: Opened) -> None:
    await opened.calls()
    await until(lambda: len(running(opened.rig)) == 3)
    opened.place.ann.release.set()
    assert await opened.endings["get"] == await opened.endings["post"] == "whole"
    await until(lambda: len(running(opened.rig)) == 1, "the socket alone is under way")


async def test_an_admin_who_is_none_any_more_is_cut_off_from_others(opened: Opened) -> None:
    place, rig = opened.place, opened.rig
    async with container("bob") as bobs:
        await rig.add_user("bob", BOB_USER)
        await rig.route("bob", bobs)
        admin = await rig.add_policy(Rule(users=(ANN_USER,), role=Role.ADMIN), name="a-first")
        path = f"/u/{BOB_USER}/mcp"
        _, tokens = await connected_for(place, path)
        headers = bearer(tokens["access_token"])
        async with rig.request("GET", f"{path}/stream", headers=headers) as answer:
            assert b"begun" in await answer.content.readline()
            await rig.write(lambda tx: tx.delete(admin))
            async with asyncio.timeout(SOON_S):
                assert await _answer_ending(answer) == "cut"


async def test_a_session_closed_elsewhere_ends_a_homes_socket_at_the_next_round(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened.pages()

    async def nobody(kind: str, key: str) -> None:
        del kind, key

    monkeypatch.setattr(opened.rig.tickets, "get", nobody)
    opened.rig.forget_sessions()
    for worker in opened.rig.workers:
        worker.table.streams._add_due()
    async with asyncio.timeout(SOON_S):
        assert await opened.endings["home socket"] == str(WITHDRAWN_CODE)


async def test_what_outlived_its_token_for_long_is_cut(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened.calls()
    for past_s, ended_count in ((TOKEN_S + 60, 0), (TOKEN_S + OUTLIVES_S + 60, 3)):
        later = time.time() + past_s
        with monkeypatch.context() as clock:
            clock.setattr("gateway.streams.time.time", lambda later=later: later)
            for worker in opened.rig.workers:
                clock.setattr(worker._desk.oauth.tokens, "_now", lambda later=later: later)
                worker.table.streams._add_due()
            await asyncio.sleep(0.3)
            assert len(opened.ended) == ended_count


async def test_links_of_who_is_banned_are_gone_and_what_was_opened_by_one_ends(opened: Opened) -> None:
    await opened.pages()
    rig = opened.rig
    await opened.by_link()
    paths = (f"/dpage/{HOME}-1", "/static/x")
    for path in paths:
        async with rig.request("GET", path, host=host(rig, HOME)) as answer:
            assert answer.status == 200
    await rig.workers[0]._desk.accounts.decide(ANN_USER, Decision.BANNED, "test")
    assert (await opened.all_end())["link"] == str(WITHDRAWN_CODE)
    asked = len(opened.place.ann.requests)
    for path in paths:
        async with rig.request("GET", path, host=host(rig, HOME)) as answer:
            assert answer.status == 404
    assert len(opened.place.ann.requests) == asked


async def test_links_of_who_has_but_to_sign_in_again_stay_and_of_who_was_deleted_go(opened: Opened) -> None:
    await opened.pages()
    rig = opened.rig
    await rig.add_policy(Rule(provider="github"), name="a-first", reverify_after=0.001)
    async with rig.request("GET", f"/dpage/{HOME}-1", host=host(rig, HOME)) as answer:
        assert answer.status == 200
    await rig.workers[0]._desk.accounts.forget(ANN_USER)
    async with rig.request("GET", f"/dpage/{HOME}-1", host=host(rig, HOME)) as answer:
        assert answer.status == 404


async def test_a_stream_of_an_app_ends_with_its_key_and_with_no_other_change_of_it(town: Town) -> None:
    rig = town.rig

    def change(**parts: Any) -> Callable[[Tx], None]:
        def write(tx: Tx) -> None:
            app = tx.get(App, "shop")
            assert app is not None
            tx.update_spec(app.replaced(spec=app.spec.model_copy(update=parts)))

        return write

    async with rig.request("GET", "/mcp/stream", headers=bearer(town.key, "alice")) as answer:
        assert b"begun" in await answer.content.readline()
        ending = asyncio.create_task(_answer_ending(answer))
        await rig.write(change(limits=AppLimits(requests_per_minute=60)))
        await rig.applied()
        await asyncio.sleep(0.2)
        assert not ending.done()
        await rig.write(change(key_sha256=key_sha256(mint_key())))
        async with asyncio.timeout(SOON_S):
            assert await ending == "cut"


async def test_who_has_no_seat_follows_so_many_pages_and_no_more(place: Place) -> None:
    browser = Browser(place.rig)
    place.github.visitor = "bob"
    await browser.sign_in("github")
    cookies = browser.cookies[f"localhost:{place.rig.port}"]
    headers = {"Cookie": f"mcpgw={cookies['mcpgw']}"}
    async with AsyncExitStack() as stack:
        statuses = []
        for _ in range(STREAMS_PER_USER_MAX * len(place.rig.workers) + 1):
            request = place.rig.request("GET", "/-/events", headers=headers)
            answer = await stack.enter_async_context(request)
            statuses.append(answer.status)
    assert 503 in statuses
    assert statuses[:STREAMS_PER_USER_MAX] == [200] * STREAMS_PER_USER_MAX
