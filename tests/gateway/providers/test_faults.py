"""Fault 41: a provider that is down, slow, or answers nonsense costs one sign-in, and says so in time."""

import asyncio
import gzip
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.auth.providers.github import GitHubProvider
from gateway.auth.providers.limits import MIB, Limits
from gateway.auth.providers.oidc import OidcProvider
from gateway.auth.providers.port import Provider, ProviderError
from gateway.auth.providers.said import claims_of
from gateway.auth.providers.settings import GitHubSettings, OidcSettings
from tests.gateway.providers.conftest import HASTY
from tests.gateway.providers.github_stand_in import GitHubStandIn
from tests.gateway.providers.oidc_stand_in import METADATA, OidcStandIn, signed_with_escapes
from tests.gateway.providers.traveller import NOTHING, depart, refused, sign_in
from tests.gateway.rig import loopback
from tests.tls import tls_in_front

ToGitHub = Callable[..., GitHubProvider]
ToIssuer = Callable[..., OidcProvider]
GITHUB_PATHS = ("/login/oauth/access_token", "/api/v3/user", "/api/v3/user/emails")
OIDC_PATHS = (METADATA, "/jwks", "/token", "/userinfo")
PATHS = [*(("github", path) for path in GITHUB_PATHS), *(("oidc", path) for path in OIDC_PATHS)]
at_every_step = pytest.mark.parametrize(("kind", "path"), PATHS)


class Town:
    """Both kinds of provider, by name."""

    def __init__(
        self, github: GitHubStandIn, issuer: OidcStandIn, made: dict[str, Callable[..., Any]]
    ) -> None:
        self.stand_ins = {"github": github, "oidc": issuer}
        self._made = made

    def broken(self, kind: str) -> Any:
        return self.stand_ins[kind].broken

    def provider(self, kind: str, limits: Limits | None = None) -> Provider:
        made: Provider = self._made[kind](limits)
        return made


@pytest.fixture
def town(github: GitHubStandIn, issuer: OidcStandIn, to_github: ToGitHub, to_issuer: ToIssuer) -> Town:
    issuer.claims = {}
    issuer.userinfo = {"sub": issuer.subject, "email": "a@example.com", "email_verified": True}
    return Town(github, issuer, {"github": to_github, "oidc": to_issuer})


@at_every_step
@pytest.mark.fault(41)
async def test_a_slow_provider_is_given_up_in_time_and_works_again_when_it_does(
    town: Town, kind: str, path: str
) -> None:
    provider = town.provider(kind, HASTY)
    town.broken(kind).delays_s[path] = 30.0
    began = time.monotonic()
    error = await refused(provider)
    assert time.monotonic() - began < HASTY.login_s + 0.5
    assert (error.reason, error.retryable) == ("ProviderSlow", True)
    assert provider.label in error.detail
    town.broken(kind).delays_s.clear()
    assert (await sign_in(provider)).provider == provider.name


@at_every_step
@pytest.mark.fault(41)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (500, "ProviderFailed"),
        (503, "ProviderFailed"),
        (429, "ProviderBusy"),
        (302, "ProviderNonsense"),
        (204, "ProviderNonsense"),
    ],
)
async def test_an_answer_that_is_none_is_told_apart(
    town: Town, kind: str, path: str, status: int, reason: str
) -> None:
    town.broken(kind).answer(path, b"", status=status, Location="http://127.0.0.1:1/elsewhere")
    error = await refused(town.provider(kind))
    assert error.retryable
    assert error.reason in (reason, "MetadataMissing" if status == 204 else reason)


NONSENSE: dict[str, Any] = {
    "a page": b"<html>Sign in to the hotel's network</html>",
    "nothing": b"",
    "a list": [1, 2],
    "null": b"null",
    "a word": b'"ok"',
    "an object of nothing": {},
    "bytes": b"\xff\xfe\x00",
    "brackets without end": b"[" * MIB,
    "braces without end": b'{"a":' * 100_000,
}


@at_every_step
@pytest.mark.fault(41)
@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_nobody(town: Town, kind: str, path: str, body: Any) -> None:
    town.broken(kind).answer(path, body)
    error = await refused(town.provider(kind))
    assert error.reason in ("ProviderNonsense", "ForeignIssuer")


DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    "lies",
    [
        {"sub": "\ud800"},
        {"sub": "a\udfff"},
        {"email": "\ud800@example.com", "email_verified": True},
        {"nonce": "\ud800"},
        {"name": "Ann \ud800"},
        {"preferred_username": "\udc00ann"},
        {"aud": ["gateway", "\ud800"], "azp": "gateway"},
        {"address": {"street": ["\ud800"]}},
        {"\ud800": 1},
        {"sub": 7},
        {"sub": ["subject-1"]},
        {"deep": DEEP},
    ],
    ids=ascii,
)
async def test_a_signed_answer_that_cannot_be_written_down_is_nobody(
    town: Town, issuer: OidcStandIn, lies: dict[str, Any]
) -> None:
    """JSON may escape half a character; signed, it comes from the provider, and is nonsense all the same."""
    issuer.sign, issuer.lies = signed_with_escapes, lies
    error = await refused(town.provider("oidc"))
    assert error.reason in ("ProviderNonsense", "BadToken")
    issuer.lies = {}
    assert (await sign_in(town.provider("oidc"))).subject == issuer.subject


