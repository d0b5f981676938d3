"""The person of the tests does as a browser and its user would, and says so when lost."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from tests.clients.forms import Page
from tests.clients.robot import LostError, Person

FORM = """<title>Sign in</title>
<form method="post" action="/in?x=1">
<input type="hidden" name="csrf" value="7"><input name="login">
<input type="checkbox" name="off" value="1"><input type="checkbox" name="on" value="1" checked>
<button name="answer" value="no">No</button>
<button name="answer" value="yes">Yes, <b>please</b></button>
</form>
<a href="elsewhere">Somewhere else</a>"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[dict[str, Handler]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handlers: dict[str, Handler]) -> str:
        app = web.Application()
        for path, handler in handlers.items():
            app.router.add_route("*", path, handler)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def page(text: str = FORM, **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html", headers=headers)

    return answer


def to(where: str, status: int = 302, set_cookie: str = "") -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": where, "Set-Cookie": set_cookie})

    return answer


async def tells(request: web.Request) -> web.Response:
    fields = "&".join(f"{name}={value}" for name, value in sorted((await request.post()).items()))
    headers = [request.headers.get(name, "-") for name in ("Origin", "Sec-Fetch-Site", "Cookie")]
    return web.Response(text=" ".join([request.method, request.path_qs, fields or "-", *headers]))


def test_a_page_s_forms_buttons_and_links_are_found() -> None:
    found = Page(FORM)
    assert [form.fields for form in found.forms] == [{"csrf": "7", "login": "", "on": "1"}]
    assert [button.label for button in found.pressable] == ["No", "Yes, please", "Somewhere else"]


async def test_a_form_is_sent_with_its_hidden_fields_what_is_known_and_the_button(serve: Serve) -> None:
    origin = await serve({"/": page(), "/in": tells})
    async with Person("answer=yes", fills={"login": "alice", "unknown": "x"}) as person:
        seen = await person.visit(origin)
    assert seen.text == f"POST /in?x=1 answer=yes&csrf=7&login=alice&on=1 {origin} same-origin -"


@pytest.mark.parametrize("wish", ["somewhere ELSE", "Somewhere"])
async def test_links_are_followed_by_their_words(serve: Serve, wish: str) -> None:
    origin = await serve({"/": page(), "/elsewhere": tells})
    async with Person(wish) as person:
        assert (await person.visit(origin)).text.startswith("GET /elsewhere -")


async def test_cookies_come_back_to_their_host_and_redirects_are_followed_to_the_client(serve: Serve) -> None:
    client = await serve({"/callback": tells})
    cookie = {"Set-Cookie": "__Host-a=1; Path=/; Secure; HttpOnly"}
    origin = await serve({"/": page(**cookie), "/in": to(f"{client}/callback?code=1", 303)})
    async with Person("answer=yes") as person:
        seen = await person.visit(f"{origin}/?redirect_uri={client}/callback")
    assert seen.text == "GET /callback?code=1 - - same-site __Host-a=1"
    assert len(seen.way) == 3


async def test_cookies_end_when_a_server_ends_them(serve: Serve) -> None:
    gone = "a=; Path=/; Max-Age=0"
    origin = await serve(
        {"/": to("/2", set_cookie="a=1; Path=/"), "/2": to("/3", set_cookie=gone), "/3": tells}
    )
    async with Person() as person:
        assert (await person.visit(origin)).text.endswith(" -")


async def test_a_cookie_that_browsers_refuse_fails_the_test(serve: Serve) -> None:
    origin = await serve({"/": page(**{"Set-Cookie": "__Host-a=1; Path=/x; Secure"})})
    async with Person() as person:
        with pytest.raises(AssertionError, match="does not take __Host-a"):
            await person.visit(origin)


async def test_whoever_is_asked_the_same_again_is_lost(serve: Serve) -> None:
    origin = await serve({"/": page(), "/in": to("/")})
    async with Person("answer=yes") as person:
        with pytest.raises(LostError, match="asked again after pressing 'answer=yes'"):
            await person.visit(origin)


async def test_a_loop_of_redirects_ends(serve: Serve) -> None:
    origin = await serve({"/": to("/")})
    async with Person() as person:
        with pytest.raises(LostError, match="no end after 30 steps"):
            await person.visit(origin)


async def test_whoever_finds_nothing_to_press_says_what_the_page_says(serve: Serve) -> None:
    origin = await serve({"/": page("<title>t</title><h1>Not allowed</h1>")})
    async with Person("answer=yes") as person:
        with pytest.raises(LostError, match=r"nothing to press at .* \(200\): Not allowed"):
            await person.visit(origin, until="http://127.0.0.1:1/")
