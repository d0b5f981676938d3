"""The manifests: they can be read, and the routes they open are there."""

from pathlib import Path

import aiohttp
import pytest

from demo.getgather import LINK_ID, SITE
from gateway.routes.match import names_hostname
from mcpgw.bootstrap.paths import PROJECT_DIR
from state.kinds.template import Access, ContainerTemplate, ContainerTemplateSpec
from state.manifests.parse import parse_manifest
from tests.demo.rig import demo_process

TRIED = {"/link": "/link/home-id", "/static": "/static/demo.js"}
HOME = "abcdefghijklmnopqrstuvwx23"
LINK = f"{HOME}-{LINK_ID}"
TRIED_OF_GETGATHER = {
    "/mcp": ("POST", "/mcp-media"),
    "/dpage": ("GET", f"/dpage/{LINK}"),
    "/link": ("GET", f"/link/{LINK}"),
    "/api/auth": ("POST", f"/api/auth/v1/{SITE}/{LINK}"),
    "/api/link": ("POST", "/api/link/create"),
    "/api/link/status": ("GET", f"/api/link/status/{LINK}"),
    "/__assets": ("GET", "/__assets/a.js"),
    "/__static": ("GET", "/__static/assets/logo.png"),
}


@pytest.fixture(scope="module")
def spec() -> ContainerTemplateSpec:
    text = (PROJECT_DIR / "manifests" / "demo.yaml").read_bytes()
    [declared] = parse_manifest("demo.yaml", text, {"DEMO_IMAGE": "mcp-gateway-demo:latest"})
    assert isinstance(declared.resource, ContainerTemplate)
    return declared.resource.spec


def test_it_asks_for_the_image_of_the_settings_and_little_else(spec: ContainerTemplateSpec) -> None:
    assert spec.image == "mcp-gateway-demo:latest"
    assert spec.security.read_only_root
    assert spec.env["PORT"] == str(spec.port)


async def test_every_route_is_there_and_the_rest_of_the_demo_is_closed(
    spec: ContainerTemplateSpec, demo_url: str
) -> None:
    async with aiohttp.ClientSession(demo_url) as http:
        for route in spec.routes:
            async with http.head(TRIED.get(route.path, route.path)) as answer:
                assert answer.status != 404 or route.path == "/ws", route.path
    assert not {"/control", "/calls", "/health"} & {route.path for route in spec.routes}


@pytest.fixture(scope="module")
def getgather() -> ContainerTemplateSpec:
    text = (PROJECT_DIR / "manifests" / "getgather.yaml").read_bytes()
    images = {"DEMO_IMAGE": "demo:1", "CONTAINER_IMAGE": "getgather:1"}
    [declared] = parse_manifest("getgather.yaml", text, images)
    assert isinstance(declared.resource, ContainerTemplate)
    return declared.resource.spec


def test_getgather_runs_beside_it_with_an_image_of_its_own(getgather: ContainerTemplateSpec) -> None:
    assert getgather.image == "getgather:1"
    assert getgather.data is not None
    at = getgather.data.mount_path
    assert (getgather.env["PORT"], getgather.env["DATA_DIR"]) == (str(getgather.port), at)
    of = {route.path: route.access for route in getgather.routes}
    assert {path for path, access in of.items() if access is Access.ANY} == {"/__assets", "/__static"}
    assert {path for path, access in of.items() if access is Access.LINK} == {
        "/dpage",
        "/link",
        "/api/auth",
        "/api/link",
        "/api/link/status",
    }


def test_a_browser_has_the_memory_that_its_pages_need(getgather: ContainerTemplateSpec) -> None:
    assert (getgather.resources.memory, getgather.resources.shm) == (2 << 30, 256 << 20)


def test_what_data_may_take_is_bounded(spec: ContainerTemplateSpec, getgather: ContainerTemplateSpec) -> None:
    assert (spec.resources.disk, getgather.resources.disk) == (1 << 30, 10 << 30)


async def test_every_route_of_getgather_is_there_on_its_stand_in(
    getgather: ContainerTemplateSpec, tmp_path: Path
) -> None:
    with demo_process(tmp_path, DEMO_GETGATHER="1", HOSTNAME=HOME) as url:
        async with aiohttp.ClientSession(url) as http:
            for route in getgather.routes:
                method, path = TRIED_OF_GETGATHER.get(route.path, ("GET", route.path))
                async with http.request(method, path) as answer:
                    assert answer.status != 404 or route.path == "/websockify", route.path
                if route.access is Access.LINK and path.endswith(LINK):
                    assert names_hostname(route, path, HOME), route.path
