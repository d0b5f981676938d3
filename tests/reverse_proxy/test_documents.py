"""docs/reverse-proxy.md prints the files that are tested; what no program here can run is read."""

import re
from pathlib import Path

import pytest
import yaml

from tests.reverse_proxy.rig import CONFIGURATIONS

DOCUMENT = CONFIGURATIONS.parents[1] / "docs" / "reverse-proxy.md"


def test_what_the_document_prints_is_what_was_tested() -> None:
    printed = re.findall(r"^```\w+\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    for file in sorted(CONFIGURATIONS.iterdir()):
        assert file.read_text() in printed, f"docs/reverse-proxy.md prints another {file.name}"


@pytest.mark.parametrize("file", [CONFIGURATIONS / "Caddyfile", CONFIGURATIONS.parent / "Caddyfile"], ids=str)
def test_no_caddy_keeps_a_hang_up_from_the_gateway(file: Path) -> None:
    """Told to flush at once, Caddy reads on for clients that have gone; events need no telling."""
    assert "flush_interval" not in file.read_text()


def test_traefiks_configuration_names_what_it_refers_to() -> None:
    """The program itself cannot be had from Debian: as far as can be told without it."""
    static = yaml.safe_load((CONFIGURATIONS / "traefik.yaml").read_text())
    dynamic = yaml.safe_load((CONFIGURATIONS / "traefik-dynamic.yaml").read_text())
    http = dynamic["http"]
    [router] = http["routers"].values()
    balancer = http["services"][router["service"]]["loadBalancer"]
    assert set(router["entryPoints"]) <= set(static["entryPoints"])
    assert balancer["serversTransport"] in http["serversTransports"]
    assert balancer["passHostHeader"] is True
    pattern = re.search(r"HostRegexp\(`(.+?)`\)", router["rule"])
    assert pattern is not None
    assert re.match(pattern[1], "abcdefghijklmnopqrstuvwx23.homes.example.net")
    assert not re.match(pattern[1], "abcdefghijklmnopqrstuvwx23.homes.example.net.evil.example")
