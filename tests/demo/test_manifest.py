"""The demo's manifest: it can be read, and the routes it opens are there."""

import aiohttp
import pytest

from mcpgw.bootstrap.paths import PROJECT_DIR
from state.kinds.template import Access, ContainerTemplate, ContainerTemplateSpec
from state.manifests.parse import parse_manifest

TRIED = {"/link": "/link/home-id", "/static": "/static/demo.js"}


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


def test_getgather_runs_beside_it_with_an_image_of_its_own() -> None:
    text = (PROJECT_DIR / "manifests" / "getgather.yaml").read_bytes()
    images = {"DEMO_IMAGE": "demo:1", "CONTAINER_IMAGE": "getgather:1"}
    [declared] = parse_manifest("getgather.yaml", text, images)
    assert isinstance(declared.resource, ContainerTemplate)
    spec = declared.resource.spec
    assert spec.image == "getgather:1"
    assert spec.data is not None
    assert (spec.env["PORT"], spec.env["DATA_DIR"]) == (str(spec.port), spec.data.mount_path)
    of = {route.path: route.access for route in spec.routes}
    assert {path for path, access in of.items() if access is Access.ANY} == {"/__assets", "/__static"}
    assert {path for path, access in of.items() if access is Access.LINK} == {
        "/dpage",
        "/link",
        "/api/auth",
        "/api/link",
        "/api/link/status",
    }
