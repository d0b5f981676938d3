"""What is refused of a client's document on the wire: each numbered negative a test of its own."""

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from gateway.auth.oauth.documents import FetchedDocuments
from gateway.auth.oauth.fetch import BODY_BYTES_MAX, Address
from gateway.auth.oauth.port import DocumentError
from tests.gateway.oauth_documents.rig import (
    HOST,
    LOOPBACK,
    OTHER_LOOPBACK,
    PATH,
    REDIRECTS,
    Answer,
    Site,
    document,
    head_of,
    json_answer,
    raw,
    site,
    status_answer,
    trusting,
)

SHORT_S = 0.3
JSON_TYPE = "Content-Type: application/json"


async def refusal(documents: FetchedDocuments, url: str) -> str:
    with pytest.raises(DocumentError) as caught:
        await documents.fetch(url)
    await documents.close()
    return caught.value.reason


async def no_such_name(host: str, port: int) -> Sequence[Address]:
    raise OSError("no such name")


async def assert_never_reached(one: Site, *addresses: str) -> None:
    """With the guard as it ships, and a site that would have answered."""
    one.publish()
    unknown = await refusal(FetchedDocuments(resolve=no_such_name, ssl_context=trusting()), one.url())
    for address in addresses:
        one.addresses = [ip_address(address)]
        guarded = FetchedDocuments(resolve=one.resolve, ssl_context=trusting())
        assert await refusal(guarded, one.url()) == unknown, "an inner address looks like an unknown name"
        literal = f"[{address}]" if ":" in address else address
        as_literal = one.url(host=literal)
        guarded = FetchedDocuments(resolve=one.resolve, ssl_context=trusting())
        assert "no public address" in await refusal(guarded, as_literal)
    assert one.connections_count == 0


@pytest.mark.negative(70)
async def test_a_private_or_loopback_address_is_refused_by_name_and_literally() -> None:
    async with site() as one:
        await assert_never_reached(
            one,
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
        )


@pytest.mark.negative(71)
async def test_a_link_local_or_nat64_address_is_refused_by_name_and_literally() -> None:
    async with site() as one:
        await assert_never_reached(
            one,
            "169.254.169.254",
            "fe80::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::7f00:1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::1",
            "2001:0:7f00:1::1",
        )


@pytest.mark.negative(72)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirecting_document_is_refused_and_not_followed(status: int) -> None:
    async with site() as one:
        target = one.publish("/elsewhere.json")
        one.answers[PATH] = status_answer(status, f"Location: {target}", JSON_TYPE)
        assert "redirects" in await refusal(one.documents(), one.url())
        assert len(one.heads) == 1


@pytest.mark.negative(73)
async def test_a_name_that_changes_its_answer_is_reached_where_it_was_checked_only() -> None:
    """Rebinding: allowed when it is checked, inner when it would be asked again."""
    async with site() as one, site("127.0.0.2") as inner:
        answers = [[LOOPBACK], [OTHER_LOOPBACK]]
        asked: list[str] = []

        async def rebinding(host: str, port: int) -> Sequence[Address]:
            asked.append(host)
            return answers[min(len(asked), 2) - 1]

        documents = one.documents(resolve=rebinding)
        url = one.publish()
        assert (await documents.fetch(url))["client_id"] == url
        assert asked == [HOST], "the connection asks for no address of its own"

        reason = await refusal(documents, one.url("/second.json"))
        assert "no public address" in reason
        assert (one.connections_count, inner.connections_count) == (1, 0)


@pytest.mark.negative(73)
async def test_a_name_with_one_inner_address_among_public_ones_is_refused_whole() -> None:
    async with site() as one:
        one.addresses = [ip_address("8.8.8.8"), LOOPBACK, ip_address("2606:4700::1111")]
        guarded = FetchedDocuments(resolve=one.resolve, ssl_context=trusting())
        assert "no public address" in await refusal(guarded, one.url())
        assert one.connections_count == 0


