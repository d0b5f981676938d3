"""Time to ready and to healed, beside the bare engine on the same image, on real Docker.

``cold.vs_engine``: a new user's first MCP answer through the gateway, over the bare engine's create + start
→ first HTTP answer. ``heal.added_s``: after `docker rm -f`, how much later than the bare engine's create +
start → HTTP the user's container serves again. Both with the gateway and the reconciler under `mcpgw up`.
"""

import asyncio
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiodocker

from bench.results import Sample
from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.docker import ensure_docker
from mcpgw.testing.house import House, free_port, house

ROUNDS = 21
ROUNDS_QUICK = 3
POLL_S = 0.005
BREATH_S = 0.5  # before each: what the engine still clears away of the one before is no part of the next
ANSWER_S_MAX = 60.0
PROTOCOL = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def run(_out: Path, *, quick: bool) -> list[Sample]:
    engine = ensure_docker()
    image = ensure_demo_image(engine)
    with tempfile.TemporaryDirectory() as folder, house(Path(folder), engine, image, begin="up") as built:
        first_answer_s(built, "warm-up")
        rounds = range(ROUNDS_QUICK if quick else ROUNDS)
        bare, networked, cold, healed = [], [], [], []
        for number in rounds:  # interleaved, so that what the machine does meanwhile falls on all alike
            time.sleep(BREATH_S)
            bare.append(_bare_s(engine.url, image))
            time.sleep(BREATH_S)
            cold.append(first_answer_s(built, f"cold{number}"))
            time.sleep(BREATH_S)
            healed.append(_heal_s(built, f"cold{number}"))
            time.sleep(BREATH_S)
            networked.append(_bare_s(engine.url, image, network=built.project))
    base_s, networked_s = statistics.median(bare), statistics.median(networked)
    how = (
        f"median of {len(bare)} interleaved rounds, Docker, the demo image, under `mcpgw up`; "
        f"bare engine {base_s:.2f} s on its default network, {networked_s:.2f} s on one of a project's own, "
        "as ours is"
    )
    pairs = list(zip(cold, healed, bare, strict=True))
    beside = {
        "bare engine s": tuple(bare),
        "bare engine, own network s": tuple(networked),
        "first answer s": tuple(cold),
        "healed s": tuple(healed),
    }
    return [
        Sample("cold.vs_engine", tuple(first / base for first, _, base in pairs), how, beside),
        Sample("heal.added_s", tuple(again - base for _, again, base in pairs), how, beside),
    ]


def _bare_s(url: str, image: str, network: str = "default") -> float:
    return asyncio.run(_bare(url, image, network))


async def _bare(url: str, image: str, network: str) -> float:
    """Create + start of the same image with the same limits, until it answers over HTTP."""
    port = free_port()
    config: dict[str, Any] = {
        "Image": image,
        "Env": ["PORT=8080", "DATA_DIR=/tmp"],
        "HostConfig": {
            "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]},
            "Memory": 256 << 20,
            "NanoCpus": 10**9,
            "CapDrop": ["ALL"],
            "NetworkMode": network,
        },
        "ExposedPorts": {"8080/tcp": {}},
    }
    async with aiodocker.Docker(url) as docker:
        began_at = time.monotonic()
        container = await docker.containers.create(config)
        try:
            await container.start()
            await asyncio.to_thread(_until, lambda: _answers(port))
            return time.monotonic() - began_at
        finally:
            await container.delete(force=True)


def first_answer_s(built: House, user: str) -> float:
    began_at = time.monotonic()
    _call(built, user)
    return time.monotonic() - began_at


def _heal_s(built: House, user: str) -> float:
    """From the end of `docker rm -f` to the next answer."""
    asyncio.run(_remove(built.engine.url, built.container_name(user)))
    began_at = time.monotonic()
    _call(built, user)
    return time.monotonic() - began_at


async def _remove(url: str, name: str) -> None:
    async with aiodocker.Docker(url) as docker:
        await docker.containers.container(name).delete(force=True)


def _call(built: House, user: str) -> None:
    """One stateless `tools/list` through the gateway; held until the container is there."""
    target = urlsplit(built.mcp_url)
    assert target.hostname is not None, "the house has an address"
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=ANSWER_S_MAX)
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": _META}}
    headers = {
        **built.headers(user),
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": PROTOCOL,
        "Mcp-Method": "tools/list",
    }
    connection.request("POST", target.path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200 and b'"tools"' in text, f"{answer.status}: {text[:300]!r}"


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ANSWER_S_MAX
    while not condition():
        assert time.monotonic() < deadline, "the bare container never answered"
        time.sleep(POLL_S)
