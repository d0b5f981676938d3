"""A first-party program that acts for its own users: a bearer key, and ``X-App-User: <id>``.

Keys are compared by their SHA-256, looked up in a table that the watch feeds, so a key withdrawn is refused
from the next batch on. Only the header counts: a token in the query, or a cookie, is nobody.
Next: :mod:`gateway.seats`.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from gateway.head import Head
from gateway.problems import bad_request, unauthenticated
from gateway.routes.table import Table
from state.kinds.app import App, app_user, key_sha256

CALLERS_KNOWN_MAX = 8192

# Source: RFC 6750 section 2.1 (b64token); the scheme's case does not matter (RFC 9110 section 11.1).
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]{1,512}=*)", re.IGNORECASE)
_NOBODY = "Send Authorization: Bearer <app key>. Neither a cookie nor a token in the URL counts here."
_UNKNOWN = "The key is unknown. Mint one with `mcpgw app-key` and put its hash into the App's manifest."
_DOUBLED = "Send exactly one Authorization header."


@dataclass(frozen=True, slots=True)
class Caller:
    """An App, and the user it speaks for; None where the path has to name the user."""

    app: App
    user: str | None


class Callers:
    """Who asks, remembered by the key's hash for as long as no App changes. One a worker."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: dict[tuple[bytes, bytes | None], Caller] = {}
        self._apps_version = table.apps_version

    def identify(self, head: Head) -> Caller:
        """As :func:`identify`; most callers come again."""
        if self._apps_version != self._table.apps_version or len(self._known) >= CALLERS_KNOWN_MAX:
            self._known.clear()
            self._apps_version = self._table.apps_version
        authorization = head.values.get(b"authorization")
        if authorization is None or head.doubled:
            return identify(self._table, head)
        key = (sha256(authorization).digest(), head.values.get(b"x-app-user"))
        caller = self._known.get(key)
        if caller is None:
            caller = self._known[key] = identify(self._table, head)
        return caller


def identify(table: Table, head: Head) -> Caller:
    """Who asks. Raises Problem: 401 without a good key, 400 where the user's id is malformed."""
    app = _app(table, head)
    claimed = head.values.get(b"x-app-user")
    if claimed is None:
        return Caller(app, None)
    if b"x-app-user" in head.doubled:
        raise bad_request("Send exactly one X-App-User header.", "DoubledUser")
    user = app_user(app.name, claimed.decode("latin-1"))
    if user is None:
        raise bad_request(
            "X-App-User must be 1 to 96 of the characters A-Z a-z 0-9 . _ @ + -, and begin with a letter or "
            "digit.",
            "MalformedUser",
        )
    return Caller(app, user)


def _app(table: Table, head: Head) -> App:
    authorization = head.values.get(b"authorization")
    if authorization is None:
        raise unauthenticated(_NOBODY, error=False)
    if b"authorization" in head.doubled:
        raise unauthenticated(_DOUBLED, error=True)
    match = _BEARER.fullmatch(authorization)
    if match is None:
        raise unauthenticated(_NOBODY, error=False)
    app = table.app_with_key(key_sha256(match[1].decode("ascii")))
    if app is None:
        raise unauthenticated(_UNKNOWN, error=True)
    return app
