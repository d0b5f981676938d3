"""One WebSocket to one endpoint: messages pass both ways with their close codes, at the slower side's pace.

The client's side is ASGI, the upstream's the `websockets` library on a connection that the pool dials: no
redirects, no environment proxies, no compression. Pings are answered on either side and not passed on; the
upstream is not pinged, for a paused container keeps its connections. Whoever retires it cuts them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Request
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from gateway.proxy.client import Message, Receive, Scope, Send
from gateway.proxy.endpoint import Endpoint, Header, UpstreamHead
from gateway.proxy.headers import answer_headers, request_headers
from gateway.proxy.limits import Limits
from gateway.proxy.outcome import Activity, Failure, Outcome
from gateway.proxy.pool import Pool
from gateway.proxy.problems import problem

# Source: RFC 6455 section 7.4.1 and IANA's registry of close codes. 1005 and 1006 are never on the wire.
_NO_CODE, _ABNORMAL, _NORMAL, _TOO_BIG, _RESTART, _BAD_GATEWAY = 1005, 1006, 1000, 1009, 1012, 1014
# What the handshake on the other side states anew.
_HANDSHAKE_HEADERS = frozenset({b"date", b"content-length", b"content-type"})


class Ending(NamedTuple):
    """Who ended the conversation, and how."""

    by_client: bool
    code: int
    reason: str


class UpstreamHandshake(ClientProtocol):
    """The library's client protocol with a request head of the router's making."""

    def __init__(self, scope: Scope, head: UpstreamHead, endpoint: Endpoint, limits: Limits) -> None:
        offered = [Subprotocol(name) for name in scope.get("subprotocols", ())]
        super().__init__(
            WebSocketURI(secure=False, host=endpoint.host, port=endpoint.port, path="/", query=""),
            subprotocols=offered or None,
            max_size=limits.message_bytes_max,
        )
        self._head = head
        self._client_headers: list[Header] = scope["headers"]

    def connect(self) -> Request:
        request = super().connect()
        headers = Headers([("Host", self._head.host.decode("latin-1"))])
        for name, value in request.headers.raw_items():
            if name.lower() != "host":
                headers[name] = value
        kept = request_headers(self._client_headers, self._head.own.names)
        for raw_name, raw_value in (*kept, *self._head.headers):
            if not raw_name.startswith(b"sec-websocket-") and raw_name != b"content-length":
                headers[raw_name.decode("latin-1")] = raw_value.decode("latin-1")
        return Request(self._head.target.decode("ascii"), headers)


class Tunnel:
    """One WebSocket on its way, over a connection already dialled. `run` is the whole story."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        upstream: ClientConnection,
        limits: Limits,
        activity: Activity,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._upstream = upstream
        self._limits = limits
        self._activity = activity
        self.outcome = Outcome()

    async def run(self, pool: Pool) -> None:
        self._activity.request_began()
        pool.upgraded.add(self)
        listening: asyncio.Task[Message] | None = None
        try:
            await self._receive()  # websocket.connect, always
            listening = asyncio.ensure_future(self._receive())
            if await self._open(listening):
                await self._accept()
                await self._converse(listening)
        finally:
            if listening is not None:
                listening.cancel()
            self._upstream.transport.abort()
            pool.upgraded.discard(self)
            self._activity.request_ended()

    def give_up(self, failure: Failure, detail: str) -> None:
        """End it from outside: the incarnation retires."""
        self._note(failure, detail)
        self._upstream.transport.abort()

    # The handshake

    async def _open(self, listening: asyncio.Future[Message]) -> bool:
        """Shake hands with the upstream while the client waits; what it says meanwhile waits too."""
        shaking = asyncio.ensure_future(self._shake_hands())
        try:
            both: set[asyncio.Future[Any]] = {shaking, listening}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and listening.result()["type"] == "websocket.disconnect":
                self._note(Failure.CLIENT_GONE, "the client hung up")
                return False
            return await shaking
        finally:
            shaking.cancel()

    async def _shake_hands(self) -> bool:
        try:
            async with asyncio.timeout(self._limits.upgrade_s):
                await self._upstream.handshake(user_agent_header=None)
        except InvalidStatus as refusal:
            await self._deny(refusal)
        except TimeoutError:
            await self._fail(Failure.HEADER_TIMEOUT, "it did not answer the WebSocket handshake in time")
        except (InvalidHandshake, ConnectionClosed, EOFError, OSError) as error:
            lost = self._upstream.response is None
            await self._fail(Failure.UPSTREAM_RESET if lost else Failure.BAD_RESPONSE, _reason(error))
        else:
            return True
        return False

    async def _deny(self, refusal: InvalidStatus) -> None:
        """The upstream's own refusal is an answer like any other."""
        response = refusal.response
        raw = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in response.headers.raw_items()]
        kept, _ = answer_headers(response.status_code, raw)
        headers = [header for header in kept if header[0] != b"date"]
        status = response.status_code if 200 <= response.status_code < 600 else 502
        await self._refuse(status, headers, bytes(response.body or b""))

    async def _fail(self, failure: Failure, detail: str) -> None:
        self._note(failure, detail)
        await self._refuse(*problem(self.outcome.failure, self.outcome.detail))

    async def _refuse(self, status: int, headers: list[Header], body: bytes) -> None:
        if "websocket.http.response" not in (self._scope.get("extensions") or {}):
            await self._send({"type": "websocket.close", "code": _BAD_GATEWAY})
            return
        self.outcome.status = status
        headers = [header for header in headers if header[0] != b"content-length"]
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": body, "more_body": False})

    async def _accept(self) -> None:
        response = self._upstream.response
        assert response is not None, "the handshake is over"
        raw = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in response.headers.raw_items()]
        headers = [
            (name, value)
            for name, value in answer_headers(response.status_code, raw)[0]
            if name not in _HANDSHAKE_HEADERS and not name.startswith(b"sec-websocket-")
        ]
        self.outcome.status, self.outcome.answer_began = 101, True
        await self._send(
            {"type": "websocket.accept", "subprotocol": self._upstream.subprotocol, "headers": headers}
        )

    # The conversation

    async def _converse(self, listening: asyncio.Future[Message]) -> None:
        """Pump both ways until one side ends; then end the other in the same words."""
        up = asyncio.ensure_future(self._pump_up(listening))
        down = asyncio.ensure_future(self._pump_down())
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            ending = up.result() if up.done() else down.result()
        finally:
            up.cancel()
            down.cancel()
        if ending.by_client:
            await self._close_upstream(ending)
        else:
            await self._close_client(ending)

    async def _pump_up(self, listening: asyncio.Future[Message]) -> Ending:
        message = await listening
        while message["type"] == "websocket.receive":
            binary = message.get("bytes")
            content: str | bytes = message["text"] if binary is None else binary
            self._activity.frame()
            self._activity.bytes_up(len(content))
            self.outcome.frames += 1
            self.outcome.bytes_up += len(content)
            try:
                async with asyncio.timeout(self._limits.idle_s):
                    await self._upstream.send(content)
            except ConnectionClosed as closed:
                return self._upstream_closed(closed)
            except TimeoutError:
                self._note(Failure.IDLE_TIMEOUT, "it stopped reading")
                return Ending(False, _BAD_GATEWAY, "")
            message = await self._receive()
        return Ending(True, message.get("code", _NO_CODE), message.get("reason") or "")

    async def _pump_down(self) -> Ending:
        while True:
            try:
                content = await self._upstream.recv()
            except ConnectionClosed as closed:
                return self._upstream_closed(closed)
            self._activity.frame()
            self._activity.bytes_down(len(content))
            self.outcome.frames += 1
            self.outcome.bytes_down += len(content)
            kind = "text" if isinstance(content, str) else "bytes"
            try:
                await self._send({"type": "websocket.send", kind: content})
            except OSError:  # how ASGI servers tell that the client has gone
                return Ending(True, _ABNORMAL, "")

    def _upstream_closed(self, closed: ConnectionClosed) -> Ending:
        """The upstream's own close frame; without one, what went wrong."""
        if closed.rcvd is not None:
            return Ending(False, closed.rcvd.code, closed.rcvd.reason)
        if self.outcome.failure is Failure.RETIRED:
            return Ending(False, _RESTART, "the container is being replaced or put to sleep")
        if closed.sent is not None and closed.sent.code == _TOO_BIG:
            self._note(Failure.BAD_RESPONSE, f"a message exceeds {self._limits.message_bytes_max} bytes")
            return Ending(False, _TOO_BIG, "")
        self._note(Failure.UPSTREAM_RESET, "it closed the connection without a close frame")
        return Ending(False, _BAD_GATEWAY, "")

    async def _close_upstream(self, ending: Ending) -> None:
        """In the client's words: no frame if it sent none, no code if it gave none."""
        upstream = self._upstream
        if ending.code == _ABNORMAL:
            self._note(Failure.CLIENT_GONE, "the client hung up")
            return
        with suppress(ConnectionClosed):
            async with upstream.send_context():
                if ending.code == _NO_CODE:
                    upstream.protocol.send_close()
                else:
                    upstream.protocol.send_close(ending.code, ending.reason)

    async def _close_client(self, ending: Ending) -> None:
        code = _NORMAL if ending.code == _NO_CODE else ending.code
        with suppress(OSError):
            await self._send({"type": "websocket.close", "code": code, "reason": ending.reason})

    def _note(self, failure: Failure, detail: str) -> None:
        if self.outcome.failure is Failure.NONE:
            self.outcome.failure, self.outcome.detail = failure, detail


def _reason(error: Exception) -> str:
    return f"it answered the WebSocket handshake wrongly ({error})" if str(error) else "it hung up"
