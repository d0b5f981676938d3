"""An authorization server over a real file, with a clock that a test sets, and a client as one should be."""

import base64
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from gateway.auth.oauth.answers import Answer
from gateway.auth.oauth.authorize import AuthorizationRequest
from gateway.auth.oauth.port import DocumentError
from gateway.auth.oauth.server import AuthorizationServer
from gateway.auth.oauth.terms import Terms
from gateway.auth.secret_key import SecretKey
from state.store.auth import AuthDatabase, open_auth
from state.store.auth_rows import Grant

ISSUER = "http://localhost:9000"
MCP = f"{ISSUER}/mcp"
MEDIA = f"{ISSUER}/mcp-media"
CALLBACK = "http://localhost:7777/callback"
ALICE = "github:1"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
JSON = "application/json"

Pairs = list[tuple[str, str]]


@dataclass
class Clock:
    """Unix seconds, as a test sets them."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Documents:
    """The documents that are published, by their addresses."""

    published: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    async def fetch(self, url: str) -> Mapping[str, Any]:
        if url not in self.published:
            raise DocumentError("The program's description cannot be fetched.")
        return self.published[url]


@dataclass
class House:
    """What the rest of the gateway would say."""

    welcome: set[str] = field(default_factory=lambda: {ALICE, "github:2"})
    announced_count: int = 0

    async def announce(self) -> None:
        self.announced_count += 1

    def terms(self) -> Terms:
        return Terms(
            issuer=ISSUER,
            canonical_resource=canonical,
            scope_of=lambda resource: "mcp",
            may_issue=lambda user, _granted_at: user in self.welcome,
            announce=self.announce,
        )


def canonical(asked: str | None) -> str | None:
    if asked in (None, ISSUER, f"{ISSUER}/", MCP, f"{MCP}/"):
        return MCP
    return MEDIA if asked in (MEDIA, f"{MEDIA}/") else None


@dataclass
class Rig:
    """One worker, and a client's ways to talk to it."""

    server: AuthorizationServer
    auth: AuthDatabase
    clock: Clock
    house: House
    documents: Documents
    path: Path

    async def register(self, **metadata: Any) -> dict[str, Any]:
        answer = await self.server.register(body_of(metadata), JSON)
        assert answer.status == 201, answer.body
        return members(answer)

    async def client(self, **metadata: Any) -> str:
        client_id = (await self.register(**metadata))["client_id"]
        assert isinstance(client_id, str)
        return client_id

    async def consent(self, client_id: str, user: str = ALICE, **parameters: str) -> str:
        """The code that a person's consent gives."""
        request = await self.server.check(asking(client_id, **parameters))
        assert isinstance(request, AuthorizationRequest), request
        answer = await self.server.grant(request, user)
        assert isinstance(answer, Answer), answer
        return query_of(answer)["code"]

    async def redeem(self, client_id: str, code: str, **parameters: str) -> Answer:
        return await self.token(
            grant_type="authorization_code",
            client_id=client_id,
            **{"code": code, "code_verifier": VERIFIER, "redirect_uri": CALLBACK, **parameters},
        )

    async def refresh(self, client_id: str, token: str, **parameters: str) -> Answer:
        return await self.token(
            grant_type="refresh_token", client_id=client_id, refresh_token=token, **parameters
        )

    async def token(self, authorization: str = "", **parameters: str) -> Answer:
        return await self.server.token(list(parameters.items()), headers(authorization))

    async def revoke(self, authorization: str = "", **parameters: str) -> Answer:
        return await self.server.revoke(list(parameters.items()), headers(authorization))

    async def tokens(self, client_id: str, **parameters: str) -> dict[str, Any]:
        """All the way: consent, code, tokens."""
        answer = await self.redeem(client_id, await self.consent(client_id, **parameters))
        assert answer.status == 200, answer.body
        return members(answer)

    async def grant_of(self, access_token: str) -> Grant:
        grant_id = self.server.tokens.grant_of(access_token)
        assert grant_id is not None
        grant = await self.auth.read(lambda tx: tx.grants.get(grant_id))
        assert grant is not None
        return grant

    async def lives(self, access_token: str) -> bool:
        """Whether what the token came of still stands."""
        return (await self.grant_of(access_token)).lives(self.clock.now)


@asynccontextmanager
async def serving(
    path: Path,
    clock: Clock | None = None,
    house: House | None = None,
    key: bytes = b"k" * 32,
) -> AsyncIterator[Rig]:
    """A worker on the file at ``path``, with a handle of its own."""
    clock, house, documents = clock or Clock(), house or House(), Documents()
    auth = await open_auth(path, clock)
    server = AuthorizationServer(auth, SecretKey(key), house.terms(), documents, clock)
    try:
        await server.start()
        yield Rig(server, auth, clock, house, documents, path)
    finally:
        await auth.close()


def asking(client_id: str, **parameters: str) -> Pairs:
    """A good authorization request; an empty parameter is left out."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "state": "opaque state/1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **parameters,
    }
    return [(name, value) for name, value in asked.items() if value]


def body_of(metadata: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"redirect_uris": [CALLBACK], "client_name": "A client", **metadata})


def members(answer: Answer) -> dict[str, Any]:
    found = orjson.loads(answer.body)
    assert isinstance(found, dict)
    return found


def error_of(answer: Answer) -> str:
    assert answer.status in (400, 401), answer
    return str(members(answer)["error"])


def header(answer: Answer, name: bytes) -> bytes | None:
    return dict(answer.headers).get(name)


def headers(authorization: str) -> dict[bytes, bytes]:
    return {b"authorization": authorization.encode()} if authorization else {}


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def query_of(answer: Answer) -> dict[str, str]:
    assert answer.status == 303, answer
    return dict(parse_qsl(urlsplit(answer.location).query, strict_parsing=True))


def bytes_of(path: Path) -> bytes:
    """Everything that stands in the database's files."""
    files: Iterable[Path] = path.parent.glob(f"{path.name}*")
    return b"".join(file.read_bytes() for file in files)