@pytest.mark.negative(74)
@pytest.mark.parametrize("change", ["/", "?", "#", "another", "upper", "absent", "list"])
async def test_a_document_that_names_another_client_is_refused(change: str) -> None:
    async with site() as one:
        url = one.url()
        other: object = {
            "another": "https://claude.ai/oauth/client",
            "upper": url.replace(HOST, HOST.upper()),
            "absent": None,
            "list": [url],
        }.get(change, url + change)
        one.publish(client_id=other)
        assert "another client" in await refusal(one.documents(), url)


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.negative(75)
@pytest.mark.parametrize("framing", ["declared", "chunked", "until the end", "chunks of one byte"])
async def test_an_oversized_document_is_refused_however_it_is_framed(framing: str) -> None:
    async with site() as one:
        body = json.dumps(document(one.url())).encode()
        body += b" " * (BODY_BYTES_MAX + 1 - len(body))
        text = {
            "declared": head_of(200, JSON_TYPE, f"Content-Length: {len(body)}") + body,
            "chunked": head_of(200, JSON_TYPE, "Transfer-Encoding: chunked") + chunked(body),
            "until the end": head_of(200, JSON_TYPE) + body,
            "chunks of one byte": head_of(200, JSON_TYPE, "Transfer-Encoding: chunked")
            + b"".join(b"1\r\n%c\r\n" % byte for byte in body),
        }[framing]
        one.answers[PATH] = raw(text)
        assert "larger than 5120 bytes" in await refusal(one.documents(), one.url())


@pytest.mark.negative(75)
async def test_a_declared_oversize_is_refused_before_any_of_it_is_sent() -> None:
    async with site() as one:

        async def never_sends(writer: asyncio.StreamWriter) -> None:
            writer.write(head_of(200, JSON_TYPE, "Content-Length: 999999999"))
            await asyncio.sleep(60)

        one.answers[PATH] = never_sends
        assert "larger than" in await refusal(one.documents(), one.url())