@at_every_step
@pytest.mark.fault(41)
async def test_half_a_character_is_nonsense_wherever_it_stands(town: Town, kind: str, path: str) -> None:
    spoiled = b'{"sub": "subject-1", "id": 1, "login": "\\ud800", "email": "\\ud800@x"}'
    town.broken(kind).answer(path, b"[" + spoiled + b"]" if path.endswith("emails") else spoiled)
    assert (await refused(town.provider(kind))).reason == "ProviderNonsense"


@pytest.mark.fault(41)
def test_claims_that_cannot_be_kept_are_nonsense() -> None:
    for said in (
        {"name": "\ud800"},
        {"login": "x" * 321},
        {"emails": ("\ud800@x",)},
        {"emails": ("x",) * 257},
    ):
        with pytest.raises(ProviderError, match="ProviderNonsense"):
            claims_of("Example ID", **said)


@at_every_step
@pytest.mark.fault(41)
async def test_a_flood_is_cut_off(town: Town, kind: str, path: str) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        while sent < 64 * MIB:
            await answer.write(b" " * 65536)
            sent += 65536
        return answer

    town.broken(kind).replaced[path] = flood
    assert (await refused(town.provider(kind))).reason == "ProviderNonsense"
    assert sent < 16 * MIB


@pytest.mark.fault(41)
async def test_a_small_answer_that_unpacks_to_a_flood_is_not_unpacked(town: Town) -> None:
    town.broken("github").answer("/api/v3/user", gzip.compress(b" " * 64 * MIB), Content_Encoding="gzip")
    assert (await refused(town.provider("github"))).reason == "ProviderNonsense"


@at_every_step
@pytest.mark.fault(41)
async def test_an_answer_that_drips_is_given_up_in_time(town: Town, kind: str, path: str) -> None:
    """Each byte comes before the silence is too long, and all of them together take too long."""

    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(300):
            await answer.write(b" ")
            await asyncio.sleep(0.1)
        return answer

    town.broken(kind).replaced[path] = drip
    began = time.monotonic()
    assert (await refused(town.provider(kind, HASTY))).reason == "ProviderSlow"
    assert time.monotonic() - began < 15, "long before it has dripped to its end"


@asynccontextmanager
async def answering(reply: bytes | None) -> AsyncIterator[int]:
    """The port of a server that answers everything so; None: it never answers."""

    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if reply is not None:
            await reader.read(65536)
            writer.write(reply)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def providers_at(port: int, limits: Limits) -> list[Provider]:
    url = f"http://127.0.0.1:{port}"
    credentials = {"client_id": "i", "client_secret": "s"}
    github = GitHubSettings.model_validate({"name": "github", "url": url, **credentials})
    oidc = OidcSettings.model_validate({"name": "oidc", "label": "Acme", "issuer": url, **credentials})
    return [GitHubProvider(github, limits), OidcProvider(oidc, limits)]


async def failure(provider: Provider) -> ProviderError:
    """How coming back ends, whatever the way there was."""
    with pytest.raises(ProviderError) as refusal:
        await provider.arrive(
            {"code": "c"}, {"verifier": "v", "nonce": "n"}, redirect_uri="http://localhost/x", wants=NOTHING
        )
    await provider.close()
    return refusal.value


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (None, "ProviderSlow"),
        (b"", "ProviderNonsense"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "ProviderNonsense"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "ProviderNonsense"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000, "ProviderNonsense"),
    ],
    ids=["silence", "hanging up", "another protocol", "half an answer", "a head without end"],
)
async def test_a_server_that_is_no_provider_is_nobody(reply: bytes | None, reason: str) -> None:
    async with answering(reply) as port:
        for provider in providers_at(port, HASTY):
            assert (await failure(provider)).reason == reason


@pytest.mark.fault(41)
async def test_a_provider_that_is_down_cannot_be_reached() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for provider in providers_at(unused.getsockname()[1], Limits()):
            error = await failure(provider)
            assert (error.reason, error.retryable) == ("ProviderUnreachable", True)
            assert provider.label in error.detail


@pytest.mark.fault(41)
async def test_a_name_that_does_not_exist_cannot_be_reached() -> None:
    settings = {"name": "oidc", "issuer": "https://idp.invalid", "client_id": "i", "client_secret": "s"}
    error = await failure(OidcProvider(OidcSettings.model_validate(settings)))
    assert error.reason in ("ProviderUnreachable", "ProviderSlow")


