"""Where a browser may be sent with a code: which addresses a client may register, and which match one. Pure.

Decides on text, by one strict reading: an address that some parser might read as another host is refused, not
repaired. Source: RFC 9700 section 2.1 (exact match), RFC 8252 sections 7.1 (schemes of one's own) and 7.3
(loopback, any port). Next: :mod:`gateway.auth.oauth.clients`.
"""

import re
from typing import Final, NamedTuple

REDIRECT_CHARS_MAX: Final = 2048

# Source: RFC 3986 section 2: what may stand in a URI at all. A fragment's `#` is left out (RFC 6749 section
# 3.1.2), and with it the backslash, quotes and everything that is not ASCII.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,63}):([A-Za-z0-9._~:/?@!$&'()*+,;=%\[\]-]+)")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_WEB = re.compile(r"//([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(/[^?]*)?(\?.*)?")
_OWN = re.compile(r"(//[^/?]*)?([^?]*)(\?.*)?")
_LOOPBACK = frozenset({"127.0.0.1", "[::1]", "localhost"})

# Schemes that a browser, or what it hands them to, acts upon by itself: with a code behind them they would
# run, show or send it. Any other one belongs to a program that the person installed.
_FORBIDDEN = frozenset(
    {
        *("javascript", "vbscript", "livescript", "mocha", "data", "blob", "about", "view-source", "wyciwyg"),
        *("file", "filesystem", "content", "resource", "res", "mk", "jar", "cid", "mid", "urn", "intent"),
        *("chrome", "chrome-extension", "moz-extension", "edge", "opera", "brave", "feed", "shell"),
        *("search", "search-ms", "smb", "ssh", "sftp", "ftp", "ftps"),
        *("ws", "wss", "ldap", "ldaps", "gopher", "telnet", "nntp", "news", "irc", "ircs"),
        *("mailto", "tel", "sms", "facetime", "itms", "itms-apps", "itms-services", "macappstore"),
        *("appinstaller", "hcp", "help", "x-help-script", "applescript", "jnlp", "jnlps", "rdp", "vnc"),
        *("afp", "nfs", "git", "svn", "magnet"),
        # What opens any address in a browser: the code would go to a site that the person was never shown.
        *("microsoft-edge", "microsoft-edge-holographic", "googlechrome", "googlechromes", "firefox"),
        *("firefox-focus", "x-safari-http", "x-safari-https", "safari-http", "safari-https"),
        *("opera-http", "opera-https", "touch-http", "touch-https"),
    }
)
# Windows' and Office's own (ms-appinstaller, ms-msdt, ms-officecmd, ms-word and so on): they open installers
# and documents with what stands behind. Programs of others do not have them. And those for which a site or an
# extension may have itself called. Source: HTML, section 8.3.1.1 (custom scheme handlers).
_FORBIDDEN_BEGINNINGS = ("ms-", "web+", "ext+")


class Redirect(NamedTuple):
    """One address, read. ``host`` is what a person should be shown."""

    uri: str
    scheme: str
    host: str
    port: str
    path: str
    query: str

    @property
    def is_loopback(self) -> bool:
        return self.scheme == "http"  # nothing else may be http

    @property
    def shown(self) -> str:
        """By what a person recognizes where they are sent."""
        if self.scheme in ("http", "https"):
            return f"{self.host}:{self.port}" if self.port else self.host
        return f"{self.scheme}://{self.host}" if self.host else f"{self.scheme}:"


def read_redirect(uri: object) -> Redirect | str:
    """The address, or why nobody may be sent there: ASCII without quotes, fit for an error_description."""
    if not isinstance(uri, str) or not uri or len(uri) > REDIRECT_CHARS_MAX:
        return f"a redirect URI is a text of 1 to {REDIRECT_CHARS_MAX} characters"
    if "#" in uri:
        return "a redirect URI must not have a fragment"
    match = _URI.fullmatch(uri)
    if match is None or _BROKEN_ESCAPE.search(uri):
        return "a redirect URI is an absolute URI of ASCII characters, with others percent-encoded"
    scheme = match[1].lower()
    if scheme in ("http", "https"):
        return _web(uri, scheme, match[2])
    if scheme in _FORBIDDEN or scheme.startswith(_FORBIDDEN_BEGINNINGS):
        return f"the scheme {scheme} must not be redirected to"
    return _own(uri, scheme, match[2])


def matches(registered: Redirect, asked: str) -> bool:
    """Whether ``asked`` is the address that was registered: exactly, but for a loopback address's port."""
    if asked == registered.uri:
        return True
    if not registered.is_loopback:
        return False
    read = read_redirect(asked)
    if not isinstance(read, Redirect) or not read.is_loopback:
        return False
    return (read.host, read.path or "/", read.query) == (
        registered.host,
        registered.path or "/",
        registered.query,
    )


def _web(uri: str, scheme: str, rest: str) -> Redirect | str:
    match = _WEB.fullmatch(rest)
    if match is None or not 1 <= int(match[2] or 80) <= 65535:
        return "a redirect URI on the web is scheme://host[:port][/path][?query], without a user"
    host = match[1].lower()
    if scheme == "http" and host not in _LOOPBACK:
        return "http is for 127.0.0.1, [::1] and localhost; use https"
    return Redirect(uri, scheme, host, match[2] or "", match[3] or "", match[4] or "")


def _own(uri: str, scheme: str, rest: str) -> Redirect | str:
    match = _OWN.fullmatch(rest)
    assert match is not None, "it matches everything"
    authority = (match[1] or "").removeprefix("//")
    if "@" in authority:
        return "a redirect URI must not name a user"
    return Redirect(uri, scheme, authority, "", match[2], match[3] or "")
