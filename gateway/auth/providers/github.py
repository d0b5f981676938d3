"""Signing in with GitHub, which is OAuth 2 and not OpenID Connect: who came is asked of its API.

Decides what is asked of it, and no more than a rule needs: organizations and teams only if one is. The
subject is the numeric id; a login passes to whoever takes it next. What the token was good for is asked at
once, and the token forgotten.
Source: GitHub's documentation, "Authorizing OAuth apps" and "Troubleshooting OAuth app access token request
errors". Next: :mod:`gateway.auth.providers.wire`.
"""

import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx2

from gateway.auth.identity import Identity
from gateway.auth.providers.answers import (
    client_refused,
    code_in,
    code_refused,
    exchange_refused,
    foreign_issuer,
    kept_of,
)
from gateway.auth.providers.limits import Limits
from gateway.auth.providers.port import Departure, ProviderError, Wants
from gateway.auth.providers.said import claims_of, emails, text, too_many, words
from gateway.auth.providers.settings import GitHubSettings
from gateway.auth.providers.wire import Answer, Client, CodeRefused, Tokens, Wire, busy, nonsense

VERIFIER_BYTES: Final = 48  # 64 characters; RFC 7636 section 4.1 asks for 43 to 128
PAGE_COUNT: Final = 100  # the most that GitHub puts on a page
SCOPES: Final = ("read:user", "user:email")
ORGANIZATIONS_SCOPE: Final = "read:org"  # for organizations and for teams
_ORGANIZATION_SCOPES: Final = frozenset({"read:org", "write:org", "admin:org"})
_ACCEPT: Final = "application/vnd.github+json"


