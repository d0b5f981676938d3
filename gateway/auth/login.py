"""The way to an identity provider and back: who left is who returns, once, within ten minutes.

Decides that the answer belongs to the browser that was sent away and to the provider it was sent to; what
the provider said is its adapter's to judge. Source: RFC 9700 section 4.7 (CSRF), RFC 9207 (mix-up).
Next: :mod:`gateway.auth.providers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.auth.admission import wants
from gateway.auth.browser import BROWSER_S, BrowserCookie
from gateway.auth.identity import Identity
from gateway.auth.providers.port import Provider, ProviderError, Wants
from gateway.auth.sessions import TicketKind, Tickets, key_of, mint_secret
from gateway.head import Head
from gateway.problems import Problem, forbidden, not_found, unavailable
from gateway.routes.table import Table

STATE_COOKIE: Final = "mcpgw-state"
CALLBACK_PATH: Final = "/auth/callback"


@dataclass(frozen=True, slots=True)
class Departed:
    """Where the browser goes now, and the cookie by which it is known again."""

    url: str
    set_cookie: str


@dataclass(frozen=True, slots=True)
class Returned:
    """Who came back, and what they had left for."""

    identity: Identity
    purpose: Mapping[str, str]


class NotVouchedForError(Exception):
    """Who left is back, and their provider does not say who they are. ``problem`` is for them."""

    def __init__(self, problem: Problem, purpose: Mapping[str, str]) -> None:
        super().__init__(problem.reason)
        self.problem = problem
        self.purpose = purpose


class Logins:
    """One a worker. Each may raise StoreError."""

    def __init__(
        self,
        table: Table,
        tickets: Tickets,
        providers: Mapping[str, Provider],
        *,
        origin: str,
        is_https: bool,
    ) -> None:
        self._table = table
        self._tickets = tickets
        self._providers = providers
        self._redirect_uri = origin + CALLBACK_PATH
        self._cookie = BrowserCookie(STATE_COOKIE, is_https=is_https)

    @property
    def choices(self) -> tuple[Provider, ...]:
        """Whom a person may sign in with."""
        return tuple(self._providers.values())

    async def depart(self, provider_name: str, head: Head, purpose: Mapping[str, str]) -> Departed:
        """Raises Problem: 404, 502 or 503 where the provider cannot be used now."""
        provider = self._provider(provider_name)
        state, secret = mint_secret(), self._cookie.kept_or_new(head)
        try:
            departure = await provider.depart(
                state=state, redirect_uri=self._redirect_uri, wants=self._wants()
            )
        except ProviderError as error:
            raise provider_problem(error, provider) from None
        record = {
            "provider": provider.name,
            "browser": key_of(secret),
            "kept": orjson.dumps(departure.kept).decode(),
            "purpose": orjson.dumps(purpose).decode(),
        }
        await self._tickets.put(TicketKind.LOGIN_STATE, key_of(state), record, BROWSER_S)
        return Departed(departure.url, self._cookie.set(secret))

    async def arrive(self, params: Mapping[str, str], head: Head) -> Returned:
        """Raises Problem (403) for an answer that is not this browser's, NotVouchedForError for a bad one."""
        record = await self._taken(params.get("state", ""), head)
        provider = self._provider(record["provider"])
        try:
            identity = await provider.arrive(
                params, orjson.loads(record["kept"]), redirect_uri=self._redirect_uri, wants=self._wants()
            )
        except ProviderError as error:
            purpose = orjson.loads(record["purpose"])
            raise NotVouchedForError(provider_problem(error, provider), purpose) from None
        assert identity.provider == provider.name, "an adapter vouches for its own provider alone"
        return Returned(identity, orjson.loads(record["purpose"]))

    async def _taken(self, state: str, head: Head) -> Mapping[str, str]:
        """What was noted at the departure, once. Another browser does not use it up."""
        record = await self._tickets.get(TicketKind.LOGIN_STATE, key_of(state)) if state else None
        if record is None:
            raise forbidden(
                "This sign-in was used already, or began more than ten minutes ago. Begin anew.", "BadState"
            )
        if record["browser"] not in map(key_of, self._cookie.secrets(head)):
            raise forbidden(
                "This sign-in began in another browser, or this one keeps no cookies. Allow cookies for this "
                "address, and begin anew here.",
                "OtherBrowser",
            )
        taken = await self._tickets.take(TicketKind.LOGIN_STATE, key_of(state))
        if taken is None:
            raise forbidden("This sign-in was used already. Begin anew.", "BadState")
        return taken

    def _provider(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            raise not_found("There is no such way to sign in here. Begin anew.")
        return provider

    def _wants(self) -> Wants:
        organizations, teams = wants(self._table.policies)
        return Wants(organizations, teams)


def provider_problem(error: ProviderError, provider: Provider) -> Problem:
    """What a person is told when their provider does not answer as it should."""
    title = f"Signing in with {provider.label} did not work"
    detail = error.detail
    if error.setting:
        detail += f" An operator has to look at the setting {error.setting}."
    if error.retryable:
        return unavailable(title, detail, error.reason, 5.0)
    return Problem(403, title, detail, reason=error.reason)
