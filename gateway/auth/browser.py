"""A cookie that ties what follows to one browser: a form to its page, an answer to who asked for it.

Decides names, attributes and how a form's token follows from the secret. Nobody is signed in by it.
Next: :mod:`gateway.auth.login`.
"""

import base64
import hashlib
import hmac
import re
from typing import Final

from gateway.auth.sessions import mint_secret
from gateway.head import Head, cookies

FORM_COOKIE: Final = "mcpgw-browser"  # for the forms of whoever is not signed in
BROWSER_S: Final = 600.0
COOKIES_TRIED_MAX: Final = 8
_SECRET = re.compile(r"[\w-]{43}", re.ASCII)  # as `mint_secret` makes them


class BrowserCookie:
    """One purpose of such a cookie. ``name`` without the prefix that https gives it."""

    def __init__(self, name: str, *, is_https: bool) -> None:
        self._name = f"__Host-{name}" if is_https else name
        self._secure = "; Secure" if is_https else ""

    def secrets(self, head: Head) -> list[str]:
        """Every well-formed one: a sibling's page may have set another in front of ours."""
        named = cookies(head, self._name.encode())
        return [secret for secret in named if _SECRET.fullmatch(secret)][:COOKIES_TRIED_MAX]

    def kept_or_new(self, head: Head) -> str:
        """The secret to go on with: two pages of one browser do not end each other's."""
        return next(iter(self.secrets(head)), None) or mint_secret()

    def set(self, secret: str) -> str:
        """The Set-Cookie value. Lax: an identity provider sends people back from its own site."""
        attributes = f"Path=/; HttpOnly; SameSite=Lax{self._secure}; Max-Age={int(BROWSER_S)}"
        return f"{self._name}={secret}; {attributes}"


def form_token(secret: str, *meant: str) -> str:
    """What a form carries that only a page drawn for this browser can know, and for ``meant`` alone."""
    digest = hmac.digest(secret.encode(), "\n".join(("form", *meant)).encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_form_token(secrets: list[str], given: str, *meant: str) -> bool:
    """Whether ``given`` is that token for one of the browser's secrets."""
    return any(hmac.compare_digest(form_token(secret, *meant).encode(), given.encode()) for secret in secrets)