@pytest.mark.negative(75)
async def test_an_endless_document_is_cut_off_and_not_collected() -> None:
    async with site() as one:
        sent = 0

        async def endless(writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(head_of(200, JSON_TYPE))
            while True:
                writer.write(b" " * 65536)
                await writer.drain()
                sent += 65536

        one.answers[PATH] = endless
        assert "larger than" in await refusal(one.documents(), one.url())
        assert sent < 16 << 20, "what lies in the sockets' buffers, and no more"


async def test_a_document_of_exactly_the_largest_size_is_read() -> None:
    async with site() as one:
        body = json.dumps(document(one.url())).encode()
        body += b" " * (BODY_BYTES_MAX - len(body))
        one.answers[PATH] = raw(head_of(200, JSON_TYPE, "Transfer-Encoding: chunked") + chunked(body))
        assert (await one.documents().fetch(one.url()))["client_name"] == "Example"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
async def test_a_compressed_document_is_refused_unread(coding: str) -> None:
    async with site() as one:
        zeros = b" " * (64 << 20)
        bomb = gzip.compress(zeros) if "zip" in coding.lower() else zlib.compress(zeros)
        one.answers[PATH] = raw(head_of(200, JSON_TYPE, f"Content-Encoding: {coding}") + bomb)
        assert "compressed" in await refusal(one.documents(), one.url())
        assert "Accept-Encoding: identity" in one.heads[0]


async def drip_body(writer: asyncio.StreamWriter) -> None:
    writer.write(head_of(200, JSON_TYPE))
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: yes\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def early_hints(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.negative(76)
@pytest.mark.parametrize("slow", [drip_body, silent, early_hints], ids=lambda slow: slow.__name__)
async def test_a_slow_document_is_given_up_however_it_drips(slow: Answer) -> None:
    async with site() as one:
        one.answers[PATH] = slow
        begun_s = time.monotonic()
        assert "took longer than 0.3 seconds" in await refusal(one.documents(timeout_s=SHORT_S), one.url())
        assert time.monotonic() - begun_s < 10 * SHORT_S


@pytest.mark.negative(76)
async def test_a_slow_head_is_given_up() -> None:
    async with site() as one:
        one.answers[PATH] = drip_head
        assert "Try again" in await refusal(one.documents(timeout_s=SHORT_S), one.url())


@pytest.mark.negative(76)
async def test_a_name_server_that_never_answers_counts_as_slow() -> None:
    async def never(host: str, port: int) -> Sequence[Address]:
        await asyncio.sleep(60)
        return []

    async with site() as one:
        documents = one.documents(timeout_s=SHORT_S, resolve=never)
        assert "took longer" in await refusal(documents, one.url())


@pytest.mark.negative(76)
async def test_a_port_that_accepts_and_never_speaks_tls_counts_as_slow() -> None:
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    async with site() as one:
        one.port = server.sockets[0].getsockname()[1]
        assert "took longer" in await refusal(one.documents(timeout_s=SHORT_S), one.url())
    server.close()
    for writer in accepted:
        writer.transport.abort()
    await server.wait_closed()


@pytest.mark.negative(77)
async def test_a_document_gives_the_redirects_it_lists_as_written_and_no_other() -> None:
    """Here, that none is added, dropped or normalized; /authorize has to show that it refuses another."""
    listed = [
        *REDIRECTS,
        "HTTP://LOCALHOST:80/Callback/../x?a=%7E",
        "javascript:alert(1)",
        "https://client.example",
    ]
    async with site() as one:
        url = one.publish(redirect_uris=listed, post_logout_redirect_uris=["https://evil.example/"])
        found = await one.documents().fetch(url)
        assert found["redirect_uris"] == listed
        assert "evil" not in json.dumps(found)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (status_answer(204, JSON_TYPE), "answered 204"),
        (status_answer(404), "answered 404"),
        (status_answer(410), "answered 410"),
        (status_answer(429), "answered 429"),
        (status_answer(500), "answered 500"),
        (raw(head_of(200, "Content-Length: 2") + b"{}"), "not declared as application/json"),
        (json_answer({}, content_type="text/html"), "not declared as application/json"),
        (json_answer({}, content_type="text/plain; x=application/json"), "not declared as application/json"),
        (raw(b"SSH-2.0-nonsense\r\n"), "could not be asked"),
        (raw(b""), "could not be asked"),
        (raw(head_of(200, JSON_TYPE, "Content-Length: 100") + b"{"), "could not be asked"),
        (raw(head_of(200, *(f"X-{n}: y" for n in range(1000)))), "could not be asked"),
        (raw(head_of(200, "X: " + "y" * 100_000)), "could not be asked"),
    ],
)
async def test_an_answer_that_is_no_document_is_refused(answer: Answer, why: str) -> None:
    async with site() as one:
        one.answers[PATH] = answer
        assert why in await refusal(one.documents(), one.url())


async def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    async with site() as one:
        url = one.publish()
        assert "certificate" in await refusal(one.documents(ssl_context=None), url)
        assert not one.heads


async def test_a_certificate_for_another_name_is_refused() -> None:
    async with site() as one:
        one.publish()
        assert "certificate" in await refusal(one.documents(), one.url(host="other.example"))
        assert not one.heads


async def test_a_name_that_the_system_finds_here_is_refused() -> None:
    async with site() as one:
        one.publish()
        documents = FetchedDocuments(ssl_context=trusting())
        assert "no public address" in await refusal(documents, one.url(host="localhost"))
        assert one.connections_count == 0


async def test_a_port_where_nobody_listens_is_told_without_a_traceback() -> None:
    async with site() as one:
        url = one.url()
    assert "could not be asked" in await refusal(one.documents(), url)
