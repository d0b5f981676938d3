"""What an operator does with a stack that is up, as docs/deploy.md says it."""

import asyncio
import io
import os
import secrets
import shlex
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path

import aiohttp
import docker
import pytest

from mcpgw.bootstrap.engine_api import network_subnets, networks
from mcpgw.bootstrap.project_image import ensure_debian
from mcpgw.bootstrap.testing import ensure_reverse_proxies
from mcpgw.fence.ruleset import table_of
from mcpgw.testing.calls import Answer
from mcpgw.testing.composed import Composed
from mcpgw.testing.load import load, serves
from mcpgw.testing.ports import free_port
from mcpgw.testing.waiting import seen, until
from reconciler.core.container import LABEL_PROJECT
from tests.compose.asking import whoami
from tests.compose.conftest import opened
from tests.engines import RealEngine
from tests.registry import registry
from tests.reverse_proxy.rig import CLIENT_ADDRESS, GATEWAY_NAME, WORDS, Ports, open_client, running
from tests.tls import write_self_signed

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
OURS = ("gateway", "reconciler", "fence")
ORIGIN = "https://mcp.example.com"
LOADED_S, SLOW_S = 3.0, 4.0
COMMAND_S_MAX = 60.0
LARGE_SECOND_OCTETS = {"docker": 218, "podman": 219}  # what else is picked at random begins above


@contextmanager
def hand_at(stack: Composed) -> Iterator[docker.APIClient]:
    api = docker.APIClient(base_url=stack.engine.url, version="1.41", timeout=120)
    try:
        yield api
    finally:
        api.close()


def documented(command: str) -> tuple[str, ...]:
    """The words behind `docker compose`, of a command that the document has."""
    assert f"docker compose {command}" in (ROOT / "docs" / "deploy.md").read_text()
    return tuple(shlex.split(command))


def tables() -> str:
    return subprocess.run(
        ("nft", "list", "tables"), check=True, capture_output=True, text=True, timeout=COMMAND_S_MAX
    ).stdout


def test_a_service_that_dies_is_started_again_by_its_engine(stack: Composed) -> None:
    before = stack.serve("ann")
    with hand_at(stack) as api:
        for service in OURS:
            identity = stack.compose("ps", "-q", service).strip()
            pid = api.inspect_container(identity)["State"]["Pid"]
            assert identity in Path(f"/proc/{pid}/cgroup").read_text(), f"{service} runs on this machine"
            os.kill(pid, signal.SIGKILL)

            def runs_anew(identity: str = identity, pid: int = pid) -> bool:
                state = api.inspect_container(identity)["State"]
                return bool(state["Running"] and state["Pid"] not in (0, pid))

            until(runs_anew, f"{service} runs again")
    stack.until_page()
    assert stack.serve("ann") == before, "whose container ran on"


def test_the_images_own_program_reads_the_hosts_routes(stack: Composed) -> None:
    """It sets the one to a tailnet; what it makes of it: mcpgw/fence/test_tailnet."""
    told = stack.run_in("fence", "ip", "route")
    assert f"{stack.subnet}.0/24 dev br-{stack.project}" in told.stdout, told


def test_the_image_is_built_as_the_document_says(docker_engine: RealEngine, tmp_path: Path) -> None:
    """Of Docker, as Podman has no builder for it; the Debian in it is one that is there."""
    with opened(docker_engine, tmp_path) as stack:
        image = f"mcp-gateway:{stack.project}-built"  # which is taken away with the stack
        stack.set(GATEWAY_IMAGE=image)
        stack.compose(*documented("build"), "--build-arg", f"DEBIAN={ensure_debian(stack.engine)}")
        told = stack.compose("run", "--rm", "--no-deps", "-T", "fence", "doctor", "--help")
        assert "usage: mcpgw doctor" in told


async def test_an_upgrade_is_pulled_and_no_request_fails_then_all_is_taken_away(
    edged: Composed, real_engine: RealEngine, tmp_path: Path
) -> None:
    """Of a registry's image, whose tag is moved meanwhile."""
    edged.set(COMPOSE_PROFILES="edge")
    built, address = edged.settings["GATEWAY_IMAGE"], edged.settings["EDGE_HTTPS_PUBLISH"]
    pull = documented("pull gateway reconciler fence")
    with registry(tmp_path) as there, hand_at(edged) as api:
        there.put(real_engine, built, "gateway")
        edged.set(GATEWAY_IMAGE=there.reference("gateway"))
        edged.compose(*pull)
        edged.compose(*documented("up -d"))
        await serves(ORIGIN, edged.headers("ann"), address)
        newer = release(api, real_engine, built, edged.project)
        there.put(real_engine, newer, "gateway")
        before = {service: image_of(edged, api, service) for service in OURS}
        users = of_users(edged, api)
        assert users
        async with load(ORIGIN, edged.headers("ann"), callers=8, slow_s=SLOW_S, address=address) as tally:
            await asyncio.sleep(LOADED_S)
            for words in (pull, documented("up -d")):
                await asyncio.to_thread(edged.compose, *words)
            answered = tally.answered_count
            async with asyncio.timeout(60):
                while tally.answered_count == answered:
                    await asyncio.sleep(0.1)
        assert tally.failures == {}
        assert tally.slow_count
        after = {service: image_of(edged, api, service) for service in OURS}
        assert all(after[service] != before[service] for service in OURS)
        assert of_users(edged, api) == users, "Ann's container runs on"
        taken_away(edged, api)
        api.remove_image(there.reference("gateway"), force=True)


