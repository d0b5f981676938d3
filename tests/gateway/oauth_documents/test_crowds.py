"""Many documents at once: how many are fetched, who waits, and who is never hindered by whom."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from gateway.auth.oauth.documents import (
    FETCHES_AT_ONCE_MAX,
    FETCHES_EACH_MAX,
    FETCHES_WAITING_MAX,
    FRESH_S_DEFAULT,
    FetchedDocuments,
)
from gateway.auth.oauth.fetch import LOOKUPS_AT_ONCE_EACH_MAX, Address, BusyError, UnreachableError
from gateway.auth.oauth.port import DocumentError
from tests.gateway.oauth_documents.rig import LOOPBACK, PATH, Clock, Site, document, json_answer, site
from tests.gateway.oauth_documents.test_refusals import SHORT_S, drip_body
from tests.gateway.rig import until

OTHER_SITE = "127.0.0.1"  # what a Site's certificate is good for too
LONG_S = 60.0


@asynccontextmanager
async def asking(
    documents: FetchedDocuments, urls: Sequence[str]
) -> AsyncIterator[list[asyncio.Task[object]]]:
    """Somebody asks for each of them meanwhile."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(documents.fetch(url)) for url in urls]
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        await documents.close()
        await asyncio.gather(*tasks, return_exceptions=True)


def published_elsewhere(one: Site) -> str:
    url = one.url("/other.json", host=OTHER_SITE)
    one.answers["/other.json"] = json_answer(document(url))
    return url


async def test_a_site_that_drips_takes_up_its_own_few_fetches_and_nobody_elses() -> None:
    async with site() as one:
        paths = [f"/{number}.json" for number in range(FETCHES_EACH_MAX)]
        one.answers |= dict.fromkeys(paths, drip_body)
        other = published_elsewhere(one)
        documents = one.documents(timeout_s=LONG_S)
        async with asking(documents, [one.url(path) for path in paths]):
            await until(lambda: len(one.heads) == FETCHES_EACH_MAX)
            url = one.publish()
            for _ in range(2):
                with pytest.raises(BusyError, match=r"client\.example is being asked for too many"):
                    await documents.fetch(url)
            assert (await documents.fetch(other))["client_id"] == other
            assert len(one.heads) == FETCHES_EACH_MAX + 1, "and it was asked for no more meanwhile"


async def test_a_site_that_was_slow_is_asked_again_once_it_was_given_up() -> None:
    async with site() as one:
        paths = [f"/{number}.json" for number in range(FETCHES_EACH_MAX)]
        one.answers |= dict.fromkeys(paths, drip_body)
        documents = one.documents(timeout_s=SHORT_S)
        async with asking(documents, [one.url(path) for path in paths]) as asked:
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert all("took longer" in str(error) for error in found)
            documents = one.documents()
            assert await documents.fetch(one.publish())


async def test_fetches_in_all_are_bounded_and_what_is_known_is_still_given() -> None:
    async with site() as one:

        async def never_but_once(host: str, port: int) -> Sequence[Address]:
            if one.resolved:
                await asyncio.sleep(LONG_S)
            return await one.resolve(host, port)

        clock = Clock()
        documents = one.documents(resolve=never_but_once, clock_s=clock, timeout_s=LONG_S)
        known = one.publish()
        await documents.fetch(known)
        count = FETCHES_AT_ONCE_MAX + FETCHES_WAITING_MAX
        urls = [one.url(host=f"site{number}.example") for number in range(count)]
        async with asking(documents, urls) as asked:
            with pytest.raises(
                BusyError, match=r"The gateway is fetching too many .* Try again in a few seconds"
            ):
                await documents.fetch(one.url(host="one-more.example"))
            clock.now_s += FRESH_S_DEFAULT
            assert await documents.fetch(known), "it stands in"
            await documents.close()
            ended = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError | BusyError) for error in ended)


async def test_whoever_waits_has_their_turn_when_somebody_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.auth.oauth.documents.FETCHES_AT_ONCE_MAX", 1)
    monkeypatch.setattr("gateway.auth.oauth.documents.TURN_S", LONG_S)
    async with site() as one:
        release = asyncio.Event()
        first = one.publish()
        good = one.answers[PATH]

        async def when_released(writer: asyncio.StreamWriter) -> None:
            await release.wait()
            await good(writer)

        one.answers[PATH] = when_released
        async with asking(one.documents(timeout_s=LONG_S), [first, published_elsewhere(one)]) as asked:
            await until(lambda: one.heads)
            await asyncio.sleep(0.05)
            assert one.connections_count == 1
            release.set()
            assert len(await asyncio.gather(*asked)) == 2


async def test_whoever_waited_in_vain_is_told_and_nothing_is_held_against_the_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.auth.oauth.documents.FETCHES_AT_ONCE_MAX", 1)
    monkeypatch.setattr("gateway.auth.oauth.documents.TURN_S", SHORT_S)
    async with site() as one:
        one.answers[PATH] = drip_body
        documents, other = one.documents(timeout_s=10 * SHORT_S), published_elsewhere(one)
        async with asking(documents, [one.url()]) as asked:
            await until(lambda: one.heads)
            with pytest.raises(BusyError):
                await documents.fetch(other)
            await asyncio.gather(*asked, return_exceptions=True)
            assert await documents.fetch(other)


async def test_names_that_nobody_answers_for_take_up_their_own_few_lookups_until_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system goes on asking for longer than a fetch lasts, and cannot be told to stop."""
    ended = threading.Event()

    def look_up(host: str, port: int) -> list[Address]:
        if host.endswith("dead.example"):
            ended.wait(LONG_S)
            raise OSError("no such name")
        return [LOOPBACK]

    monkeypatch.setattr("gateway.auth.oauth.fetch._look_up", look_up)
    async with site() as one:
        documents = one.documents(resolve=None, timeout_s=SHORT_S)
        try:
            dead = [one.url(host=f"n{number}.dead.example") for number in range(LOOKUPS_AT_ONCE_EACH_MAX)]
            found = await asyncio.gather(*map(documents.fetch, dead), return_exceptions=True)
            assert all("took longer" in str(error) for error in found)
            with pytest.raises(BusyError, match=r"dead\.example is being asked"):
                await documents.fetch(one.url(host="more.dead.example"))
            assert await documents.fetch(one.publish())
            ended.set()
            await until(lambda: all(lookup.done() for _, lookup in documents._fetcher._names._asked))
            with pytest.raises(UnreachableError, match="no public address"):
                await documents.fetch(one.url(host="again.dead.example"))
        finally:
            ended.set()
            await documents.close()


async def test_a_refused_url_is_refused_before_it_takes_up_anything() -> None:
    async with site() as one:
        documents = one.documents()
        with pytest.raises(DocumentError, match="does not begin with https"):
            await documents.fetch("http://client.example/x.json")
        assert not documents._running
