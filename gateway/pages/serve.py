"""The door to the pages: which application answers, and the two pages that are drawn without one.

:mod:`gateway.front` calls it once origin and path are known. Next: :mod:`gateway.pages.gateway_app`.
"""

from gateway.asked import Asked
from gateway.pages.desk import Desk
from gateway.pages.gateway_app import build_gateway_app
from gateway.pages.home_app import build_home_app
from gateway.pages.render import draw, draw_problem, page_headers
from gateway.pages.view import STEPS, STRANGERS_VIEW, waiting_view
from gateway.problems import Header, Problem, send_answer
from gateway.proxy.client import Message

ASKED = "mcpgw.asked"  # the key under which an application finds the Asked in its scope
WAITING_RETRY_S = 3


class Pages:
    """One a worker."""

    def __init__(self, desk: Desk) -> None:
        self._home_url = desk.sites.gateway.origin + "/"
        self._gateway = build_gateway_app(desk)
        self._home = build_home_app(desk)

    async def serve(self, asked: Asked) -> None:
        """Answer a request to one of the gateway's own paths."""

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked.own_status = message["status"]
            await asked.send(message)

        app = self._home if asked.site.home else self._gateway
        await app({**asked.scope, "path": asked.path, ASKED: asked}, asked.receive, send)

    async def waiting(self, asked: Asked) -> None:
        """The page a browser gets instead of a container that is not ready; it reloads itself."""
        seat = asked.seat
        assert seat is not None, "only a routed request waits"
        shown = waiting_view(seat) if asked.is_owners else STRANGERS_VIEW
        body = draw(
            "waiting.html",
            home_url=self._home_url,
            shown=shown,
            steps=len(STEPS),
            retry_s=WAITING_RETRY_S,
        )
        headers = [*page_headers(asked.site.origin), (b"retry-after", b"%d" % WAITING_RETRY_S)]
        asked.own_status, asked.reason = 503, "WaitingPage"
        await send_answer(asked.send, 503, _sized(headers, body), body)

    def problem(self, problem: Problem, asked: Asked) -> tuple[int, list[Header], bytes]:
        """A refusal as a page."""
        body = draw_problem(problem, home_url=self._home_url)
        headers = [*page_headers(asked.site.origin), *problem.headers]
        if problem.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % problem.retry_after_s))
        return problem.status, _sized(headers, body), body


def _sized(headers: list[Header], body: bytes) -> list[Header]:
    return [*headers, (b"content-length", b"%d" % len(body))]
