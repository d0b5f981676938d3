"""Two people, a browser that knows both of them, and containers whose pages are hostile.

Ann, who is an admin, sits at the browser. She is signed in at the gateway, and in her own Home; of Bob the
browser holds the session of his Home, and nothing else. Either container's pages run `hostile.js`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Error, Page

from gateway.asked import Asked
from gateway.auth.sessions import key_of
from gateway.head import cookies, read_head
from state.kinds.access_policy import AccessPolicy, Role, Rule
from state.kinds.account import Account
from state.kinds.home import Home
from state.kinds.request import Request
from state.kinds.user_container import UserContainer
from state.store.port import Tx
from tests.e2e.browser import PATIENCE_MS, chromium
from tests.gateway.conftest import ALICE_HOME, BOB_HOME
from tests.gateway.rig import Container, Rig, container, gateway, loopback
from tests.tls import tls_in_front

ANN, BOB = "github:1", "github:2"
ANN_HOME = ALICE_HOME
SCRIPT = (Path(__file__).parent / "hostile.js").read_text()
HOSTILE_PATH = "/live/hostile"
WORKER_PATH = "/live/worker.js"
# The names of the tests are this machine's; nobody vouches for its certificate.
SWITCHES = ("--host-resolver-rules=MAP *.example 127.0.0.1", "--ignore-certificate-errors")
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
ERROR_PAGE = 'interrupted by another navigation to "chrome-error:'
GOES_MAX = 5
KEPT = (Account, UserContainer, Home, Request, AccessPolicy)


@dataclass(frozen=True)
class Setting:
    """Where the gateway and the Homes stand to each other. ``homes`` is WORKLOAD_DOMAIN."""

    gateway: str
    homes: str
    is_https: bool

    @property
    def domain(self) -> str:
        """What a Home's hostname is followed by."""
        return self.homes or "localhost"


LOCAL = Setting("localhost", "", is_https=False)
APART = Setting("gw.acme.example", "homes.elsewhere.example", is_https=True)
BELOW = Setting("gw.acme.example", "homes.gw.acme.example", is_https=True)
"""One site to the browser, which therefore sends SameSite cookies along."""
LINKS_ALONE = Setting("gw.acme.example", "", is_https=True)
"""Without WORKLOAD_DOMAIN: only hosted links, on the gateway's own origin."""


class Answer(NamedTuple):
    """What the gateway made of a request."""

    method: str
    origin: str
    path: str
    status: int
    reason: str
    has_cookie: bool  # one of the gateway's own came along


@dataclass
class Watched:
    """In place of the access log."""

    answers: list[Answer] = field(default_factory=list)

    def note(self, asked: Asked, ended_s: float) -> None:
        method = "WEBSOCKET" if asked.is_websocket else asked.scope["method"]
        has_cookie = b"mcpgw" in asked.head.values.get(b"cookie", b"")
        self.answers.append(
            Answer(method, asked.site.origin, asked.path, asked.status, asked.reason, has_cookie)
        )


@dataclass
class Scene:
    """``elsewhere`` is a site of somebody who has nothing to do with any of it."""

    setting: Setting
    rig: Rig
    browser: Browser
    ann: Container
    bob: Container
    third: Container
    port: int  # where browsers find the gateway
    elsewhere: str
    watched: Watched

    @property
    def origin(self) -> str:
        return self._origin(self.setting.gateway)

    def home(self, hostname: str) -> str:
        return self._origin(f"{hostname}.{self.setting.domain}")

    def _origin(self, host: str) -> str:
        return f"http{'s' if self.setting.is_https else ''}://{host}:{self.port}"

    async def kept(self) -> Any:
        """All that anybody decided, asked for or was given: what an attempt could have changed."""

        def read(tx: Tx) -> list[Any]:
            return [one.model_dump() for kind in KEPT for one in tx.list(kind)]

        grants = await self.rig.auth.read(lambda tx: [tx.grants.of_user(who, tx.now) for who in (ANN, BOB)])
        return await self.rig.read(read), grants


@dataclass
class Visit:
    """A browser with its cookies, and the hostile page that stands in it."""

    scene: Scene
    context: BrowserContext
    page: Page
    csrf: str  # of Ann's session at the gateway, as if she had told it

    async def tries(self, attempt: str, *words: Any) -> Any:
        """One of `hostile.js`'s attempts, by the page's own script."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            return await self.page.evaluate(
                "([name, words]) => hostile[name](...words)", [attempt, list(words)]
            )

    async def at(self, url: str) -> Page:
        """Another tab, opened by Ann herself."""
        page = await self.context.new_page()
        await _go(page, url)
        return page

    async def leave(self) -> None:
        """Ann follows the page's link to somebody else's site."""
        here = self.page.url
        for _ in range(GOES_MAX):
            await self.page.get_by_text("away").click()
            try:
                return await self.page.wait_for_url(f"{self.scene.elsewhere}/**")
            except Error as error:
                _refuse_other(error)
            await _go(self.page, here)
        raise AssertionError(NETWORK_CHANGED)

    async def is_signed_in(self) -> bool:
        page = await self.at(self.scene.origin + "/")
        try:
            return "Sign out everywhere" in await page.inner_text("body") and ANN in await page.content()
        finally:
            await page.close()

    async def own_cookies(self) -> Mapping[tuple[str, str], str]:
        """The gateway's, at whichever host."""
        kept = await self.context.cookies()
        return {
            (one["domain"], one["name"]): one["value"] for one in kept if one["name"] in self._names.values()
        }

    @property
    def _names(self) -> Mapping[str, str]:
        return names_of(self.scene.setting)


