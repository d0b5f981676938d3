"""Answers of the gateway's own applications, and how they refuse.

Next: :mod:`gateway.pages.gateway_app`.
"""

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from gateway.asked import Asked
from gateway.auth.oauth.answers import Answer
from gateway.pages.render import draw_problem, page_headers
from gateway.problems import Problem, not_found, store_silent
from state.store.errors import StoreError

_log = structlog.get_logger(__name__)


def asked_of(request: Request) -> Asked:
    asked = request.scope["mcpgw.asked"]
    assert isinstance(asked, Asked)
    return asked


class Page(Response):
    """A page, fenced in at whichever of our origins it was asked for."""

    def __init__(self, body: bytes, status: int, form_targets: str) -> None:
        super().__init__(body, status)
        self._form_targets = form_targets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["mcpgw.asked"]
        assert isinstance(asked, Asked)
        self.raw_headers.extend(page_headers(asked.site.origin, self._form_targets))
        await super().__call__(scope, receive, send)


def page(body: bytes, *, status: int = 200, form_targets: str = "") -> Response:
    return Page(body, status, form_targets)


def answered(answer: Answer) -> Response:
    """What the authorization server answers, as it is."""
    response = Response(answer.body, answer.status)
    response.raw_headers.extend(answer.headers)
    return response


def see_other(url: str, *, set_cookie: str | None = None) -> Response:
    """After a form, or a code used: a page that may be reloaded. Source: RFC 9110 section 15.4.4."""
    response = RedirectResponse(
        url, 303, headers={"cache-control": "no-store", "referrer-policy": "no-referrer"}
    )
    if set_cookie is not None:
        response.headers["set-cookie"] = set_cookie
    return response


def answer_problems(app: FastAPI, home_url: str) -> None:
    """Refuse in the gateway's own form: a page for people, problem details for programs."""

    async def refuse(request: Request, error: Exception) -> Response:
        problem = _as_problem(error)
        asked = asked_of(request)
        asked.reason = problem.reason
        if asked.head.is_navigation:
            response = page(draw_problem(problem, home_url=home_url), status=problem.status)
        else:
            response = JSONResponse(problem.members(), problem.status, media_type="application/problem+json")
            response.headers["cache-control"] = "no-store"
        for name, value in problem.headers:
            response.headers[name.decode()] = value.decode()
        if problem.retry_after_s is not None:
            response.headers["retry-after"] = str(problem.retry_after_s)
        return response

    async def let_go(request: Request, _error: Exception) -> Response:
        """Whoever hangs up in the middle of a form: the answer is the log's alone."""
        asked_of(request).reason = "ClientGone"
        return Response(status_code=HTTPStatus.BAD_REQUEST)

    app.add_exception_handler(ClientDisconnect, let_go)
    app.add_exception_handler(Problem, refuse)
    app.add_exception_handler(HTTPException, refuse)
    app.add_exception_handler(StoreError, refuse)


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, StoreError):
        _log.warning("store.unanswered", why=str(error))
        return store_silent()
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return not_found("This gateway has no such page.")
    headers = tuple((k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items())
    return Problem(error.status_code, str(error.detail), "", reason="Refused", headers=headers)
