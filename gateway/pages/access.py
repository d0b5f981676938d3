"""What a person gave away, and takes back: connected clients, personal tokens, sessions, the account itself.

Decides that whatever ends here is in force on every worker before the page says so. Next:
:mod:`gateway.auth.oauth`, whose grants these are.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from uuid import uuid4

from fastapi import Request
from fastapi.responses import Response

from gateway.auth.admission import FOR_EVER
from gateway.auth.callers import PERSONAL_PREFIX
from gateway.auth.resources import API_PATH
from gateway.auth.sessions import Visitor, mint_secret
from gateway.pages.answers import page, see_other
from gateway.pages.desk import Desk
from gateway.pages.forms import signed_form
from gateway.pages.render import draw
from gateway.pages.welcome import name_of
from gateway.problems import Problem, bad_request, not_found
from state.kinds.user_container import UserContainer
from state.kinds.user_inputs import UserInputs
from state.store.auth import AuthTx
from state.store.auth_rows import Grant
from state.store.port import Tx

PERSONAL_TOKENS_MAX: Final = 32  # a person's
NAME_CHARS_MAX: Final = 64
LIFETIMES_DAYS: Final = (7, 30, 90, 365)
DAY_S: Final = 86400.0
CONFIRM: Final = "delete"


class TooManyTokensError(Exception):
    """The person has as many personal tokens as anybody may have."""


@dataclass(frozen=True, slots=True)
class GrantView:
    """One connected client, or one personal token."""

    grant_id: str
    name: str
    resource: str
    since: datetime
    used: datetime
    ends: datetime
    is_used: bool
    is_personal: bool


@dataclass(frozen=True, slots=True)
class Reverification:
    """How often the person has to sign in again for what they gave away to go on working."""

    every: str  # in words
    by: datetime  # the next time


def reverification(desk: Desk, user: str) -> Reverification | None:
    """As the policy that lets them in has it; None where none does, or they need not."""
    account, admitted = desk.table.account(user), desk.people.admitted(user)
    if account is None or admitted is None or admitted.until == FOR_EVER:
        return None
    span = admitted.until - account.spec.claims_at
    return Reverification(span_words(span.total_seconds()), admitted.until)


def span_words(span_s: float) -> str:
    """A span of time for people, in the largest unit that it is a whole number of."""
    for unit, unit_s in (("day", DAY_S), ("hour", 3600.0), ("minute", 60.0)):
        count = round(span_s / unit_s)
        if count and abs(span_s - count * unit_s) < 1:
            return unit if count == 1 else f"{count} {unit}s"
    return f"{span_s:g} seconds"


async def grant_views(desk: Desk, user: str) -> list[GrantView]:
    """What the person allowed and has not taken back; the newest first."""
    grants = await desk.auth.read(lambda tx: tx.grants.of_user(user, tx.now))
    return [_view(grant) for grant in grants]


class AccessPages:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def revoke(self, request: Request) -> Response:
        """End one grant of one's own."""
        visitor, fields = await signed_form(self._desk, request)
        grant_id = fields.get("grant", "")
        if not await self._desk.auth.transact(lambda tx: _revoked(tx, grant_id, visitor.user)):
            raise not_found("You have no such client or token. It may be revoked already.")
        await self._desk.announcer.announce()
        return see_other("/")

    async def make_token(self, request: Request) -> Response:
        """A personal token, shown this once."""
        visitor, fields = await signed_form(self._desk, request)
        token = PERSONAL_PREFIX + mint_secret()
        grant = self._personal_grant(visitor, fields, token)
        try:
            await self._desk.auth.transact(lambda tx: _add_personal(tx, grant))
        except TooManyTokensError:
            raise bad_request(
                f"You have {PERSONAL_TOKENS_MAX} tokens already. Revoke one that you no longer need.",
                "TooManyTokens",
            ) from None
        await self._desk.refuse_withdrawn(visitor.user, visitor.opened_at)
        who = name_of(self._desk, visitor.user)
        again = reverification(self._desk, visitor.user)
        shown = _view(grant)
        return page(
            draw("token.html", visitor=visitor, who=who, token=token, grant=shown, reverification=again)
        )

    async def sign_out_everywhere(self, request: Request) -> Response:
        """Every browser, every client, every token."""
        visitor, _ = await signed_form(self._desk, request)
        await self._end_everything(visitor.user)
        return see_other("/signin", set_cookie=await self._desk.sessions.close(visitor))

    async def delete_account(self, request: Request) -> Response:
        """Containers end, data is kept as long as its template says, and nothing else is known any more."""
        visitor, fields = await signed_form(self._desk, request)
        if fields.get("confirm", "").strip().lower() != CONFIRM:
            raise bad_request(f"Type the word {CONFIRM} to delete your account.", "NotConfirmed")
        user, unheard = visitor.user, None
        try:
            await self._end_everything(user)
        except Problem as late:  # a worker does not answer: all of it is written all the same
            unheard = late
        await self._desk.store.transact(lambda tx: _delete_containers(tx, user), actor=user)
        await self._desk.accounts.forget(user)
        if unheard is not None:
            raise unheard
        return see_other("/signin", set_cookie=await self._desk.sessions.close(visitor))

    async def _end_everything(self, user: str) -> None:
        """Sessions first, on every worker: what one of them still issues meanwhile is found and ended here,
        or finds out itself that it came too late (:meth:`Desk.refuse_withdrawn`).
        """
        await self._desk.accounts.sign_out(user)
        await self._desk.auth.transact(lambda tx: tx.grants.revoke_all(user, tx.now))
        await self._desk.announcer.announce()

    def _personal_grant(self, visitor: Visitor, fields: dict[str, str], token: str) -> Grant:
        """Raises Problem (400)."""
        name = " ".join(fields.get("token_name", "").split())[:NAME_CHARS_MAX]
        if not name:
            raise bad_request("Give the token a name, by which you will know it again.", "NameMissing")
        resource = fields.get("resource", "")
        if resource not in token_resources(self._desk):
            raise bad_request("Choose what the token is for.", "ResourceUnknown")
        days = fields.get("days", "")
        if days not in map(str, LIFETIMES_DAYS):
            raise bad_request("Choose how long the token is good.", "LifetimeUnknown")
        now = time.time()
        return Grant(
            grant_id=uuid4().hex,
            user=visitor.user,
            client_id="",
            name=name,
            scope=self._desk.resources.scope_of(resource),
            resource=resource,
            created_at=now,
            used_at=now,
            expires_at=now + int(days) * DAY_S,
            token_sha256=sha256(token.encode()).hexdigest(),
        )


