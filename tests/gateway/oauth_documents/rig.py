"""A site that publishes client documents: real TLS on loopback, with an authority made for the tests.

It answers by script, so that it can be slow, endless, compressed, moved or silent; and it remembers who came.
"""

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.auth.oauth.documents import FetchedDocuments
from gateway.auth.oauth.fetch import Address

HOST = "client.example"
PATH = "/mcp/client.json"
LOOPBACK = ip_address("127.0.0.1")
OTHER_LOOPBACK = ip_address("127.0.0.2")
REDIRECTS = ["http://localhost/callback", "https://client.example/callback"]

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Site:
    """What is asked for at a path is answered by ``answers[path]``; everything else is 404."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, Answer] = {}
        self.connections_count = 0
        self.heads: list[str] = []
        self.addresses: Sequence[Address] = [LOOPBACK]
        self.resolved: list[str] = []
        self._serving: set[asyncio.Task[None]] = set()

    def url(self, path: str = PATH, host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"

    def publish(self, path: str = PATH, *headers: str, **changed: Any) -> str:
        """A good document, but for what is ``changed`` (None: left out); returns its URL."""
        self.answers[path] = json_answer(document(self.url(path), **changed), *headers)
        return self.url(path)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        self.resolved.append(host)
        return self.addresses

    def documents(self, **changed: Any) -> FetchedDocuments:
        """A fetcher that may reach this site, and nothing else."""
        seams: dict[str, Any] = {
            "resolve": self.resolve,
            "is_allowed": lambda address: address == LOOPBACK,
            "ssl_context": trusting(),
        }
        return FetchedDocuments(**(seams | changed))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections_count += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            path = head.split(" ", 2)[1]
            await self.answers.get(path, status_answer(404))(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side has heard enough
        finally:
            writer.transport.abort()
            self._serving.discard(task)

    async def close(self) -> None:
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def document(url: str, **changed: Any) -> dict[str, Any]:
    whole = {
        "client_id": url,
        "client_name": "Example",
        "client_uri": "https://client.example/",
        "redirect_uris": REDIRECTS,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    } | changed
    return {name: value for name, value in whole.items() if value is not None}


def raw(text: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(text)

    return answer


def head_of(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", "Connection: close", *headers, "", ""]).encode()


def status_answer(status: int, *headers: str) -> Answer:
    return raw(head_of(status, "Content-Length: 0", *headers))


def json_answer(value: object, *headers: str, content_type: str = "application/json") -> Answer:
    body = json.dumps(value).encode()
    return raw(head_of(200, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers) + body)


@asynccontextmanager
async def site(host: str = "127.0.0.1") -> AsyncIterator[Site]:
    """A site of its own at ``host``, with a certificate for HOST and for the loopback addresses."""
    one = Site()
    server = await asyncio.start_server(one.serve, host, 0, ssl=serving())
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        await one.close()
        await server.wait_closed()


@cache
def _authority() -> tuple[x509.Certificate, bytes]:
    """The authority's certificate, and a chain file's text: key and certificate of the site."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
    root = (
        _certificate(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .add_extension(_key_usage(), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    names = [x509.DNSName(HOST), x509.IPAddress(LOOPBACK), x509.IPAddress(OTHER_LOOPBACK)]
    leaf = (
        _certificate(x509.Name([]), root_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return root, pem + leaf.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@cache
def serving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "chain.pem"
        chain.write_bytes(_authority()[1])
        context.load_cert_chain(chain)
    return context


@cache
def trusting() -> ssl.SSLContext:
    root = _authority()[0].public_bytes(serialization.Encoding.PEM).decode()
    return ssl.create_default_context(cadata=root)
