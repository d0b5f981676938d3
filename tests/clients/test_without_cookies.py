"""A browser that refuses the gateway's cookies, at a real provider: a page that says so, and never a loop."""

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest

from tests.clients.place import Place
from tests.clients.robot import Cookies, LostError, Person, Seen, _Step
from tests.idp.walk import Proof

CALLBACK = "http://127.0.0.1:9/callback"
STEPS_MAX = 8  # the whole way there and back, with the provider's own steps


class Refusing(Cookies):
    """Sends none to the gateway: never, or not when the provider sends the browser back."""

    def __init__(self, is_refused: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_refused = is_refused

    def header(self, url: str) -> dict[str, str]:
        return {} if self._is_refused(url) else super().header(url)


class Watched(Person):
    """``way``: every step, also of somebody who is lost."""

    def __init__(self, *presses: str, cookies: Cookies, **fills: str) -> None:
        super().__init__(*presses, fills=fills)
        self.cookies = cookies
        self.way: list[str] = []
        self.last: Seen | None = None

    async def _take(self, step: _Step, way: tuple[str, ...]) -> Seen:
        self.way.append(step.url)
        self.last = await super()._take(step, way)
        return self.last


def never(place: Place) -> Cookies:
    host = urlsplit(place.rig.origin).netloc
    return Refusing(lambda url: urlsplit(url).netloc == host)


def not_on_return(place: Place) -> Cookies:
    return Refusing(lambda url: url.startswith(f"{place.rig.origin}/auth/callback"))


async def authorize_url(place: Place) -> str:
    """Of a program that has just registered."""
    body = {"client_name": "P", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{place.rig.origin}/register", json=body)
    assert answer.status_code == 201
    query = {"response_type": "code", "client_id": answer.json()["client_id"], "redirect_uri": CALLBACK}
    return f"{place.rig.origin}/authorize?{urlencode({**query, **Proof().challenge})}"


@pytest.mark.parametrize(("cookies", "reason"), [(never, "BadCsrfToken"), (not_on_return, "OtherBrowser")])
async def test_signing_in_ends_at_a_page_that_names_cookies(
    at_oidc: Place, cookies: Callable[[Place], Cookies], reason: str
) -> None:
    presses = ("answer=sign-in", "provider=oidc")
    async with Watched(*presses, cookies=cookies(at_oidc), login="alice") as alice:
        seen = await alice.visit(at_oidc.rig.origin + "/")
        assert seen.status == 403
        assert "keeps no cookies" in seen.text
        assert "Allow cookies for this address" in " ".join(seen.text.split())
        assert reason in seen.text
        assert len(alice.way) <= STEPS_MAX, alice.way


@pytest.mark.parametrize(("cookies", "reason"), [(never, "BadCsrfToken"), (not_on_return, "OtherBrowser")])
async def test_a_programs_request_ends_there_too_and_the_program_gets_nothing(
    at_oidc: Place, cookies: Callable[[Place], Cookies], reason: str
) -> None:
    presses = ("answer=sign-in", "decision=allow", "provider=oidc")
    async with Watched(*presses, cookies=cookies(at_oidc), login="alice") as alice:
        with pytest.raises(LostError, match="keeps no cookies"):
            await alice.visit(await authorize_url(at_oidc))
        assert alice.last is not None
        assert (alice.last.status, reason in alice.last.text) == (403, True)
        assert len(alice.way) <= STEPS_MAX, alice.way
        assert not any(url.startswith(CALLBACK) for url in alice.way)
    assert not await at_oidc.rig.auth.read(lambda tx: tx.grants.of_user("oidc:1001", tx.now))


async def test_with_cookies_the_same_way_leads_to_the_account_in_as_few_steps(at_oidc: Place) -> None:
    async with Watched("answer=sign-in", "provider=oidc", cookies=Cookies(), login="alice") as alice:
        seen = await alice.visit(at_oidc.rig.origin + "/")
        assert (seen.status, seen.url) == (200, at_oidc.rig.origin + "/")
        assert len(alice.way) <= STEPS_MAX + 1, alice.way
