"""The log of one's own container: a page, its events, and what they say of it.

Decides the words: a log is somebody's own, may be anything, and is only ever shown as text. What there is to
show comes from :mod:`gateway.log_views`. Next: :mod:`gateway.pages.events`.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from fastapi import Request
from fastapi.responses import Response

from gateway.auth.sessions import Visitor
from gateway.doors import wait_believed
from gateway.log_views import Log
from gateway.origins import refuse_embedding
from gateway.pages.answers import asked_of, page, see_other
from gateway.pages.desk import Desk
from gateway.pages.events import follow
from gateway.pages.render import draw
from gateway.pages.view import phase_of, sentence_of
from gateway.pages.welcome import name_of
from gateway.routes.seat import Seat

STALE_S = 30.0  # three times as long as it takes the reconciler to answer a gateway that asks again
RELOAD_S = 5  # without a script


@dataclass(frozen=True, slots=True)
class LogShown:
    """What a page shows of a log. ``note`` says when it was read, or why there is none."""

    phase: str
    tone: str
    sentence: str
    text: str
    note: str


class LogPages:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request, name: str = "") -> Response:
        refuse_embedding(asked_of(request).head)  # to look at a log is to have it read
        await wait_believed(self._desk.table)
        visitor = await self._visitor(request)
        if visitor is None or self._desk.people.admitted(visitor.user) is None:
            return see_other("/")  # which tells what is missing
        seat = self._desk.own_seat(visitor.user, name)
        log = await self._desk.logs.look(seat)
        body = draw(
            "log.html",
            who=name_of(self._desk, visitor.user),
            seat=seat,
            log=log_shown(seat, log, datetime.now(UTC)),
            reload_s=RELOAD_S,
        )
        return page(body)

    async def events(self, request: Request, name: str = "") -> Response:
        visitor = await self._desk.signed_in(asked_of(request).head)
        seat = self._desk.own_seat(visitor.user, name)
        log = self._desk.logs.of(seat)

        def state() -> object:
            return asdict(log_shown(seat, log, datetime.now(UTC)))

        async def is_in() -> bool:
            is_same = await self._visitor(request) == visitor
            is_own = self._desk.table.seat_named(name) is seat and seat.user == visitor.user
            return is_same and is_own and self._desk.people.admitted(visitor.user) is not None

        return follow(self._desk, (seat, log), state, is_in, user=visitor.user)

    async def _visitor(self, request: Request) -> Visitor | None:
        return await self._desk.sessions.visitor(asked_of(request).head)


def log_shown(seat: Seat, log: Log, now: datetime) -> LogShown:
    phase, tone = phase_of(seat)
    text, note = _text_and_note(seat, log, now)
    return LogShown(phase, tone, sentence_of(seat), text, note)


def _text_and_note(seat: Seat, log: Log, now: datetime) -> tuple[str, str]:
    status = log.status
    if status is None or not (log.is_read or status.text):
        return "", f"Not read yet: {log.trouble}." if log.trouble else "Not read yet."
    read = f"{status.read_at:%H:%M:%S} UTC" if status.read_at is not None else ""
    why_not = log.trouble or status.message
    if why_not:
        return status.text, f"It cannot be read now: {why_not}.{f' This was read at {read}.' if read else ''}"
    if status.read_at is None or (now - status.read_at).total_seconds() > STALE_S:
        return status.text, f"Read at {read}, and not since: the reconciler does not answer."
    if not status.incarnation:
        return _last_words(seat)
    return status.text, f"Read at {read}." if status.text else f"Nothing was printed until {read}."


def _last_words(seat: Seat) -> tuple[str, str]:
    ended = seat.resource.status.last_termination
    if ended is None or not ended.log_tail.strip():
        return "", "There is no container now."
    how = f"{ended.reason}, {ended.at:%Y-%m-%d %H:%M:%S} UTC"
    return ended.log_tail.strip(), f"There is no container now. This is how the last one ended ({how})."
