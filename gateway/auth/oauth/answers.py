"""What the authorization server answers, as plain values. Next: :mod:`gateway.auth.oauth.server`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import orjson

Header = tuple[bytes, bytes]
NO_STORE: tuple[Header, ...] = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Names of headers are lower-case; who sends it adds the length."""

    status: int
    headers: tuple[Header, ...]
    body: bytes = b""

    @property
    def location(self) -> str:
        """Where it redirects; empty: nowhere."""
        return next((value.decode() for name, value in self.headers if name == b"location"), "")


def json_answer(status: int, members: Mapping[str, Any], headers: tuple[Header, ...] = ()) -> Answer:
    """Source: RFC 6749 section 5.1: whatever may hold a token is never cached."""
    return Answer(
        status, ((b"content-type", b"application/json"), *NO_STORE, *headers), orjson.dumps(members)
    )


def error_answer(status: int, error: str, description: str, headers: tuple[Header, ...] = ()) -> Answer:
    return json_answer(status, {"error": error, "error_description": description}, headers)


def redirect(uri: str, parameters: Iterable[tuple[str, str]]) -> Answer:
    """To ``uri`` as it was registered, byte for byte, with ``parameters`` behind its query.

    Source: RFC 6749 section 4.1.2; RFC 9700 section 4.12 (303, so that no form is sent on).
    """
    location = f"{uri}{'&' if '?' in uri else '?'}{urlencode(list(parameters))}"
    return Answer(HTTPStatus.SEE_OTHER, ((b"location", location.encode("ascii")), *NO_STORE))
