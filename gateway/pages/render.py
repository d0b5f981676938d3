"""How pages are drawn: templates with escaping, and the headers that go with every one of them.

Refuses to know sessions and seats. Next: :mod:`gateway.pages.gateway_app`.
"""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.problems import Header, Problem

_HERE = Path(__file__).parent
STATIC_DIR = _HERE / "static"
STATIC_PATH = "/-/static"


def page_headers(origin: str, form_targets: str = "") -> list[Header]:
    """No script but our own file, no frame, no referrer for others, nothing cached.

    ``origin``: where the page stands; empty where none of ours is asked. ``form_targets``: further origins to
    which a form's answer may lead; browsers check redirects too.
    Source: CSP Level 3; the referrer stays on the origin, for without any a form's Origin would be "null".
    """
    files = _files(origin)
    policy = (
        f"default-src 'none'; script-src {files}; style-src {files}; img-src {files}; connect-src 'self'; "
        f"form-action 'self'{form_targets}; frame-ancestors 'none'; base-uri 'none'"
    )
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode("ascii")),
        (b"referrer-policy", b"same-origin"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]


def _files(origin: str) -> str:
    """Our own files there alone: what a container serves at this origin (a hosted link) is none of them.

    A policy cannot name an IPv6 address; there it has to be the whole origin.
    Source: CSP Level 3 section 2.3.1 (host-source).
    """
    return "'self'" if not origin or "[" in origin else f"{origin}{STATIC_PATH}/"


def draw(template: str, *, home_url: str = "/", **values: object) -> bytes:
    """A page, or a piece of one. ``home_url``: the gateway's own, for a page at another origin."""
    return _environment().get_template(template).render(home_url=home_url, **values).encode()


def draw_problem(problem: Problem, *, home_url: str) -> bytes:
    """A refusal as a page that says what next."""
    return draw("problem.html", problem=problem, home_url=home_url)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