def release(api: docker.APIClient, engine: RealEngine, image: str, name: str) -> str:
    """Another image of the same program."""
    local = "" if engine.name == "docker" else "localhost/"
    made = f"mcp-gateway:{name}-newer"  # which is taken away with the stack
    recipe = io.BytesIO(f"FROM {local}{image}\nLABEL version=newer\n".encode())
    said = list(api.build(fileobj=recipe, tag=f"{local}{made}", rm=True, decode=True))
    assert not [line for line in said if "error" in line], said
    return made


def image_of(stack: Composed, api: docker.APIClient, service: str) -> str:
    return str(api.inspect_container(stack.compose("ps", "-q", service).strip())["Image"])


def of_users(stack: Composed, api: docker.APIClient) -> list[str]:
    """Users' containers."""
    ours = {"label": f"{LABEL_PROJECT}={stack.project}"}
    return sorted(one["Id"] for one in api.containers(all=True, filters=ours))


def taken_away(stack: Composed, api: docker.APIClient) -> None:
    """As the document says: everything goes but the data."""
    assert table_of(stack.project) in tables()
    stack.compose(*documented("stop reconciler"))
    for identity in of_users(stack, api):
        api.remove_container(identity, force=True)
    stack.compose(*documented("stop fence"))
    stack.compose(*documented("run --rm fence fence --remove"))
    assert table_of(stack.project) not in tables()
    stack.compose(*documented("--profile '*' down -v"))
    assert not [one for one in networks(stack.engine) if one.name.startswith(stack.project)]
    assert not [one for one in api.volumes()["Volumes"] or () if one["Name"].startswith(stack.project)]
    assert not api.containers(all=True, filters={"label": f"com.docker.compose.project={stack.project}"})
    assert list(Path(stack.settings["HOST_DATA_DIR"]).glob("*/data"))


def large_networks(engine: RealEngine) -> dict[str, str]:
    """Four /24 each, one behind the other."""
    first = f"10.{LARGE_SECOND_OCTETS[engine.name]}"
    third = secrets.randbelow(16) * 16
    names = ("CONTAINER_SUBNET_PREFIX", "PROXY_SUBNET_PREFIX", "CLOSED_SUBNET_PREFIX")
    return {"SUBNET_BITS": "22", **{name: f"{first}.{third + 4 * at}" for at, name in enumerate(names)}}


async def test_a_proxy_on_the_host_speaks_for_its_clients(real_engine: RealEngine, tmp_path: Path) -> None:
    """nginx with the shipped configuration, in front of what compose publishes on loopback. The networks are
    larger than usual, as for more users than 244."""
    plain, secure = free_port(), free_port()
    origin = f"https://{GATEWAY_NAME}:{secure}"
    certificate, _ = write_self_signed(tmp_path, GATEWAY_NAME)
    with opened(real_engine, tmp_path, {"GATEWAY_ORIGIN": origin, **large_networks(real_engine)}) as stack:
        services = stack.settings["SERVICES_SUBNET_PREFIX"]
        stack.set(TRUSTED_PROXIES=f"{stack.subnet}.1,{services}.1")
        stack.up("--no-build")
        assert IPv4Network(f"{stack.subnet}.0/22") in network_subnets(stack.engine)
        port = int(stack.settings["GATEWAY_PUBLISH"].rpartition(":")[2])
        words = WORDS["nginx"](tmp_path, Ports(plain, secure, port, 0))
        trusting = ssl.create_default_context(cafile=str(certificate))
        with running(ensure_reverse_proxies()["nginx"], tmp_path, words, secure):
            async with open_client(trusting) as client:

                async def told() -> Answer | None:
                    with suppress(aiohttp.ClientError):
                        answer = await whoami(client, origin, stack.headers("ann"))
                        return answer if answer.status == 200 and answer.is_result else None
                    return None

                answer = await seen(told, bool, "Ann is served")
    assert answer is not None
    headers = dict(answer.result["headers"])
    assert headers["x-forwarded-for"] == CLIENT_ADDRESS, "and not a bridge's"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-host"]) == (
        "https",
        f"{GATEWAY_NAME}:{secure}",
    )
