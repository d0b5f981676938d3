"""Client documents from the network: what the one at a URL says, and how long that is believed.

Decides how often a stranger's URL is asked for and how many at once, what a document must hold, and how long
it stands. Whoever opens the sign-in page chooses the URL, so everything here is bounded, and no site takes up
more than a few of the fetches that are under way. How one is fetched is :mod:`gateway.auth.oauth.fetch`'s.
Refuses to know which redirects are good and who asks. One a worker, with a cache of its own.
Next: :mod:`gateway.auth.oauth.clients`.

Source: draft-ietf-oauth-client-id-metadata-document-02, sections 4 (document) and 5.2 (caching).
"""

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from gateway.auth.oauth.fetch import (
    FETCH_S,
    URL_CHARACTERS_MAX,
    Address,
    BusyError,
    Fetched,
    Fetcher,
    Resolve,
    UnreachableError,
    site_of,
    target,
)
from gateway.auth.oauth.port import DocumentError

FETCHES_AT_ONCE_MAX = 32
FETCHES_EACH_MAX = 4  # of one site, under way or waiting
FETCHES_WAITING_MAX = 64
TURN_S = 2.0  # how long one of those waits, before it is told to try again
DOCUMENTS_KEPT_MAX = 1024
FRESH_S_MIN = 60.0
FRESH_S_DEFAULT = 600.0
FRESH_S_MAX = 86400.0
STALE_S_MAX = 86400.0  # how long after that a document stands in while its server is silent
# Between two requests for a URL that failed. Section 5.2 forbids to keep an error as what the document says;
# this remembers that we have just knocked, without which a stranger aims our requests at a third party.
PAUSE_S = 10.0
PAUSES_KEPT_MAX = 1024
REDIRECT_URIS_MAX = 16
CLIENT_NAME_CHARACTERS_MAX = 200
OTHER_VALUES_MAX = 16
OTHER_CHARACTERS_MAX = 200


class _Kept(NamedTuple):
    document: bytes  # as JSON, so that everybody gets a copy of their own
    fresh_until_s: float
    stale_until_s: float


class _Pause(NamedTuple):
    until_s: float
    error_class: type[DocumentError]
    reason: str


class _Running(NamedTuple):
    site: str
    task: asyncio.Task[bytes]


