"""Pages that follow what happens: server-sent events, one for each change of a seat, or of its log.

Decides how long a stream lives (never longer than what let its reader in) and how many there may be.
The pages work without it, by reloading.
Source: WHATWG HTML section 9.2. Next: :mod:`gateway.pages.gateway_app`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from fastapi.responses import StreamingResponse

from gateway.changing import Changing
from gateway.pages.desk import FOLLOWERS_MAX, Desk, too_many_followers
from gateway.streams import Holder, Pass
from state.store.errors import StoreError

COMMENT_EVERY_S = 15.0
STREAM_S = 600.0  # then the browser connects again
CHANGING_MAX = 16  # seats, or a seat and its log
STREAMS_PER_CHANGING_MAX = 16
STREAMS_PER_USER_MAX = 16  # who may have no seat at all


class _Follower:
    """How a stream hears, as every exchange of a person's does, that it has to end."""

    def __init__(self) -> None:
        self.is_cut = asyncio.Event()

    def cut(self) -> None:
        self.is_cut.set()


def follow(
    desk: Desk,
    changing: tuple[Changing, ...],
    state: Callable[[], object],
    is_in: Callable[[], Awaitable[bool]],
    *,
    user: str,
) -> StreamingResponse:
    """``state`` as an event now and after every change of what is ``changing``. Raises Problem (503).

    It lasts while ``is_in``: the ``user`` who opened it is signed in, and let in. That may raise StoreError.
    """
    holder, followed = desk.table.streams.holder(user), changing[:CHANGING_MAX]
    if (
        desk.followers_count >= FOLLOWERS_MAX
        or holder.followers_count >= STREAMS_PER_USER_MAX
        or any(one.watched_count >= STREAMS_PER_CHANGING_MAX for one in followed)
    ):
        raise too_many_followers()
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    events = _events(desk, holder, followed, state, is_in)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _events(
    desk: Desk,
    holder: Holder,
    changing: tuple[Changing, ...],
    state: Callable[[], object],
    is_in: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + STREAM_S
    follower = _Follower()
    holder.running[follower] = Pass(is_in)
    _count(desk, holder, changing, 1)
    try:
        shown = None
        while loop.time() < ends_at and not desk.closing.is_set():
            if follower.is_cut.is_set() or not await is_in():
                return
            now = orjson.dumps(state())
            yield b": still here\n\n" if now == shown else b"event: state\ndata: %b\n\n" % now
            shown = now
            await _change(changing, desk.closing, follower.is_cut)
    except StoreError:
        return  # nobody knows who may look; the browser connects again
    finally:
        _count(desk, holder, changing, -1)
        holder.running.pop(follower, None)


def _count(desk: Desk, holder: Holder, changing: tuple[Changing, ...], by: int) -> None:
    desk.followers_count += by
    holder.followers_count += by
    for one in changing:
        one.watched_count += by


async def _change(changing: tuple[Changing, ...], *ends: asyncio.Event) -> None:
    """Until one of them changed, the stream ends, or it is time for a comment."""
    waiters = [one.next_change() for one in changing]
    ending = [asyncio.ensure_future(end.wait()) for end in ends]
    either: set[asyncio.Future[Any]] = {*ending, *waiters}
    try:
        await asyncio.wait(either, timeout=COMMENT_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ending:
            end.cancel()
        for one, waiter in zip(changing, waiters, strict=True):
            one.forget_waiter(waiter)