def token_resources(desk: Desk) -> tuple[str, ...]:
    """What a personal token may be for: one of the MCP servers, or the gateway's own API."""
    origin = desk.sites.gateway.origin
    return tuple(origin + path for path in (*desk.table.mcp_paths, API_PATH))


def _view(grant: Grant) -> GrantView:
    since, used, ends = (
        datetime.fromtimestamp(at, UTC) for at in (grant.created_at, grant.used_at, grant.expires_at)
    )
    return GrantView(
        grant.grant_id,
        grant.name,
        grant.resource,
        since,
        used,
        ends,
        is_used=grant.is_used,
        is_personal=not grant.client_id,
    )


def _revoked(tx: AuthTx, grant_id: str, user: str) -> bool:
    """Another's grant and none are alike."""
    grant = tx.grants.get(grant_id)
    return grant is not None and grant.user == user and tx.grants.revoke(grant_id, tx.now)


def _add_personal(tx: AuthTx, grant: Grant) -> None:
    held = [one for one in tx.grants.of_user(grant.user, tx.now) if not one.client_id]
    if len(held) >= PERSONAL_TOKENS_MAX:
        raise TooManyTokensError
    tx.grants.add(grant)


def _delete_containers(tx: Tx, user: str) -> None:
    """Those that signing in made. What an operator wrote in a file is the operator's to take away, but what
    the user filled in for it goes all the same.
    """
    for container in tx.list(UserContainer):
        if container.spec.user != user:
            continue
        if container.metadata.managed_by == "api":
            tx.delete(container)
        elif (inputs := tx.get(UserInputs, container.name)) is not None:
            tx.delete(inputs)