def names_of(setting: Setting) -> Mapping[str, str]:
    """The names of the gateway's two cookies of sessions."""
    prefix = "__Host-" if setting.is_https else ""
    return {"session": f"{prefix}mcpgw", "home": f"{prefix}mcpgw-home"}


@contextlib.asynccontextmanager
async def staged(setting: Setting) -> AsyncIterator[Scene]:
    """A gateway, a browser and three hosts."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ann, bob, third = [await enter(container(name)) for name in ("ann", "bob", "third")]
        port, settings, elsewhere = 0, {}, f"http://third.example:{third.port}"
        if setting.is_https:
            front, other = stack.enter_context(loopback()), stack.enter_context(loopback())
            port, settings = front.getsockname()[1], {"workload_domain": setting.homes}
            settings["gateway_origin"] = f"https://{setting.gateway}:{port}"
            await enter(tls_in_front(other, third.port, "third.example"))
            elsewhere = f"https://third.example:{other.getsockname()[1]}"
        rig = await enter(gateway(**settings))
        if setting.is_https:
            await enter(tls_in_front(front, rig.port, setting.gateway))
        watched = rig.worker.front._log = Watched()  # type: ignore[assignment]
        browser = await enter(chromium(*SWITCHES))
        scene = Scene(setting, rig, browser, ann, bob, third, port or rig.port, elsewhere, watched)
        await _furnish(scene)
        yield scene


async def _furnish(scene: Scene) -> None:
    rig = scene.rig
    await rig.add_template()
    await rig.add_policy(Rule(users=(ANN,), role=Role.ADMIN), Rule(provider="github"))
    for name, user, home, stand_in in (
        ("ann", ANN, ANN_HOME, scene.ann),
        ("bob", BOB, BOB_HOME, scene.bob),
    ):
        await rig.signed_in(user)
        await rig.add_user(name, user)
        await rig.give_home(name, home)
        await rig.route(name, stand_in, home)
        for path in (HOSTILE_PATH, link_of(home)):
            stand_in.pages[path] = (b"text/html", _page(name, scene.elsewhere).encode())
        stand_in.pages[WORKER_PATH] = (b"text/javascript", b"self.addEventListener('fetch', () => {});")
    await rig.applied()


def link_of(home: str) -> str:
    """A hosted link of a Home."""
    return f"/dpage/{home}-7"


def _page(name: str, elsewhere: str) -> str:
    return (
        f'<!doctype html><title>{name}</title><body>secret of {name} <a href="{elsewhere}/static">away</a>'
        f"<script>{SCRIPT}</script>"
    )


@contextlib.asynccontextmanager
async def visiting(scene: Scene, url: str) -> AsyncIterator[Visit]:
    """Ann's browser as she left it, and the page at ``url`` in it."""
    context = await scene.browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_MS)
    try:
        csrf = await _sign_in(scene, context)
        page = await context.new_page()
        await _go(page, url)
        scene.watched.answers.clear()
        for stand_in in (scene.ann, scene.bob, scene.third):
            stand_in.requests.clear()
        yield Visit(scene, context, page, csrf)
    finally:
        await context.close()


async def _go(page: Page, url: str) -> None:
    for _ in range(GOES_MAX):
        try:
            await page.goto(url)
            return
        except Error as error:
            if f'interrupted by another navigation to "{url}"' not in error.message:  # by itself
                _refuse_other(error)
    raise AssertionError(NETWORK_CHANGED)


def _refuse_other(error: Error) -> None:
    """Chromium drops what is under way when a network comes or goes, as those of containers do; the page that
    says so may come so late that it interrupts the next try.
    """
    if NETWORK_CHANGED not in error.message and ERROR_PAGE not in error.message:
        raise error


async def _sign_in(scene: Scene, context: BrowserContext) -> str:
    """Ann at the gateway and in her Home, Bob in his; Ann's form token."""
    sessions, names = scene.rig.worker._desk.sessions, names_of(scene.setting)
    own: dict[str, str] = {}
    for user in (ANN, BOB):
        own[user] = (await sessions.open(user)).partition(";")[0].partition("=")[2]
    crumb = f"{names['session']}={own[ANN]}".encode()
    visitor = await sessions.visitor(read_head([(b"cookie", crumb)]))
    assert visitor is not None
    given = [(scene.origin, names["session"], own[ANN])]
    if scene.setting is not LINKS_ALONE:
        for user, home in ((ANN, ANN_HOME), (BOB, BOB_HOME)):
            line = await sessions.open_home(user, home, key_of(own[user]), visitor.opened_at + 1)
            [secret] = cookies(read_head([(b"cookie", line.encode())]), names["home"].encode())
            given.append((scene.home(home), names["home"], secret))
    await context.add_cookies(
        [
            {
                "name": name,
                "value": secret,
                "domain": urlsplit(origin).hostname or "",
                "path": "/",
                "httpOnly": True,
                "secure": scene.setting.is_https,
                "sameSite": "Lax",
            }
            for origin, name, secret in given
        ]
    )
    return visitor.csrf
