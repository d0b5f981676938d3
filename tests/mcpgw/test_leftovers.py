"""What killed tests left on an engine goes; what is younger, or no test's, stays."""

import re
import secrets
from collections.abc import Iterator

import docker
import pytest

from mcpgw.bootstrap.engine_api import label_values, network_subnets, remove_labelled
from mcpgw.testing import leftovers
from mcpgw.testing.ports import subnet_prefix
from reconciler.core.container import LABEL_PROJECT
from tests.engines import RealEngine

pytestmark = pytest.mark.engine


@pytest.fixture
def project(real_engine: RealEngine) -> Iterator[str]:
    """Of a container and a network; swept by its own name alone, as others' tests run beside it."""
    name = f"left-{secrets.token_hex(4)}"
    api = docker.APIClient(base_url=real_engine.url, version="1.41")
    subnet = f"{subnet_prefix(network_subnets(real_engine.bare))}.0/24"
    ipam = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
    labels = {LABEL_PROJECT: name}
    api.create_network(name, ipam=ipam, labels=labels)
    api.create_container(real_engine.image, name=name, labels=labels)
    yield name
    remove_labelled(real_engine.bare, f"{LABEL_PROJECT}={name}")


def test_a_subnet_that_a_network_has_is_told(real_engine: RealEngine, project: str) -> None:
    api = docker.APIClient(base_url=real_engine.url, version="1.41")
    subnet = api.inspect_network(project)["IPAM"]["Config"][0]["Subnet"]
    assert subnet in map(str, network_subnets(real_engine.bare))


def test_a_project_goes_once_it_is_old(
    real_engine: RealEngine, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = real_engine.bare
    monkeypatch.setattr(leftovers, "OF_A_TEST", re.compile(re.escape(project)))
    leftovers.sweep(engine)
    assert project in label_values(engine, LABEL_PROJECT), "it is young"
    leftovers.sweep(engine, 0)
    assert project not in label_values(engine, LABEL_PROJECT)


def test_projects_of_tests_are_told_by_their_names() -> None:
    names = ("t0123abcd", "t0123456789", "mcpgw", "tea")
    told = {name: bool(leftovers.OF_A_TEST.fullmatch(name)) for name in names}
    assert told == {"t0123abcd": True, "t0123456789": True, "mcpgw": False, "tea": False}