class GitHubProvider:
    """github.com, or a GitHub of one's own."""

    def __init__(
        self,
        settings: GitHubSettings,
        limits: Limits | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = settings.name
        self.label = settings.label
        self._settings = settings
        self._limits = limits or Limits()
        self._wire = Wire(self.label, self._limits, transport)
        self._client = Client(
            settings.client_id, settings.client_secret.get_secret_value(), "client_secret_post"
        )

    async def depart(self, *, state: str, redirect_uri: str, wants: Wants) -> Departure:
        needs_organizations = wants.organizations or wants.teams
        verifier = secrets.token_urlsafe(VERIFIER_BYTES)
        url = self._wire.authorization_url(
            f"{self._settings.url}/login/oauth/authorize",
            self._client,
            verifier=verifier,
            state=state,
            redirect_uri=redirect_uri,
            scope=" ".join((*SCOPES, ORGANIZATIONS_SCOPE) if needs_organizations else SCOPES),
        )
        return Departure(url, {"verifier": verifier})

    async def arrive(
        self, params: Mapping[str, str], kept: Mapping[str, str], *, redirect_uri: str, wants: Wants
    ) -> Identity:
        self._check_issuer(params)
        code = code_in(params, self.label, self._settings.variable("CLIENT_ID"))
        async with self._wire.within(self._limits.login_s):
            tokens = await self._exchange(code, kept_of(kept, "verifier"), redirect_uri)
            self._check_scope(tokens, wants)
            return await self._identity(tokens.access_token, wants)

    async def close(self) -> None:
        await self._wire.close()

    def _check_issuer(self, params: Mapping[str, str]) -> None:
        """GitHub need not name itself; an answer that names somebody else is not its own."""
        issuer = params.get("iss")
        if issuer is not None and not f"{issuer}/".startswith(f"{self._settings.url}/"):
            raise foreign_issuer(self.label)

    async def _exchange(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        try:
            return await self._wire.exchange(
                f"{self._settings.url}/login/oauth/access_token",
                self._client,
                code=code,
                verifier=verifier,
                redirect_uri=redirect_uri,
            )
        except CodeRefused as refused:
            raise self._refusal(refused.error) from None

    def _check_scope(self, tokens: Tokens, wants: Wants) -> None:
        """Without the scope a list is not refused but shorter. A GitHub App's tokens name no scope."""
        granted = set(tokens.scope.replace(",", " ").split())
        if granted and (wants.organizations or wants.teams) and not granted & _ORGANIZATION_SCOPES:
            raise self._withheld("organizations")

    def _refusal(self, error: str) -> ProviderError:
        """GitHub's own words: they come with status 200, but for an unknown client's 404."""
        match error:
            case "incorrect_client_credentials" | "invalid_client":
                return client_refused(self.label, self._settings.variable("CLIENT_SECRET"))
            case "Not Found" | "application_suspended" | "unauthorized_client":
                return client_refused(self.label, self._settings.variable("CLIENT_ID"))
            case "redirect_uri_mismatch":
                return exchange_refused(self.label, error, "GATEWAY_ORIGIN")
            case "bad_verification_code" | "invalid_grant":
                return code_refused(self.label)
            case "unverified_user_email":
                return ProviderError(
                    "EmailUnverified",
                    "GitHub has not verified your primary e-mail address. Verify it there, then begin anew.",
                    retryable=False,
                )
        return exchange_refused(self.label, error, "")

    async def _identity(self, token: str, wants: Wants) -> Identity:
        user = self._good(await self._ask("/user", token)).as_object()
        subject = user.get("id")
        if not isinstance(subject, int) or isinstance(subject, bool) or subject < 1:
            raise nonsense(self.label)
        claims = claims_of(
            self.label,
            login=text(user.get("login")),
            name=text(user.get("name")),
            emails=await self._emails(token),
            organizations=await self._organizations(token) if wants.organizations else None,
            teams=await self._teams(token) if wants.teams else None,
        )
        return Identity(self.name, str(subject), claims)

    async def _emails(self, token: str) -> tuple[str, ...]:
        """Never the address of ``/user``: it may be null, and whether it is verified does not stand there."""
        entries = await self._listed("/user/emails", token, "addresses")
        verified = emails(entry.get("email") for entry in entries if entry.get("verified") is True)
        return words(verified, self.label, "addresses")

    async def _organizations(self, token: str) -> tuple[str, ...]:
        entries = await self._listed("/user/orgs", token, "organizations")
        return words((self._word(entry, "login") for entry in entries), self.label, "organizations")

    async def _teams(self, token: str) -> tuple[str, ...]:
        entries = await self._listed("/user/teams", token, "teams")
        return words(map(self._team, entries), self.label, "teams")

    def _team(self, entry: Mapping[str, Any]) -> str:
        organization = entry.get("organization")
        if not isinstance(organization, dict):
            raise nonsense(self.label)
        return f"{self._word(organization, 'login')}/{self._word(entry, 'slug')}"

    def _word(self, entry: Mapping[str, Any], member: str) -> str:
        word = entry.get(member)
        if not isinstance(word, str) or not 1 <= len(word) <= 100:
            raise nonsense(self.label)
        return word

    async def _listed(self, path: str, token: str, what: str) -> list[dict[str, Any]]:
        """All entries of a list. Pages are counted here: where the next one is, is not taken on trust."""
        entries: list[dict[str, Any]] = []
        for page in range(1, self._limits.pages_max + 1):
            answer = self._good(await self._ask(f"{path}?per_page={PAGE_COUNT}&page={page}", token), what)
            entries += answer.as_objects()
            if 'rel="next"' not in answer.headers.get("link", ""):
                return entries
        raise too_many(self.label, what)

    async def _ask(self, path: str, token: str) -> Answer:
        return await self._wire.get(f"{self._settings.api_url}{path}", token=token, accept=_ACCEPT)

    def _good(self, answer: Answer, what: str = "") -> Answer:
        """A list that may not be read is an app with too few permissions: never taken for an empty one."""
        if answer.status == HTTPStatus.OK:
            return answer
        if answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers:
            raise busy(self.label)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise ProviderError(
                "TokenRefused",
                "GitHub does not know the token that it gave a moment ago. Begin anew.",
                retryable=True,
            )
        if answer.status == HTTPStatus.FORBIDDEN and b"suspended" in answer.body:
            raise ProviderError(
                "AccountSuspended", "GitHub has suspended this account. Ask its support.", retryable=False
            )
        if what and answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
            raise self._withheld(what)
        raise nonsense(self.label)

    def _withheld(self, what: str) -> ProviderError:
        return ProviderError(
            "ClaimsWithheld",
            f"GitHub does not let this gateway read your {what}. Begin anew and allow all that is asked for; "
            "a GitHub App needs the permission for it.",
            retryable=False,
            setting=self._settings.variable("CLIENT_ID"),
        )
