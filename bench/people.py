"""Who is known to a gateway that is measured: people who signed in, what they allowed, and their tokens.

Written as the gateway itself writes it, through its own stores and with its own keys, before it starts.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson

from gateway.auth.oauth.client_metadata import registered
from gateway.auth.oauth.keys import SigningKeys
from gateway.auth.oauth.tokens import AccessTokens
from gateway.auth.resources import SCOPE_MCP
from gateway.auth.secret_key import load_secret_key
from gateway.main import AUTH_FILE
from state.kinds.access_policy import AccessPolicy, AccessPolicySpec, Rule
from state.kinds.account import Account, AccountSpec, Claims, account_name, provider_user
from state.kinds.resource import Metadata
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec, Route
from state.kinds.user_container import EndpointStatus, UserContainer, UserContainerSpec, UserContainerStatus
from state.store import open_store
from state.store.auth import AuthDatabase, AuthTx, open_auth
from state.store.auth_rows import Client, Grant
from state.store.port import Tx

PROVIDER = "oidc"
TEMPLATE = "bench"
CALLBACK = "http://127.0.0.1:9/callback"  # nobody listens there: who measures reads it from the redirect
GRANT_S = 86400.0  # longer than any run, and than any of its tokens
AT_ONCE = 500  # rows and objects in one transaction

# What a program says of itself when it registers.
PROGRAM = {
    "client_name": "A program",
    "redirect_uris": [CALLBACK],
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
}


def user_of(number: int) -> str:
    """The user of the person whom the provider calls :func:`subject_of`."""
    return provider_user(PROVIDER, subject_of(number))


def subject_of(number: int) -> str:
    return f"person-{number}"


async def settle(settings: Mapping[str, str], users: Sequence[str], *, upstream: int | None = None) -> None:
    """What an operator and a reconciler would have written: a template, a policy, and who signed in.

    The first of ``users`` has a container, which is the ``upstream`` if there is one.
    """
    store = await open_store(settings["STORE_URL"])
    try:
        await store.transact(_open_to_all, actor="bench")
        for first in range(0, len(users), AT_ONCE):
            some = users[first : first + AT_ONCE]
            await store.transact(partial(_sign_in, users=some), actor="bench")
        if upstream is not None:
            await store.transact(lambda tx: _seat(tx, users[0]), actor="bench")
            await store.transact(lambda tx: _route(tx, upstream), actor="bench")
    finally:
        await store.close()


async def granted(settings: Mapping[str, str], users: Sequence[str]) -> list[str]:
    """An access token of each, by a grant to one program, signed with the gateway's key. Good for an hour."""
    folder, origin = Path(settings["STATE_DIR"]), settings["GATEWAY_ORIGIN"]
    auth = await open_auth(folder / AUTH_FILE)
    try:
        keys = SigningKeys(auth, load_secret_key(folder, None), time.time)
        await keys.keep()
        key = keys.signer()
        assert key is not None, "just made"
        client = _client(time.time())
        grants = [_grant(client, user, f"{origin}/mcp") for user in users]
        await auth.transact(lambda tx: _add(tx, client, grants))
        tokens = AccessTokens(keys, origin, time.time)
        return [tokens.mint(key, grant, grant.scope, grant.expires_at) for grant in grants]
    finally:
        await auth.close()


async def register(settings: Mapping[str, str], count: int) -> None:
    """So many programs, each as a registration leaves it."""
    auth = await open_auth(Path(settings["STATE_DIR"]) / AUTH_FILE)
    try:
        for first in range(0, count, AT_ONCE):
            await _register(auth, min(AT_ONCE, count - first))
    finally:
        await auth.close()


# Inside a transaction, and what is written there


def _open_to_all(tx: Tx) -> None:
    routes = (Route(path="/mcp", match="prefix", protocol="mcp"),)
    template = ContainerTemplateSpec(image="bench:1", port=8080, routes=routes)
    tx.create(ContainerTemplate(metadata=Metadata(name=TEMPLATE), spec=template))
    policy = AccessPolicySpec(rules=(Rule(provider=PROVIDER),))
    tx.create(AccessPolicy(metadata=Metadata(name="everybody"), spec=policy))


def _sign_in(tx: Tx, users: Sequence[str]) -> None:
    for user in users:
        spec = AccountSpec(user=user, claims=Claims(emails=("person@example.com",)), claims_at=tx.now)
        tx.create(Account(metadata=Metadata(name=account_name(user)), spec=spec))


def _seat(tx: Tx, user: str) -> None:
    spec = UserContainerSpec(user=user, template=TEMPLATE)
    tx.create(UserContainer(metadata=Metadata(name="bench"), spec=spec))


def _route(tx: Tx, upstream: int) -> None:
    seat = tx.get(UserContainer, "bench")
    assert seat is not None, "just created"
    endpoint = EndpointStatus(host="127.0.0.1", port=upstream, incarnation="bench-1")
    tx.update_status(seat.replaced(status=UserContainerStatus(endpoint=endpoint)))


def _add(tx: AuthTx, client: Client, grants: Sequence[Grant]) -> None:
    tx.clients.add(client)
    for grant in grants:
        tx.grants.add(grant)


async def _register(auth: AuthDatabase, count: int) -> None:
    like = _client(time.time())
    rows = [replace(like, client_id=secrets.token_urlsafe(24)) for _ in range(count)]
    await auth.transact(lambda tx: _add_all(tx, rows))


def _add_all(tx: AuthTx, rows: Sequence[Client]) -> None:
    for row in rows:
        tx.clients.add(row)


def _client(now: float) -> Client:
    document = orjson.dumps(registered(PROGRAM).members()).decode()
    return Client(secrets.token_urlsafe(24), document, "", created_at=now, used_at=now)


def _grant(client: Client, user: str, resource: str) -> Grant:
    now = client.created_at
    named = (secrets.token_urlsafe(16), user, client.client_id, "A program", SCOPE_MCP, resource)
    return Grant(*named, created_at=now, used_at=now, expires_at=now + GRANT_S)
