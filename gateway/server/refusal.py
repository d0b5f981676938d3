"""What the server answers before any application has seen the request, and why."""

from __future__ import annotations

from http import HTTPStatus

import structlog

from gateway.server.head import RefusedError

_log = structlog.get_logger(__name__)


def refusal(status: int, detail: str) -> bytes:
    body = f"{detail}\n".encode("ascii", "replace")
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def ours(cause: BaseException | None) -> RefusedError:
    """What one of our callbacks raised: a refusal, or a mistake of ours that the log must show."""
    if isinstance(cause, RefusedError):
        return cause
    _log.error("request.broke", exc_info=cause)
    return RefusedError(500, "The gateway made a mistake; its log says which.")
