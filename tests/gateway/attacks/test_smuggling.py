"""Requests that two servers might frame differently, with a neighbour's request behind them.

Mallory's bytes and Bob's arrive on one connection, as they do behind a proxy that everybody shares. What she
hides is a whole request in Bob's name, with a key that is good: it is served if anybody takes it for one.
"""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.attacks.conftest import Place
from tests.proxy.rig import status

pytestmark = pytest.mark.asyncio(loop_scope="module")

HIDDEN = "/mcp/hidden"
CHUNKED = "Transfer-Encoding: chunked"

Attack = Callable[[Place, bytes], bytes]


def framed(
    *lines: str, method: str = "POST", body: Callable[[bytes], bytes] = lambda hidden: hidden
) -> Attack:
    """A head with these lines, and a body in which the hidden request is."""

    def build(place: Place, hidden: bytes) -> bytes:
        told = (line.replace("{length}", str(len(body(hidden)))) for line in lines)
        return place.head("mallory", *told, method=method) + b"\r\n" + body(hidden)

    return build


def ended(hidden: bytes) -> bytes:
    """A chunked body that ends at once; the hidden request comes behind its end."""
    return b"0\r\n\r\n" + hidden


def in_chunk(hidden: bytes) -> bytes:
    return f"{len(hidden):x}\r\n".encode() + hidden + b"\r\n0\r\n\r\n"


def after_chunk(line: bytes) -> Callable[[bytes], bytes]:
    """A chunk head as given, whose reading decides where the body ends."""
    return lambda hidden: line + b"\r\n0\r\n\r\n" + hidden


DISGUISES = {
    "with a space before its colon": "Transfer-Encoding : chunked",
    "with a tab before its colon": "Transfer-Encoding\t: chunked",
    "with a vertical tab": "Transfer-Encoding: \x0bchunked",
    "with a no-break space": "Transfer-Encoding: \xa0chunked",
    "folded": "Transfer-Encoding:\r\n chunked",
    "folded behind another value": "X: y\r\n Transfer-Encoding: chunked",
    "behind a bare line feed": "X: y\nTransfer-Encoding: chunked",
    "behind a bare carriage return": "X: y\rTransfer-Encoding: chunked",
    "behind a NUL": "X: y\x00\r\nTransfer-Encoding: chunked",
    "in quotes": 'Transfer-Encoding: "chunked"',
    "misspelt": "Transfer-Encoding: xchunked",
    "behind identity": "Transfer-Encoding: identity, chunked",
    "before identity": "Transfer-Encoding: chunked, identity",
    "twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "beside cow": "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    "with a parameter": "Transfer-Encoding: chunked;q=1",
    "in another case": "tRANSFER-eNCODING: ChUnKeD",
}

