"""What a good document gives, what is sent for it, and how it is remembered."""

import asyncio
import os
from collections.abc import Sequence

import pytest
import uvloop

from gateway.auth.oauth import documents as module
from gateway.auth.oauth.documents import (
    FRESH_S_DEFAULT,
    FRESH_S_MAX,
    FRESH_S_MIN,
    PAUSE_S,
    STALE_S_MAX,
)
from gateway.auth.oauth.port import ClientDocuments, DocumentError
from tests.gateway.oauth_documents.rig import (
    HOST,
    OTHER_LOOPBACK,
    PATH,
    REDIRECTS,
    Answer,
    Clock,
    document,
    json_answer,
    raw,
    site,
    status_answer,
)


async def test_a_good_document_is_given_with_the_members_that_are_known() -> None:
    async with site() as one:
        url = one.publish(logo_uri="https://client.example/logo.png", jwks={"keys": []}, x=1, scope="mcp api")
        fetcher: ClientDocuments = one.documents()
        assert await fetcher.fetch(url) == {
            "client_id": url,
            "client_name": "Example",
            "client_uri": "https://client.example/",
            "redirect_uris": REDIRECTS,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": "mcp api",
            "token_endpoint_auth_method": "none",
        }


async def test_the_request_says_who_asks_and_carries_nothing_of_anybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", os.devnull)
    async with site() as one:
        documents = one.documents()
        await documents.fetch(one.publish("/one.json?v=1", "Set-Cookie: a=b; Path=/; Secure"))
        await documents.fetch(one.publish("/two%2e.json"))
        assert one.heads[0].splitlines()[0] == "GET /one.json?v=1 HTTP/1.1"
        assert one.heads[1].splitlines()[0] == "GET /two%2e.json HTTP/1.1"
        assert sorted(line.lower() for line in one.heads[1].splitlines()[1:] if line) == [
            "accept-encoding: identity",
            "accept: application/json",
            "connection: close",
            f"host: {HOST}:{one.port}",
            "user-agent: mcp-gateway",
        ]
        assert one.connections_count == 2, "no connection is kept"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/client+json"])
async def test_every_way_to_declare_json_is_good(content_type: str) -> None:
    async with site() as one:
        one.answers[PATH] = json_answer(document(one.url()), content_type=content_type)
        assert await one.documents().fetch(one.url())


async def test_the_next_address_is_tried_where_the_first_is_dead() -> None:
    async with site() as one:
        one.addresses = [OTHER_LOOPBACK, *one.addresses]
        assert await one.documents(is_allowed=lambda address: address.is_loopback).fetch(one.publish())


async def test_a_literal_is_reached_without_asking_for_a_name() -> None:
    async with site() as one:
        url = one.url(host="127.0.0.1")
        one.answers[PATH] = json_answer(document(url))
        assert await one.documents().fetch(url)
        assert not one.resolved


def test_it_works_on_the_loop_that_workers_run_on() -> None:
    async def fetched() -> None:
        async with site() as one:
            documents = one.documents()
            assert await documents.fetch(one.publish())
            with pytest.raises(DocumentError):
                await one.documents(resolve=None).fetch(one.url(host="client.invalid"))
            await documents.close()

    uvloop.run(fetched())


async def test_changing_what_was_given_changes_nobody_elses() -> None:
    async with site() as one:
        documents, url = one.documents(), one.publish()
        first = await documents.fetch(url)
        first["redirect_uris"].append("https://evil.example/")
        assert (await documents.fetch(url))["redirect_uris"] == REDIRECTS
        assert len(one.heads) == 1


@pytest.mark.parametrize(
    ("headers", "fresh_s"),
    [
        ((), FRESH_S_DEFAULT),
        (("Cache-Control: max-age=3600",), 3600.0),
        (("Cache-Control: public, MAX-AGE=3600, s-maxage=9",), 3600.0),
        (("Cache-Control: public", "Cache-Control: max-age=3600"), 3600.0),
        (('Cache-Control: max-age="3600"',), 3600.0),
        (("Cache-Control: max-age=3600", "Age: 600"), 3000.0),
        (("Cache-Control: max-age=3600", "Age: 999999999"), FRESH_S_MIN),
        (("Cache-Control: max-age=0",), FRESH_S_MIN),
        (("Cache-Control: no-store, max-age=3600",), FRESH_S_MIN),
        (("Cache-Control: no-cache",), FRESH_S_MIN),
        (("Cache-Control: max-age=31536000",), FRESH_S_MAX),
        (("Cache-Control: max-age=" + "9" * 5000,), FRESH_S_MAX),
        (("Cache-Control: max-age=-1, =, ,", "Age: soon"), FRESH_S_DEFAULT),
    ],
)
async def test_a_document_is_believed_as_long_as_its_server_says_within_bounds(
    headers: Sequence[str], fresh_s: float
) -> None:
    async with site() as one:
        clock = Clock()
        documents, url = one.documents(clock_s=clock), one.publish(PATH, *headers)
        await documents.fetch(url)
        clock.now_s += fresh_s - 1
        await documents.fetch(url)
        assert len(one.heads) == 1
        clock.now_s += 1
        one.publish(client_name="Renewed")
        assert (await documents.fetch(url))["client_name"] == "Renewed"
        assert len(one.resolved) == 2, "the name is checked again with every fetch"