@pytest.mark.fault(41)
async def test_a_provider_without_tls_where_https_is_meant_cannot_be_reached(issuer: OidcStandIn) -> None:
    settings = {
        "name": "oidc",
        "issuer": issuer.issuer.replace("http:", "https:"),
        "client_id": "i",
        "client_secret": "s",
    }
    error = await failure(OidcProvider(OidcSettings.model_validate(settings)))
    assert error.reason in ("ProviderUnreachable", "ProviderUntrusted")


@pytest.mark.fault(41)
@pytest.mark.parametrize("named", ["localhost", "another.example"])
async def test_a_provider_whose_certificate_nobody_vouches_for_is_not_believed(
    issuer: OidcStandIn, named: str
) -> None:
    with loopback() as listener:
        url = f"https://localhost:{listener.getsockname()[1]}"
        known = {"url": url, "issuer": url, "client_id": "i", "client_secret": "s"}
        github = {name: value for name, value in known.items() if name != "issuer"}
        oidc = {name: value for name, value in known.items() if name != "url"}
        async with tls_in_front(listener, issuer.port, named):
            for provider in (
                GitHubProvider(GitHubSettings.model_validate({"name": "github", **github})),
                OidcProvider(OidcSettings.model_validate({"name": "oidc", **oidc})),
            ):
                error = await failure(provider)
                assert (error.reason, "SSL_CERT_FILE" in error.detail) == ("ProviderUntrusted", True)
    assert not issuer.broken.asked, "nothing was said to it"


@pytest.mark.fault(41)
async def test_what_is_known_of_a_provider_does_while_asking_anew_fails(
    issuer: OidcStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    settings = OidcSettings.model_validate(
        {"name": "acme", "issuer": issuer.issuer, "client_id": issuer.client_id, "client_secret": "x"}
    )
    limits = Limits(fresh_s=100, stale_s=1000, retry_s=10)
    provider = OidcProvider(settings, limits, monotonic=lambda: now)
    await depart(provider)
    issuer.broken.answer(METADATA, b"", status=500)
    now = 101.0
    await depart(provider)
    await depart(provider)
    assert issuer.broken.asked.count(METADATA) == 2, "an old copy does for a while without asking each time"
    now = 112.0
    await depart(provider)
    assert issuer.broken.asked.count(METADATA) == 3
    now = 1000.0
    with pytest.raises(ProviderError, match="ProviderFailed"):
        await depart(provider)
    issuer.broken.replaced.clear()
    assert (await depart(provider)).url.startswith(issuer.issuer)
    await provider.close()


async def test_many_at_once_ask_for_the_metadata_once(town: Town) -> None:
    provider = town.provider("oidc")
    town.broken("oidc").delays_s[METADATA] = 0.1
    identities = await asyncio.gather(*(sign_in(provider) for _ in range(200)))
    assert len(identities) == 200
    asked = town.broken("oidc").asked
    assert (asked.count(METADATA), asked.count("/jwks")) == (1, 1)


async def test_whoever_stops_waiting_does_not_end_it_for_the_others(town: Town) -> None:
    provider = town.provider("oidc")
    town.broken("oidc").delays_s[METADATA] = 0.2
    first = asyncio.create_task(depart(provider))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(depart(provider))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second).url
    assert first.cancelled() or first.cancelling()
    assert town.broken("oidc").asked.count(METADATA) == 1


async def test_closing_ends_what_is_under_way(issuer: OidcStandIn, to_issuer: ToIssuer) -> None:
    provider = to_issuer()
    issuer.broken.delays_s[METADATA] = 30.0
    waiting = asyncio.create_task(depart(provider))
    await asyncio.sleep(0.05)
    await provider.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("kind", ["github", "oidc"])
async def test_a_providers_cookies_are_not_carried_from_one_person_to_the_next(town: Town, kind: str) -> None:
    stand_in, broken = town.stand_ins[kind], town.broken(kind)
    truths = {"/api/v3/user": "user", "/userinfo": "show_userinfo"}
    for path, method in truths.items():
        if hasattr(stand_in, method):

            async def planting(request: web.Request, method: str = method) -> web.StreamResponse:
                answer: web.StreamResponse = await getattr(stand_in, method)(request)
                answer.set_cookie("session", "ann")
                return answer

            broken.replaced[path] = planting
    provider = town.provider(kind)
    await sign_in(provider)
    await sign_in(provider)
    assert not any("Cookie" in request.headers for request in broken.requests)


@pytest.mark.parametrize("kind", ["github", "oidc"])
async def test_neither_secret_nor_token_is_logged(
    town: Town, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await sign_in(town.provider(kind))
    stand_in = town.stand_ins[kind]
    written = caplog.text
    assert stand_in.client_secret not in written
    assert not any(token in written for token in stand_in._tokens)
    assert "@" not in written


@pytest.mark.parametrize("kind", ["github", "oidc"])
async def test_an_environment_proxy_is_not_asked(
    town: Town, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await sign_in(town.provider(kind))).provider == town.provider(kind).name