ATTACKS: dict[str, Attack] = {
    "CL.TE": framed("Content-Length: {length}", CHUNKED, body=ended),
    "TE.CL": framed(CHUNKED, "Content-Length: 4", body=in_chunk),
    "TE.CL, in chunks": framed("Content-Length: 3", CHUNKED, body=in_chunk),
    "CL.0": framed("Content-Length: {length}", method="GET"),
    "CL.0 in HEAD": framed("Content-Length: {length}", method="HEAD"),
    "CL.0 in OPTIONS": framed("Content-Length: {length}", method="OPTIONS"),
    "0.CL": framed("Content-Length: 0"),
    "chunks in GET": framed(CHUNKED, method="GET", body=in_chunk),
    "chunks in HEAD": framed(CHUNKED, method="HEAD", body=in_chunk),
    "two lengths, the first short": framed("Content-Length: 0", "Content-Length: {length}"),
    "two lengths, the second short": framed("Content-Length: {length}", "Content-Length: 0"),
    "two equal lengths": framed("Content-Length: {length}", "Content-Length: {length}"),
    "a list of lengths": framed("Content-Length: 0, {length}"),
    "a length with a sign": framed("Content-Length: +{length}"),
    "a length with a sign, of nothing": framed("Content-Length: -0"),
    "a length with zeros": framed("Content-Length: 000"),
    "a length in hexadecimal": framed("Content-Length: 0x0"),
    "a length with a space in it": framed("Content-Length: 0 {length}"),
    "a length with a comma behind": framed("Content-Length: 0,"),
    "a length spelt with an underscore": framed("Content_Length: {length}"),
    "a length with a space before its colon": framed("Content-Length : {length}"),
    "a folded length": framed("Content-Length:\r\n {length}"),
    "a length folded into another header": framed("X: y\r\n\tContent-Length: {length}"),
    "a length that overflows": framed("Content-Length: 18446744073709551616"),
    "a length named by Connection": framed("Content-Length: {length}", "Connection: content-length"),
    "chunks named by Connection": framed(CHUNKED, "Connection: transfer-encoding", body=in_chunk),
    "an expectation that is not waited for": framed("Content-Length: {length}", "Expect: 100-continue"),
    "an expectation of something else": framed("Content-Length: {length}", "Expect: 200-ok"),
    "an upgrade to h2c": framed(
        "Content-Length: {length}",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    ),
    "a WebSocket that is none": framed(
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 777", method="GET"
    ),
    "a WebSocket without a key": framed(
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", method="GET"
    ),
    "a WebSocket with a body": framed(
        "Connection: Upgrade", "Upgrade: websocket", "Content-Length: {length}", method="GET"
    ),
    "a TE.0": framed(CHUNKED, method="OPTIONS", body=in_chunk),
    "a chunk size that overflows": framed(CHUNKED, body=after_chunk(b"10000000000000000")),
    "a chunk size with a prefix": framed(CHUNKED, body=after_chunk(b"0x0")),
    "a chunk size with an underscore": framed(CHUNKED, body=after_chunk(b"0_0")),
    "a chunk size with a minus": framed(CHUNKED, body=after_chunk(b"-1")),
    "a chunk size behind a space": framed(CHUNKED, body=after_chunk(b" 0")),
    "a chunk size of nothing": framed(CHUNKED, body=after_chunk(b"")),
    "a chunk extension with a bare line feed": framed(CHUNKED, body=after_chunk(b"2;x\nab")),
    "a chunk extension with a bare carriage return": framed(CHUNKED, body=after_chunk(b"2;x\rab")),
    "a chunk that ends in other bytes": framed(CHUNKED, body=lambda hidden: b"1\r\naXX0\r\n\r\n" + hidden),
    "a chunk that ends in a line feed": framed(CHUNKED, body=lambda hidden: b"1\r\na\n0\r\n\r\n" + hidden),
    "a last chunk that ends in line feeds": framed(CHUNKED, body=lambda hidden: b"0\n\n" + hidden),
    "a request in the trailers": framed(CHUNKED, body=lambda hidden: b"0\r\n" + hidden),
    "a length in the trailers": framed(
        CHUNKED, body=lambda hidden: f"0\r\nContent-Length: {len(hidden)}\r\n\r\n".encode() + hidden
    ),
    "a head that ends in line feeds": lambda place, hidden: (
        place.head("mallory", "Content-Length: 0").replace(b"\r\n", b"\n") + b"\n" + hidden
    ),
    "a header without an end": lambda place, hidden: place.head("mallory") + b"X: y\r\n \r\n" + hidden,
    "an empty line in front": lambda place, hidden: b"\r\n\r\n" + framed("Content-Length: 0")(place, hidden),
    "HTTP/1.0 that stays, in chunks": lambda place, hidden: framed(
        CHUNKED, "Connection: keep-alive", body=ended
    )(place, hidden).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "HTTP/1.0 that stays, with a length": lambda place, hidden: framed(
        "Content-Length: {length}", "Connection: keep-alive"
    )(place, hidden).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    **{
        f"chunked {how}": framed(line, "Content-Length: {length}", body=ended)
        for how, line in DISGUISES.items()
    },
    **{f"chunked {how}, no length": framed(line, body=in_chunk) for how, line in DISGUISES.items()},
}
# What Mallory sends openly behind her own request is a second request of hers, in whosever name: not hidden.
OPENLY = {
    "0.CL",
    "a length with zeros",
    "a length spelt with an underscore",
    "an empty line in front",
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_is_hidden_in_a_request_reaches_nobody_and_the_next_request_is_its_senders(
    place: Place, name: str
) -> None:
    hidden = place.head("bob", "Content-Length: 2", target=HIDDEN) + b"\r\n{}"
    for one in (place.mallory, place.bob):
        one.requests.clear()
    client = await place.connect()
    attack = ATTACKS[name](place, hidden)
    await client.send(attack)
    await client.send(place.bobs(body=b'{"bobs":1}'))
    received = await client.rest()
    await client.close()
    answers = split(received, attack.split()[0].decode())
    if name not in OPENLY:
        assert HIDDEN not in paths(place.bob), f"Bob's container was reached by what was hidden: {answers}"
    assert HIDDEN not in paths(place.mallory)
    assert "/mcp/bobs" not in paths(place.mallory), "Mallory's container was given what is Bob's"
    for answer in answers:
        if (said := told(answer)) is not None:
            mine = said["container"] == "bob" if "bobs" in said["path"] else said["container"] != "bob"
            assert mine or name in OPENLY, said
    whole = [one for one in place.bob.requests if one["path"] == "/mcp/bobs"]
    assert len(whole) <= 1
    assert all(one["body"] == '{"bobs":1}' for one in whole), "Bob's request came whole or not at all"
    await serves(place)


async def serves(place: Place) -> None:
    """Mallory's and Bob's next calls over other connections are answered by their own containers."""
    for user in ("mallory", "bob", "mallory"):
        client = await place.connect()
        await client.send(
            place.head(user, "Content-Length: 2", "Connection: close", target="/mcp/after") + b"\r\n{}"
        )
        answer = await client.rest()
        await client.close()
        assert status(answer) == 200, answer
        [body] = split(answer, "POST")
        said = told(body)
        assert said is not None and (said["container"], said["path"], said["body"]) == (
            user,
            "/mcp/after",
            "{}",
        )


def paths(container: Any) -> list[str]:
    return [one["path"] for one in container.requests]


def split(received: bytes, method: str) -> list[bytes]:
    """The bodies of all answers, by their own framing; the first is to a request of this method."""
    stream, bodies = _Stream(received), []
    while stream.rest.peek(1):
        answer = http.client.HTTPResponse(stream, method=method)  # type: ignore[arg-type]
        answer.begin()
        bodies.append(answer.read())
        method = "POST"
    return bodies


class _Stream:
    """In place of a socket: what was received, one answer after the other."""

    def __init__(self, received: bytes) -> None:
        self.rest = _Kept(io.BytesIO(received))  # type: ignore[arg-type]

    def makefile(self, mode: str) -> io.BufferedReader:
        return self.rest


class _Kept(io.BufferedReader):
    def close(self) -> None:
        """The next answer goes on where this one ends."""


def told(body: bytes) -> dict[str, Any] | None:
    """What a container said of the request that reached it; None for an answer of the gateway's own."""
    said: dict[str, Any] | None = json.loads(body) if body.startswith(b'{"container"') else None
    return said
