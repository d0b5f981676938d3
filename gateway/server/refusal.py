"""The bytes of an answer that the server gives before any application has seen the request."""

from __future__ import annotations

from http import HTTPStatus


def refusal(status: int, detail: str) -> bytes:
    body = f"{detail}\n".encode("ascii", "replace")
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
