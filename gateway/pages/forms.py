"""What a form sends: read within bounds, and only with the token of the session that it was drawn for.

Next: :mod:`gateway.pages.gateway_app`.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from gateway.auth.sessions import Visitor, is_csrf_token
from gateway.pages.answers import asked_of
from gateway.pages.bodies import whole_body
from gateway.pages.desk import Desk
from gateway.problems import Problem, bad_request, forbidden

CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a form may send."""

    body_bytes_max: int = 32768
    fields_max: int = 16


USUAL: Final = Bounds()


async def signed_form(
    desk: Desk, request: Request, *, is_admitted: bool = True, bounds: Bounds = USUAL
) -> tuple[Visitor, dict[str, str]]:
    """Who sent the form, and its fields. ``is_admitted``: only somebody who may come in.

    The session is looked at once the form is here as a whole: whoever sends slowly is judged by what holds
    then. Raises Problem (400, 403, 408, 413, 503), StoreError.
    """
    fields = await read_fields(request, bounds)
    head = asked_of(request).head
    visitor = await (desk.signed_in(head) if is_admitted else desk.known(head))
    refuse_forged(visitor, fields.pop(CSRF_FIELD, ""))
    return visitor, fields


def refuse_forged(visitor: Visitor, token: str) -> None:
    """Raises Problem (403) unless ``token`` is the one of the visitor's session."""
    if not is_csrf_token(visitor, token):
        raise forbidden("The form is not from this session. Reload the page and try again.", "BadCsrfToken")


async def read_fields(request: Request, bounds: Bounds = USUAL) -> dict[str, str]:
    """The fields, whoever sent them. Raises Problem (400, 408, 413)."""
    body = await whole_body(request, bounds.body_bytes_max)
    if body is None:
        raise Problem(413, "The form is too large", "Send less.", reason="FormTooLarge")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=bounds.fields_max)
    except ValueError:
        raise bad_request("The form cannot be read.", "MalformedForm") from None
    return dict(pairs)
