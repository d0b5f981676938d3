"""Starts the demo, as a process of this machine or as a container reached directly, and looks into it."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiodocker
import aiohttp
import pytest
from testcontainers.core.container import DockerContainer

from tests.engines import PROJECT_LABEL, RealEngine

PATIENCE_S = 60.0
POLL_S = 0.05
PORT = 8080
USER = "1000:1000"


@contextmanager
def demo_process(data_dir: Path, **environment: str) -> Iterator[str]:
    """A demo of one's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"PORT": str(port), "DATA_DIR": str(data_dir), "DEMO_CONTROLS": "1"}
    server = subprocess.Popen((sys.executable, "-m", "demo"), env={**os.environ, **settings, **environment})
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(url)
        yield url
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


@asynccontextmanager
async def demo_container(engine: RealEngine, project: str, data_dir: Path) -> AsyncIterator[str]:
    """The demo in a container that may do as little as the reconciler's: its URL by its own address."""
    data_dir.chmod(0o777)  # the container's user is not ours
    if engine.name == "docker":
        with _on_docker(engine, project, data_dir) as url:
            yield url
    else:  # testcontainers does not get along with Podman's API
        async with _on_podman(engine, project, data_dir) as url:
            yield url


@contextmanager
def _on_docker(engine: RealEngine, project: str, data_dir: Path) -> Iterator[str]:
    container = DockerContainer(engine.image, docker_client_kw={"environment": {"DOCKER_HOST": engine.url}})
    container.with_volume_mapping(str(data_dir), "/data", "rw")
    container.with_kwargs(
        user=USER,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        labels={PROJECT_LABEL: project},
    )
    with container:
        wrapped = container.get_wrapped_container()
        wrapped.reload()
        url = f"http://{wrapped.attrs['NetworkSettings']['Networks']['bridge']['IPAddress']}:{PORT}"
        wait_until_healthy(url)
        yield url
    container.get_docker_client().client.close()


@asynccontextmanager
async def _on_podman(engine: RealEngine, project: str, data_dir: Path) -> AsyncIterator[str]:
    async with aiodocker.Docker(engine.url) as podman:
        container = await podman.containers.create(
            name=f"{project}-{secrets.token_hex(4)}",
            config={
                "Image": f"localhost/{engine.image}",
                "User": USER,
                "Labels": {PROJECT_LABEL: project},
                "HostConfig": {
                    "CapDrop": ["ALL"],
                    "SecurityOpt": ["no-new-privileges"],
                    "ReadonlyRootfs": True,
                    "Binds": [f"{data_dir}:/data:rw"],
                },
            },
        )
        await container.start()
        seen = await container.show()
        url = f"http://{seen['NetworkSettings']['Networks']['podman']['IPAddress']}:{PORT}"
        wait_until_healthy(url)
        yield url


def wait_until_healthy(url: str) -> None:
    """Return once `/health` says OK."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                assert answer.read().startswith(b"OK")
                return
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
    pytest.fail(f"{url}/health did not answer within {PATIENCE_S} s")


async def the_call(url: str, label: str, **expected: Any) -> dict[str, Any]:
    """The record of a call, once it shows what is expected of it."""
    deadline = time.monotonic() + PATIENCE_S
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{url}/calls?{urlencode({'label': label})}") as answer:
                calls = (await answer.json())["calls"]
            if calls and expected.items() <= calls[0].items():
                return dict(calls[0])
            assert time.monotonic() < deadline, calls
            await asyncio.sleep(0.02)