class FetchedDocuments:
    """The port :class:`gateway.auth.oauth.port.ClientDocuments`, on the network.

    ``resolve`` and ``is_allowed`` exist for tests and for networks with rules of their own; ``clock_s`` is
    monotonic and only judges what is kept.
    """

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        is_allowed: Callable[[Address], bool] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        timeout_s: float = FETCH_S,
    ) -> None:
        self._fetcher = Fetcher(
            resolve=resolve, is_allowed=is_allowed, ssl_context=ssl_context, timeout_s=timeout_s
        )
        self._clock_s = clock_s
        self._kept: dict[str, _Kept] = {}  # least recently used first
        self._pauses: dict[str, _Pause] = {}
        self._running: dict[str, _Running] = {}
        self._turns = asyncio.Semaphore(FETCHES_AT_ONCE_MAX)

    async def fetch(self, url: str) -> Mapping[str, Any]:
        """The document at ``url``, checked; the caller's to change. Raises DocumentError."""
        host, port = target(url)
        kept = self._kept.pop(url, None)
        if kept is not None:
            self._kept[url] = kept
            if self._clock_s() < kept.fresh_until_s:
                return _copy(kept.document)
        try:
            return _copy(await self._fetched(url, host, port))
        except UnreachableError:
            if kept is None or self._clock_s() >= kept.stale_until_s:
                raise
            return _copy(kept.document)

    async def close(self) -> None:
        """End what is under way."""
        running = [one.task for one in self._running.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._fetcher.close()

    async def _fetched(self, url: str, host: str, port: int) -> bytes:
        """From the network, once for everybody who asks at the same time."""
        running = self._running.get(url)
        if running is None:
            pause = self._pauses.get(url)
            if pause is not None and self._clock_s() < pause.until_s:
                raise pause.error_class(pause.reason)
            site = site_of(host)
            self._refuse_too_many(site)
            task = asyncio.create_task(self._renew(url, host, port))
            running = self._running[url] = _Running(site, task)
            task.add_done_callback(lambda done: self._forget(url, done))
        return await asyncio.shield(running.task)

    def _refuse_too_many(self, site: str) -> None:
        """Raises BusyError. Nothing is remembered of it: nobody was asked."""
        if len(self._running) >= FETCHES_AT_ONCE_MAX + FETCHES_WAITING_MAX:
            raise BusyError
        if sum(one.site == site for one in self._running.values()) >= FETCHES_EACH_MAX:
            raise BusyError(site)

    def _forget(self, url: str, done: asyncio.Task[bytes]) -> None:
        del self._running[url]
        if not done.cancelled():
            done.exception()  # everybody who asked has heard it, or has gone

    async def _renew(self, url: str, host: str, port: int) -> bytes:
        try:
            fetched = await self._in_turn(url, host, port)
            document = orjson.dumps(_checked_document(url, fetched.body))
        except BusyError:
            raise
        except DocumentError as error:
            if not isinstance(error, UnreachableError):
                self._kept.pop(url, None)
            self._pauses.pop(url, None)
            self._pauses[url] = _Pause(self._clock_s() + PAUSE_S, type(error), error.reason)
            _drop_oldest(self._pauses, PAUSES_KEPT_MAX)
            raise
        fresh_s, stale_s = _lifetime_s(fetched)
        fresh_until_s = self._clock_s() + fresh_s
        self._kept.pop(url, None)
        self._kept[url] = _Kept(document, fresh_until_s, fresh_until_s + stale_s)
        _drop_oldest(self._kept, DOCUMENTS_KEPT_MAX)
        return document

    async def _in_turn(self, url: str, host: str, port: int) -> Fetched:
        try:
            async with asyncio.timeout(TURN_S):
                await self._turns.acquire()
        except TimeoutError:
            raise BusyError from None
        try:
            return await self._fetcher.fetch(url, host, port)
        finally:
            self._turns.release()


def _copy(document: bytes) -> dict[str, Any]:
    copy: dict[str, Any] = orjson.loads(document)
    return copy


def _drop_oldest(kept: dict[str, Any], count_max: int) -> None:
    while len(kept) > count_max:
        del kept[next(iter(kept))]


def _lifetime_s(fetched: Fetched) -> tuple[float, float]:
    """For how long a document is fresh, and for how long after that it may stand in while nobody answers.

    Source: RFC 9111 sections 4.2 (age) and 4.2.4 (what forbids stale use).
    """
    directives = (one.partition("=") for one in fetched.cache_control.split(","))
    said = {name.strip().lower(): value for name, _, value in directives}
    if said.keys() & {"no-store", "no-cache"}:
        return FRESH_S_MIN, 0.0
    max_age_s = _seconds(said.get("max-age", ""), FRESH_S_DEFAULT)
    fresh_s = min(max(max_age_s - _seconds(fetched.age, 0.0), FRESH_S_MIN), FRESH_S_MAX)
    return fresh_s, 0.0 if "must-revalidate" in said else STALE_S_MAX


def _seconds(value: str, otherwise: float) -> float:
    digits = value.strip().strip('"')
    return float(digits[:12]) if digits.isascii() and digits.isdigit() else otherwise


_LISTS = ("grant_types", "response_types")
_STRINGS = ("scope", "application_type", "software_id", "software_version")
# Controls, line ends, and what turns the direction of text: the name is shown where consent is asked for.
_MISLEADING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _checked_document(url: str, body: bytes) -> dict[str, Any]:
    """The members that are known, of a document that may be gone by. Raises DocumentError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise DocumentError("The client's document is not JSON.") from None
    if not isinstance(document, dict):
        raise DocumentError("The client's document is not a JSON object.")
    if document.get("client_id") != url:
        raise DocumentError(
            "The client's document is another client's: its client_id is not the URL it was fetched from."
        )
    _check_authentication(document)
    checked: dict[str, Any] = {"client_id": url, "token_endpoint_auth_method": "none"}
    checked["redirect_uris"] = _redirect_uris(document)
    checked |= {name: document[name] for name in _STRINGS if _is_string(document.get(name))}
    checked |= {name: document[name] for name in _LISTS if _is_list(document.get(name))}
    if name := _client_name(document):
        checked["client_name"] = name
    uri = document.get("client_uri")
    if isinstance(uri, str) and len(uri) <= URL_CHARACTERS_MAX and uri.startswith("https://"):
        checked["client_uri"] = uri
    return checked


def _client_name(document: Mapping[str, Any]) -> str:
    name = document.get("client_name", "")
    if not isinstance(name, str) or len(name) > CLIENT_NAME_CHARACTERS_MAX or _MISLEADING.search(name):
        raise DocumentError(
            f"The client's document has a client_name that is not plain text of at most "
            f"{CLIENT_NAME_CHARACTERS_MAX} characters."
        )
    return name.strip()


def _check_authentication(document: Mapping[str, Any]) -> None:
    """Only a client without credentials: what it publishes holds no secret, and keys are not offered here."""
    if document.keys() & {"client_secret", "client_secret_expires_at"}:
        raise DocumentError(
            "The client's document holds a client_secret, which everybody can read. Whoever runs the client "
            "has to remove it."
        )
    match document.get("token_endpoint_auth_method", "none"):
        case "none":
            return
        case "private_key_jwt":
            raise DocumentError(
                "The client's document asks for private_key_jwt, which is not offered here. Publish "
                'token_endpoint_auth_method "none"; PKCE protects the code.'
            )
        case _:
            raise DocumentError(
                "The client's document asks for a way to authenticate that needs a shared secret. Publish "
                'token_endpoint_auth_method "none"; PKCE protects the code.'
            )


def _redirect_uris(document: Mapping[str, Any]) -> list[str]:
    uris = document.get("redirect_uris")
    if (
        not isinstance(uris, list)
        or not 1 <= len(uris) <= REDIRECT_URIS_MAX
        or not all(isinstance(uri, str) and 0 < len(uri) <= URL_CHARACTERS_MAX for uri in uris)
    ):
        raise DocumentError(
            f"The client's document has to list 1 to {REDIRECT_URIS_MAX} redirect_uris, each a string of at "
            f"most {URL_CHARACTERS_MAX} characters."
        )
    return uris


def _is_string(value: object) -> bool:
    return isinstance(value, str) and len(value) <= OTHER_CHARACTERS_MAX


def _is_list(value: object) -> bool:
    return isinstance(value, list) and len(value) <= OTHER_VALUES_MAX and all(map(_is_string, value))