@pytest.mark.parametrize("failure", [status_answer(500), status_answer(429), raw(b"")])
async def test_a_document_stands_in_while_its_server_fails_and_not_for_ever(failure: Answer) -> None:
    async with site() as one:
        clock = Clock()
        documents, url = one.documents(clock_s=clock), one.publish()
        await documents.fetch(url)
        one.answers[PATH] = failure
        clock.now_s += FRESH_S_DEFAULT
        assert await documents.fetch(url)
        assert await documents.fetch(url)
        assert len(one.heads) == 2, "and its server is left alone for a moment"
        clock.now_s += STALE_S_MAX - 1
        assert await documents.fetch(url)
        clock.now_s += PAUSE_S
        with pytest.raises(DocumentError):
            await documents.fetch(url)


@pytest.mark.parametrize("directive", ["no-store", "no-cache", "must-revalidate, max-age=60"])
async def test_a_document_that_says_so_never_stands_in(directive: str) -> None:
    async with site() as one:
        clock = Clock()
        documents, url = one.documents(clock_s=clock), one.publish(PATH, f"Cache-Control: {directive}")
        await documents.fetch(url)
        one.answers[PATH] = status_answer(500)
        clock.now_s += FRESH_S_MIN
        with pytest.raises(DocumentError):
            await documents.fetch(url)


@pytest.mark.parametrize(
    "withdrawn", [status_answer(404), status_answer(302), json_answer({"client_id": "x"})]
)
async def test_a_document_that_was_withdrawn_or_spoilt_does_not_stand_in(withdrawn: Answer) -> None:
    async with site() as one:
        clock = Clock()
        documents, url = one.documents(clock_s=clock), one.publish()
        await documents.fetch(url)
        one.answers[PATH] = withdrawn
        clock.now_s += FRESH_S_DEFAULT
        with pytest.raises(DocumentError):
            await documents.fetch(url)
        one.answers[PATH] = status_answer(500)
        clock.now_s += PAUSE_S
        with pytest.raises(DocumentError):
            await documents.fetch(url)


async def test_a_name_that_moved_to_an_inner_address_does_not_stand_in() -> None:
    async with site() as one:
        clock = Clock()
        documents, url = one.documents(clock_s=clock), one.publish()
        await documents.fetch(url)
        one.addresses = [OTHER_LOOPBACK]
        clock.now_s += FRESH_S_DEFAULT
        with pytest.raises(DocumentError):
            await documents.fetch(url)
        assert one.connections_count == 1


async def test_a_url_that_failed_is_left_alone_for_a_moment_and_told_why() -> None:
    async with site() as one:
        clock = Clock()
        documents, url = one.documents(clock_s=clock), one.url()
        reasons = []
        for _ in range(3):
            with pytest.raises(DocumentError) as caught:
                await documents.fetch(url)
            reasons.append(caught.value.reason)
        assert len(set(reasons)) == 1
        assert len(one.heads) == 1
        one.publish()
        clock.now_s += PAUSE_S
        assert await documents.fetch(url)


async def test_all_who_ask_at_once_share_one_request_and_one_who_leaves_takes_nothing_along() -> None:
    async with site() as one:
        release = asyncio.Event()
        url = one.publish()
        good = one.answers[PATH]

        async def when_released(writer: asyncio.StreamWriter) -> None:
            await release.wait()
            await good(writer)

        one.answers[PATH] = when_released
        documents = one.documents()
        asking = [asyncio.create_task(documents.fetch(url)) for _ in range(10)]
        while not one.heads:
            await asyncio.sleep(0)
        asking[0].cancel()
        await asyncio.sleep(0)
        release.set()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert all(isinstance(one, dict) for one in found[1:])
        assert len(one.heads) == 1


async def test_a_failure_is_told_to_all_who_asked_at_once() -> None:
    async with site() as one:
        documents = one.documents()
        found = await asyncio.gather(*(documents.fetch(one.url()) for _ in range(5)), return_exceptions=True)
        assert [type(error) for error in found] == [DocumentError] * 5
        assert len(one.heads) == 1


async def test_what_is_kept_is_bounded_and_the_least_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOCUMENTS_KEPT_MAX", 2)
    async with site() as one:
        documents = one.documents()
        used, unused, new = (one.publish(f"/{name}.json") for name in ("used", "unused", "new"))
        for url in (used, unused, used, new, used):
            await documents.fetch(url)
        assert len(one.heads) == 3
        await documents.fetch(unused)
        assert len(one.heads) == 4
        assert len(documents._kept) == 2


async def test_failures_are_bounded_and_push_no_good_document_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_KEPT_MAX", 2)
    async with site() as one:
        documents, url = one.documents(), one.publish()
        await documents.fetch(url)
        for number in range(5):
            with pytest.raises(DocumentError):
                await documents.fetch(one.url(f"/{number}.json"))
        assert len(documents._pauses) == 2
        assert await documents.fetch(url)
        assert len(one.heads) == 6
