"""The demo's manifest: it can be read, and the routes it opens are there."""

import aiohttp
import pytest

from mcpgw.bootstrap.paths import PROJECT_DIR
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec
from state.manifests.parse import parse_manifest

TRIED = {"/link": "/link/home-id", "/static": "/static/demo.js"}


@pytest.fixture(scope="module")
def spec() -> ContainerTemplateSpec:
    text = (PROJECT_DIR / "manifests" / "demo.yaml").read_bytes()
    [declared] = parse_manifest("demo.yaml", text, {"CONTAINER_IMAGE": "mcp-gateway-demo:latest"})
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
