"""What the gateway says of itself, held against the validators of those who read it."""

import logging

import pytest
from authlib.oauth2 import rfc9207  # type: ignore[import-untyped]
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata  # type: ignore[import-untyped]
from authlib.oidc.discovery import OpenIDProviderMetadata  # type: ignore[import-untyped]

from tests.gateway.oauth.rig import ISSUER, MCP, Rig


async def test_the_documents_are_valid(rig: Rig) -> None:
    AuthorizationServerMetadata(rig.server.metadata()).validate(
        metadata_classes=[rfc9207.AuthorizationServerMetadata]
    )
    OpenIDProviderMetadata(rig.server.openid_metadata()).validate()


async def test_the_issuer_is_the_one_that_tokens_name_byte_for_byte(rig: Rig) -> None:
    assert rig.server.metadata()["issuer"] == rig.server.openid_metadata()["issuer"] == ISSUER


async def test_what_clients_decide_by_is_said(rig: Rig) -> None:
    said = rig.server.metadata()
    assert said["client_id_metadata_document_supported"] is True
    assert "none" in said["token_endpoint_auth_methods_supported"]
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["authorization_response_iss_parameter_supported"] is True
    assert said["scopes_supported"] == ["api", "mcp"]


async def test_endpoints_are_where_clients_fall_back_to(rig: Rig) -> None:
    said = rig.server.metadata()
    names = ("authorization", "token", "registration", "revocation")
    paths = [said[f"{name}_endpoint"].removeprefix(ISSUER) for name in names]
    assert paths == ["/authorize", "/token", "/register", "/revoke"]


@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
async def test_every_method_that_is_named_may_be_registered(rig: Rig, method: str) -> None:
    assert method in rig.server.metadata()["token_endpoint_auth_methods_supported"]
    assert (await rig.register(token_endpoint_auth_method=method))["token_endpoint_auth_method"] == method


async def test_a_resource_names_its_server_and_its_scope(rig: Rig) -> None:
    assert rig.server.resource_metadata(MCP) == {
        "resource": MCP,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["mcp"],
        "bearer_methods_supported": ["header"],
    }


async def test_debug_lines_of_authlib_are_off() -> None:
    assert logging.getLogger("authlib").getEffectiveLevel() == logging.INFO
