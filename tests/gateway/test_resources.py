"""Which resource an address means, in one spelling."""

import pytest

from gateway.auth.resources import Resources
from gateway.routes.table import Table
from gateway.sites import Sites
from state.kinds.resource import Metadata
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec, Route
from state.setting_values import ExtraOrigin
from state.store.port import Batch

ORIGIN = "https://gw.example.com"
EXTRA = "https://mcp.example.org"
EXTRAS = (ExtraOrigin(EXTRA, ("google",)),)
ROUTES = (
    Route(path="/mcp", match="prefix", protocol="mcp"),
    Route(path="/api/mcp", match="subtree", protocol="mcp"),
    Route(path="/live"),
)


@pytest.fixture
def resources() -> Resources:
    table = Table()
    spec = ContainerTemplateSpec(image="demo", port=8000, routes=ROUTES)
    template = ContainerTemplate(metadata=Metadata(name="demo"), spec=spec)
    table.replace(Batch(revision=1, objects=(template,), removed=()))
    return Resources(table, Sites(ORIGIN, extras=EXTRAS))


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/mcp", "/mcp"),
        ("/mcp/", "/mcp"),
        ("/mcp/x/y", "/mcp"),
        ("/mcp-media", "/mcp-media"),
        ("/mcp-media/x", "/mcp-media"),
        ("/api/mcp/x", "/api/mcp"),
        ("/u/github:1/mcp", "/u/github:1/mcp"),
        ("/u/github:1/mcp-media/x", "/u/github:1/mcp-media"),
        ("/-/api/v1/containers", "/-/api/v1"),
        ("/mcpx", None),
        ("/live", None),
        ("/u/github:1/live", None),
        ("/u/mcp", None),
        ("/-/api/v10", None),
        ("/", None),
    ],
)
def test_a_path_belongs_to_one_resource(resources: Resources, path: str, resource: str | None) -> None:
    assert resources.of_path(path) == (None if resource is None else ORIGIN + resource)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (None, "/mcp"),
        (ORIGIN, "/mcp"),
        (ORIGIN + "/", "/mcp"),
        (ORIGIN + "/mcp", "/mcp"),
        (ORIGIN + "/mcp/", "/mcp"),
        ("https://GW.example.com/mcp", "/mcp"),
        (ORIGIN + "/mcp-media", "/mcp-media"),
        (ORIGIN + "/u/github:1/mcp", "/u/github:1/mcp"),
        (ORIGIN + "/-/api/v1", "/-/api/v1"),
        (ORIGIN + "/mcp/x", None),
        (ORIGIN + "/mcp?x=1", None),
        (ORIGIN + "/mcp#x", None),
        (ORIGIN + "/mcp/../mcp", None),
        (ORIGIN + "/mcp%2f", None),
        (ORIGIN + "/live", None),
        (ORIGIN + ":8443/mcp", None),
        ("http://gw.example.com/mcp", None),
        ("https://gw.example.com.evil.example/mcp", None),
        ("https://gw.example.com@evil.example/mcp", None),
        ("https://evil.example/mcp", None),
        ("/mcp", None),
        ("", None),
        ("https://[", None),
    ],
)
def test_a_client_means_a_resource_of_ours_or_none(
    resources: Resources, asked: str | None, meant: str | None
) -> None:
    assert resources.canonical(asked) == (None if meant is None else ORIGIN + meant)


def test_an_extra_origin_has_resources_of_its_own_for_its_providers_people(resources: Resources) -> None:
    assert resources.canonical(EXTRA) == resources.canonical(EXTRA + "/mcp/") == EXTRA + "/mcp"
    assert resources.canonical(EXTRA + "/-/api/v1") is None
    assert resources.metadata_url(EXTRA + "/mcp") == f"{EXTRA}/.well-known/oauth-protected-resource/mcp"
    assert [resources.lets_in(EXTRA + "/mcp", user) for user in ("google:1", "github:1", "app:shop.1")] == [
        *(True, False, True)
    ]
    assert resources.lets_in(ORIGIN + "/mcp", "github:1")


def test_a_challenge_names_metadata_and_scope_and_an_error_only_where_there_was_a_token(
    resources: Resources,
) -> None:
    metadata = f'resource_metadata="{ORIGIN}/.well-known/oauth-protected-resource/mcp-media"'
    assert resources.challenge(ORIGIN + "/mcp-media").decode() == f'Bearer {metadata}, scope="mcp"'
    told = resources.challenge(ORIGIN + "/mcp-media", "invalid_token", "It is over.").decode()
    assert told == (f'Bearer error="invalid_token", error_description="It is over.", {metadata}, scope="mcp"')
