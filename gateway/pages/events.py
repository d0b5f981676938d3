"""Pages that follow what happens: server-sent events, one for each change of a seat.

Decides how long a stream lives (never longer than the session that opened it) and how many there may be.
The pages work without it, by reloading.
Source: WHATWG HTML section 9.2. Next: :mod:`gateway.pages.gateway_app`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from fastapi.responses import StreamingResponse

from gateway.pages.desk import FOLLOWERS_MAX, Desk, too_many_followers
from gateway.routes.seat import Seat
from state.store.errors import StoreError

COMMENT_EVERY_S = 15.0
STREAM_S = 600.0  # then the browser connects again
SEATS_FOLLOWED_MAX = 16
STREAMS_PER_SEAT_MAX = 16


def follow(
    desk: Desk, seats: tuple[Seat, ...], state: Callable[[], object], is_in: Callable[[], Awaitable[bool]]
) -> StreamingResponse:
    """``state`` as an event now and after every change of ``seats``. Raises Problem (503).

    It lasts while ``is_in``: whoever opened it is signed in still. That may raise StoreError.
    """
    followed = seats[:SEATS_FOLLOWED_MAX]
    if desk.followers_count >= FOLLOWERS_MAX or any(
        s.watched_count >= STREAMS_PER_SEAT_MAX for s in followed
    ):
        raise too_many_followers()
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    events = _events(desk, followed, state, is_in)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _events(
    desk: Desk, seats: tuple[Seat, ...], state: Callable[[], object], is_in: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + STREAM_S
    _count(desk, seats, 1)
    try:
        shown = None
        while loop.time() < ends_at and not desk.closing.is_set():
            now = orjson.dumps(state())
            yield b": still here\n\n" if now == shown else b"event: state\ndata: %b\n\n" % now
            shown = now
            await _change(desk, seats)
            if not await is_in():
                return
    except StoreError:
        return  # nobody knows who may look; the browser connects again
    finally:
        _count(desk, seats, -1)


def _count(desk: Desk, seats: tuple[Seat, ...], by: int) -> None:
    desk.followers_count += by
    for seat in seats:
        seat.watched_count += by


async def _change(desk: Desk, seats: tuple[Seat, ...]) -> None:
    """Until one of the seats changed, the worker closes, or it is time for a comment."""
    waiters = [seat.next_change() for seat in seats]
    closing = asyncio.ensure_future(desk.closing.wait())
    either: set[asyncio.Future[Any]] = {closing, *waiters}
    try:
        await asyncio.wait(either, timeout=COMMENT_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        closing.cancel()
        for seat, waiter in zip(seats, waiters, strict=True):
            seat.forget_waiter(waiter)
