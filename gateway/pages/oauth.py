"""What programs ask of the gateway: metadata, keys, registration, tokens. JSON, without cookies.

Decides the HTTP around it: bounds on bodies, how often, who may read it; what is answered is
:mod:`gateway.auth.oauth`'s. Next: :mod:`gateway.pages.consent`, the one step that is a person's.
"""

from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from gateway.auth.oauth.answers import Answer, error_answer
from gateway.auth.resources import METADATA_PATH
from gateway.doors import wait_believed
from gateway.pages.answers import answered, asked_of
from gateway.pages.bodies import whole_body
from gateway.pages.desk import Desk
from gateway.problems import Problem, bad_request, not_found, store_silent
from gateway.routes.path import AmbiguousPathError, normalized
from gateway.throttles import refuse_hasty
from state.store.errors import StoreError

BODY_BYTES_MAX: Final = 64 << 10
FIELDS_MAX: Final = 64
METADATA_S: Final = 300  # how long a client may keep what rarely changes
FORM: Final = "application/x-www-form-urlencoded"
_TOO_LARGE: Final = error_answer(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "invalid_request", f"Send at most {BODY_BYTES_MAX} bytes."
)
# What passes by itself: a client that knows OAuth alone tries again later.
_PASSING: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

_log = structlog.get_logger(__name__)


def add_oauth(app: FastAPI, desk: Desk) -> None:
    programs = OAuthPages(desk)
    get, post = ["GET", "HEAD"], ["POST"]
    for path, endpoint, methods in (
        ("/.well-known/oauth-authorization-server", programs.server_metadata, get),
        ("/.well-known/openid-configuration", programs.server_metadata, get),
        ("/.well-known/jwks.json", programs.keys, get),
        (METADATA_PATH, programs.resource_metadata, get),
        (METADATA_PATH + "/{path:path}", programs.resource_metadata, get),
        ("/register", programs.register, post),
        ("/token", programs.token, post),
        ("/revoke", programs.revoke, post),
    ):
        app.add_api_route(path, endpoint, methods=methods, response_model=None)


class OAuthPages:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def server_metadata(self, request: Request) -> Response:
        is_openid = asked_of(request).path.endswith("openid-configuration")
        oauth = self._desk.oauth
        return _cacheable(oauth.openid_metadata() if is_openid else oauth.metadata())

    async def keys(self, request: Request) -> Response:
        del request
        return _cacheable(await self._desk.oauth.jwks())

    async def resource_metadata(self, request: Request, path: str = "") -> Response:
        """Of the MCP address whose path follows; of the plainest one where none does."""
        del path
        await wait_believed(self._desk.table)
        asked, resources = asked_of(request), self._desk.resources
        named = asked.path.removeprefix(METADATA_PATH)
        origin = self._desk.sites.public(asked.site).origin
        resource = resources.canonical(origin + named) if _is_plain(named) else None
        if resource is None:
            raise not_found("No MCP server has this address.")
        return _cacheable(self._desk.oauth.resource_metadata(resource))

    async def register(self, request: Request) -> Response:
        return await _in_oauths_words(request, self._register(request))

    async def token(self, request: Request) -> Response:
        return await _in_oauths_words(request, self._token(request))

    async def revoke(self, request: Request) -> Response:
        return await _in_oauths_words(request, self._revoke(request))

    async def _register(self, request: Request) -> Answer:
        refuse_hasty(self._desk.throttles.register, asked_of(request))
        body = await whole_body(request, BODY_BYTES_MAX)
        if body is None:
            return _TOO_LARGE
        return await self._desk.oauth.register(body, request.headers.get("content-type", ""))

    async def _token(self, request: Request) -> Answer:
        refuse_hasty(self._desk.throttles.token, asked_of(request))
        await wait_believed(self._desk.table)
        pairs = await _pairs(request)
        return pairs if isinstance(pairs, Answer) else await self._desk.oauth.token(pairs, _headers(request))

    async def _revoke(self, request: Request) -> Answer:
        refuse_hasty(self._desk.throttles.token, asked_of(request))
        pairs = await _pairs(request)
        return pairs if isinstance(pairs, Answer) else await self._desk.oauth.revoke(pairs, _headers(request))


async def _in_oauths_words(request: Request, answering: Awaitable[Answer]) -> Response:
    """The answer; or why there is none, as RFC 6749 section 5.2 has errors: clients read no other."""
    try:
        return answered(await answering)
    except StoreError as error:
        _log.warning("store.unanswered", why=str(error))
        problem = store_silent()
    except Problem as raised:
        problem = raised
    asked_of(request).reason = problem.reason
    code = "temporarily_unavailable" if problem.status in _PASSING else "invalid_request"
    retry_s = problem.retry_after_s
    headers = problem.headers if retry_s is None else (*problem.headers, (b"retry-after", b"%d" % retry_s))
    return answered(error_answer(problem.status, code, problem.detail, headers))


def _headers(request: Request) -> dict[bytes, bytes]:
    """Raises Problem (400) where credentials stand twice."""
    head = asked_of(request).head
    if b"authorization" in head.doubled:
        raise bad_request("Send exactly one Authorization header.", "DoubledAuthorization")
    return head.values


def _is_plain(path: str) -> bool:
    try:
        return not path or normalized(path.encode()) == path
    except (AmbiguousPathError, UnicodeEncodeError):
        return False


def _cacheable(content: object) -> Response:
    return JSONResponse(content, headers={"cache-control": f"public, max-age={METADATA_S}"})


async def _pairs(request: Request) -> list[tuple[str, str]] | Answer:
    """A form's fields, doubled ones too; or the refusal, in OAuth's own words."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return error_answer(HTTPStatus.BAD_REQUEST, "invalid_request", f"Send the parameters as {FORM}.")
    body = await whole_body(request, BODY_BYTES_MAX)
    if body is None:
        return _TOO_LARGE
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return error_answer(HTTPStatus.BAD_REQUEST, "invalid_request", "The form cannot be read.")
