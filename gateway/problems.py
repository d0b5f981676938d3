"""The gateway's own refusals: what it is, why, and what to do next. Never a traceback, never a secret.

Programs get problem details (RFC 9457); people get a page, which :mod:`gateway.pages` draws. Raise a Problem
anywhere on the way of a request; :mod:`gateway.front` answers with it.
"""

import math
from http import HTTPStatus

import orjson

from gateway.proxy.client import Send

Header = tuple[bytes, bytes]


class Problem(Exception):
    """One refusal. ``reason`` is CamelCase like a condition's; ``detail`` says what to do next."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        reason: str,
        retry_after_s: float | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.reason = reason
        self.retry_after_s = None if retry_after_s is None else max(1, math.ceil(retry_after_s))
        self.headers = headers

    def members(self) -> dict[str, object]:
        """The problem as JSON members."""
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "reason": self.reason,
        }

    def answer_headers(self, content_type: bytes, body: bytes) -> list[Header]:
        headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *self.headers,
        ]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after_s))
        return headers


async def send_answer(send: Send, status: int, headers: list[Header], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_problem(send: Send, problem: Problem) -> None:
    """Answer an HTTP request with problem details."""
    body = orjson.dumps(problem.members())
    await send_answer(send, problem.status, problem.answer_headers(b"application/problem+json", body), body)


async def deny_websocket(scope_extensions: object, send: Send, problem: Problem) -> None:
    """Refuse a WebSocket before it opened: with an answer where the server can, else by closing."""
    if not isinstance(scope_extensions, dict) or "websocket.http.response" not in scope_extensions:
        await send({"type": "websocket.close", "code": 1008})
        return
    body = orjson.dumps(problem.members())
    headers = problem.answer_headers(b"application/problem+json", body)
    await send({"type": "websocket.http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def unauthenticated(detail: str, challenge: bytes) -> Problem:
    """401. ``challenge``: what WWW-Authenticate says."""
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "Who is asking?",
        detail,
        reason="InvalidToken" if b"error=" in challenge else "Unauthenticated",
        headers=((b"www-authenticate", challenge),),
    )


def insufficient_scope(detail: str, challenge: bytes) -> Problem:
    """403, and what a token would need. Source: RFC 6750 section 3.1."""
    return Problem(
        HTTPStatus.FORBIDDEN,
        "This token may not do that",
        detail,
        reason="InsufficientScope",
        headers=((b"www-authenticate", challenge),),
    )


def bad_request(detail: str, reason: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "The request cannot be understood", detail, reason=reason)


def not_found(detail: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "There is nothing here", detail, reason="NotFound")


def forbidden(detail: str, reason: str) -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, "This is not allowed", detail, reason=reason)


def store_silent() -> Problem:
    """503 for what needs the store while it does not answer."""
    return unavailable(
        "The state cannot be read or written",
        "The store does not answer. Containers that run keep running; try again in a moment.",
        "StoreUnavailable",
        5.0,
    )


def unavailable(title: str, detail: str, reason: str, retry_after_s: float) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, title, detail, reason=reason, retry_after_s=retry_after_s)
