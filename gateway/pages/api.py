"""The gateway's API under ``/-/api/v1``: what one's own container is like, its log, restart, sleep and end.

For Apps by key, for people by a token or their session; a session needs the CSRF token in a header for what
changes something. Next: :mod:`gateway.pages.view`.
"""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from gateway.auth.callers import NotIdentifiedError
from gateway.auth.resources import API_PATH
from gateway.doors import refuse_misused, refuse_overrun, required_user, unidentified, wait_believed
from gateway.log_views import Log
from gateway.origins import refuse_embedding
from gateway.pages.answers import asked_of
from gateway.pages.desk import Desk
from gateway.pages.forms import CSRF_HEADER, refuse_forged
from gateway.pages.view import phase_of
from gateway.problems import unauthenticated
from gateway.routes.seat import Seat
from gateway.throttles import identified
from state.kinds.log_view import LogViewStatus


def add_api(app: FastAPI, desk: Desk) -> None:
    api = Api(desk)
    app.add_api_route(f"{API_PATH}/containers", api.containers, methods=["GET"], response_model=None)
    app.add_api_route(f"{API_PATH}/containers/{{name}}", api.container, methods=["GET"], response_model=None)
    app.add_api_route(f"{API_PATH}/containers/{{name}}", api.delete, methods=["DELETE"], response_model=None)
    app.add_api_route(f"{API_PATH}/containers/{{name}}/log", api.log, methods=["GET"], response_model=None)
    for verb, endpoint in (("restart", api.restart), ("sleep", api.sleep)):
        path = f"{API_PATH}/containers/{{name}}/{verb}"
        app.add_api_route(path, endpoint, methods=["POST"], response_model=None)


class Api:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def containers(self, request: Request) -> Response:
        user = await self._user(request, changes=False)
        return _json({"items": [_status(seat) for seat in self._desk.table.seats_of(user)]})

    async def container(self, request: Request, name: str) -> Response:
        user = await self._user(request, changes=False)
        return _json(_status(self._desk.own_seat(user, name)))

    async def log(self, request: Request, name: str) -> Response:
        """How it ends; ``message`` says why it cannot be read now, and ``readAt`` when it last could."""
        user = await self._user(request, changes=False)
        return _json(_log_status(await self._desk.logs.look(self._desk.own_seat(user, name))))

    async def restart(self, request: Request, name: str) -> Response:
        user = await self._user(request, changes=True)
        await self._desk.restart(self._desk.own_seat(user, name), user)
        return _json({"accepted": True}, 202)

    async def sleep(self, request: Request, name: str) -> Response:
        """It sleeps until its next call."""
        user = await self._user(request, changes=True)
        await self._desk.sleep(self._desk.own_seat(user, name), user)
        return _json({"accepted": True}, 202)

    async def delete(self, request: Request, name: str) -> Response:
        """End it and put its data aside, as a reset does; the next call begins anew."""
        user = await self._user(request, changes=True)
        await self._desk.reset(self._desk.own_seat(user, name), user)
        return _json({"accepted": True}, 202)

    async def _user(self, request: Request, *, changes: bool) -> str:
        """Who asks. Raises Problem: 503, 401, 400, 403."""
        desk, asked = self._desk, asked_of(request)
        head = asked.head
        await wait_believed(desk.table)
        resource = desk.sites.gateway.origin + API_PATH
        if b"authorization" in head.values:
            try:
                caller = await identified(desk.callers, desk.throttles, asked)
            except NotIdentifiedError as nobody:
                raise unidentified(nobody, desk.resources, resource) from None
            refuse_misused(caller, desk.resources, resource)
            refuse_overrun(caller)
            return required_user(caller)
        refuse_embedding(head)  # for a session, which the browser sends along by itself
        visitor = await desk.sessions.visitor(head)
        if visitor is None or desk.people.admitted(visitor.user) is None:
            detail = "Send an App's key and X-App-User, a token for this API, or sign in."
            raise unauthenticated(detail, desk.resources.challenge(resource))
        if changes:
            refuse_forged(visitor, request.headers.get(CSRF_HEADER, ""))
        return visitor.user


def _log_status(log: Log) -> dict[str, object]:
    status = log.status if log.status is not None else LogViewStatus()
    read_at = status.read_at
    message = log.trouble or status.message or ("" if log.is_read else "it was not read yet; ask again")
    return {"text": status.text, "readAt": read_at and read_at.isoformat(), "message": message}


def _status(seat: Seat) -> dict[str, object]:
    status = seat.resource.status
    return {
        "name": seat.name,
        "template": seat.template,
        "phase": phase_of(seat)[0],
        "generation": seat.resource.metadata.generation,
        "observedGeneration": status.observed_generation,
        "restartCount": status.restart_count,
        "conditions": [c.model_dump(mode="json", by_alias=True) for c in status.conditions],
    }


def _json(content: object, status: int = 200) -> Response:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
