"""The answers that the proxy gives in an upstream's stead: problem details for programs and people.

Source: RFC 9457. Never an address, never a traceback: what failed, why, and what to do about it.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from gateway.proxy.client import Send
from gateway.proxy.outcome import Failure

_MEND = "Try again; if it keeps happening, restart the container from the account page."
_TITLES = {
    Failure.HEADER_TIMEOUT: (504, "The container did not answer in time"),
    Failure.IDLE_TIMEOUT: (504, "The container stopped in the middle of its work"),
    Failure.UPSTREAM_RESET: (502, "The container closed the connection before it answered"),
    Failure.BAD_RESPONSE: (502, "The container's answer is not valid HTTP"),
    Failure.RETIRED: (503, "The container is being replaced or put to sleep"),
    Failure.DIAL_RETIRED: (503, "The container is being replaced or put to sleep"),
    Failure.DIAL_UNSURE: (503, "The gateway is not sure where the container is"),
    Failure.SATURATED: (503, "The container has too many connections open"),
}
_RETRY_AFTER_S = b"1"


def problem(failure: Failure, detail: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the answer to a request that failed this way."""
    status, title = _TITLES.get(failure, (502, "The container could not be reached"))
    body = json.dumps(
        {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": f"{detail[:1].upper()}{detail[1:]}. {_MEND}" if detail else _MEND,
            "reason": str(failure),
        }
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", _RETRY_AFTER_S))
    return status, headers, body


async def send_problem(send: Send, failure: Failure, detail: str) -> int:
    """Answer; returns the status."""
    status, headers, body = problem(failure, detail)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
    return status
