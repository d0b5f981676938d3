"""What is sent to the gateway itself: within a size, and within a time.

The server's own limit is on silence, as a call to a container may carry anything for hours. By it alone,
whoever sends a form drop by drop would hold a connection for days.
Next: :mod:`gateway.pages.forms`, :mod:`gateway.pages.oauth`.
"""

import asyncio
from http import HTTPStatus
from typing import Final

from fastapi import Request

from gateway.problems import Problem

BODY_S: Final = 15.0
BODY_BYTES_PER_S: Final = 8192  # what a slow line carries


def body_s_max(bytes_max: int) -> float:
    """How long a body of up to ``bytes_max`` may take."""
    return BODY_S + bytes_max / BODY_BYTES_PER_S


async def whole_body(request: Request, bytes_max: int) -> bytes | None:
    """The body; None where it is longer. Raises Problem (408) where it does not come in time."""
    body = bytearray()
    try:
        async with asyncio.timeout(body_s_max(bytes_max)):
            async for piece in request.stream():
                body += piece
                if len(body) > bytes_max:
                    return None
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            "The rest did not come in time",
            f"Send the whole request within {body_s_max(bytes_max):.0f} s.",
            reason="BodyTimeout",
        ) from None
    return bytes(body)
