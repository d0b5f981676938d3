"""A person with a browser, who does what they are told: follows redirects, fills in forms, presses buttons.

They go on until their browser was sent to the client that waits for the answer, and take it there. Cookies
are kept as browsers keep them, where loopback counts as secure, and each person has their own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from types import TracebackType
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from tests.clients.forms import Button, Page

STEPS_MAX = 30
STEP_S_MAX = 30.0
CLIENT_S_MAX = 10.0
"""Some clients open the browser before their callback listens; no person is fast enough to notice."""
CLIENT_POLL_S = 0.1
LOOPBACK = ("localhost", "127.0.0.1", "::1")
REDIRECTS = (301, 302, 303, 307, 308)
SAID_CHARS_MAX = 500


class LostError(AssertionError):
    """The person does not know how to go on; the text says where they are and what the page says."""


@dataclass(frozen=True)
class Seen:
    """Where somebody ended up, and by which way."""

    url: str
    status: int
    text: str
    headers: CIMultiDictProxy[str]
    way: tuple[str, ...]


@dataclass
class Cookies:
    """By host, as browsers do (ports do not matter). Source: RFC 6265, sections 5.3 and 5.4."""

    of: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    def keep(self, url: str, headers: CIMultiDictProxy[str]) -> None:
        here = urlsplit(url)
        host = here.hostname or ""
        for line in headers.getall("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self._refuse_bad(name, morsel["secure"] and not _is_secure(url), morsel["path"])
                kept = self.of.setdefault(host, {})
                if morsel["max-age"] == "0":
                    kept.pop(name, None)
                else:
                    kept[name] = (morsel.coded_value, morsel["path"] or "/")

    def header(self, url: str) -> dict[str, str]:
        here = urlsplit(url)
        sent = [
            f"{name}={value}"
            for name, (value, path) in self.of.get(here.hostname or "", {}).items()
            if (here.path or "/").startswith(path)
        ]
        return {"Cookie": "; ".join(sent)} if sent else {}

    def _refuse_bad(self, name: str, is_insecure: bool, path: str) -> None:
        assert not is_insecure, f"a browser does not take the Secure cookie {name} from here"
        assert not name.startswith("__Host-") or path == "/", f"a browser does not take {name} for {path!r}"


class Person:
    """``fills`` are values by the names of fields; ``presses`` what to press, the likelier first.

    A wish is ``name=value`` of a button (or of a hidden field beside the form's only button), or words of its
    label. The same page is not answered twice in the same way: whoever is asked again is lost.
    """

    def __init__(self, *presses: str, fills: Mapping[str, str] | None = None) -> None:
        self.presses: Sequence[str] = presses
        self.fills = dict(fills or {})
        self.cookies = Cookies()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Person":
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=STEP_S_MAX)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def visit(self, url: str, until: str | None = None) -> Seen:
        """Go there and on, up to where ``until`` begins: that address is visited, and what it says returned.

        Without it, the address is the `redirect_uri` in the query; without that, the first page on which
        there is nothing to press. Raises LostError.
        """
        target = until or _client_of(url)
        step, way, pressed = _Step("GET", url), [], set[tuple[str, str]]()
        for _ in range(STEPS_MAX):
            way.append(step.url)
            if target is not None and step.url.startswith(target):
                return await self._deliver(step, tuple(way))
            seen = await self._take(step, tuple(way))
            if seen.status in REDIRECTS and "Location" in seen.headers:
                step = _redirected(step, seen)
                continue
            button = self._choice(Page(seen.text))
            if button is None:
                if target is None:
                    return seen
                raise LostError(_told("nothing to press", seen))
            key = (urlsplit(seen.url)._replace(query="").geturl(), f"{button.name}={button.value}")
            if key in pressed:
                raise LostError(_told(f"asked again after pressing {key[1]!r}", seen))
            pressed.add(key)
            step = self._pressed(button, seen.url)
        raise LostError(f"no end after {STEPS_MAX} steps: {' -> '.join(way[-4:])}")

    def _choice(self, page: Page) -> Button | None:
        for wish in self.presses:
            for button in page.pressable:
                if button.is_meant_by(wish):
                    return button
        return None

    def _pressed(self, button: Button, here: str) -> "_Step":
        form = button.form
        if form is None:
            return _Step("GET", urljoin(here, button.action or ""), came_from=here)
        fields = {name: self.fills.get(name, value) for name, value in form.fields.items()}
        if button.name:
            fields[button.name] = button.value
        target = urljoin(here, button.action or form.action or here)
        if form.method == "get":
            return _Step("GET", urlsplit(target)._replace(query=urlencode(fields)).geturl(), came_from=here)
        return _Step("POST", target, fields, came_from=here)

    async def _deliver(self, step: "_Step", way: tuple[str, ...]) -> Seen:
        """To the client, which may not listen yet."""
        async with asyncio.timeout(CLIENT_S_MAX):
            while True:
                try:
                    return await self._take(step, way)
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(CLIENT_POLL_S)

    async def _take(self, step: "_Step", way: tuple[str, ...]) -> Seen:
        assert self._session is not None, "enter the person first"
        headers = {**step.headers(), **self.cookies.header(step.url)}
        async with self._session.request(
            step.method,
            URL(step.url, encoded=True),
            data=step.fields,
            headers=headers,
            allow_redirects=False,
        ) as answer:
            self.cookies.keep(step.url, answer.headers)
            return Seen(step.url, answer.status, await answer.text(errors="replace"), answer.headers, way)


@dataclass(frozen=True)
class _Step:
    method: str
    url: str
    fields: Mapping[str, str] | None = None
    came_from: str | None = None

    def headers(self) -> dict[str, str]:
        """As a browser says whence a navigation comes. Source: Fetch Metadata Request Headers (W3C)."""
        headers = {
            "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
            "User-Agent": "Mozilla/5.0 (a person of the tests)",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
            "Sec-Fetch-Site": self._site(),
        }
        if self.method == "POST" and self.came_from is not None:
            headers["Origin"] = _origin(self.came_from)
        return headers

    def _site(self) -> str:
        if self.came_from is None:
            return "none"
        if _origin(self.came_from) == _origin(self.url):
            return "same-origin"
        same = urlsplit(self.came_from).hostname == urlsplit(self.url).hostname
        return "same-site" if same else "cross-site"


def _redirected(step: _Step, seen: Seen) -> _Step:
    """A POST goes on as GET, but for 307 and 308. Source: RFC 9110, section 15.4."""
    target = urljoin(seen.url, seen.headers["Location"])
    if not target.startswith(("http://", "https://")):
        raise LostError(f"sent to {target:.200}, which is not a web address")
    if seen.status in (307, 308):
        return _Step(step.method, target, step.fields, step.came_from)
    return _Step("GET", target, came_from=step.came_from)


def _client_of(url: str) -> str | None:
    found = parse_qs(urlsplit(url).query).get("redirect_uri")
    return found[0] if found else None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_secure(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _told(why: str, seen: Seen) -> str:
    words = " ".join(Page(seen.text).words)[:SAID_CHARS_MAX]
    return f"{why} at {seen.url:.200} ({seen.status}): {words}"
