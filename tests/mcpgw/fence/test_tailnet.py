"""The host's way to a tailnet: set by the fence, on request, and nobody's but the host's."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found
from mcpgw.fence.tailnet import router_of
from mcpgw.testing.waiting import until
from reconciler.settings import ReconcilerSettings
from state.settings import SettingsError, load_settings
from tests.mcpgw.fence.rig import PROJECT, SUBNET, kept, run_verb
from tests.netns import Host, host, link

BRIDGE = f"br-{PROJECT}"
ROUTER, CONTAINER = "10.211.7.4", "10.211.7.11"
TAILNET_HERE, TAILNET = "100.101.7.1", "100.101.7.2"
PORT = 8097
MENDED_S_MAX = 60.0  # a round, and a slow machine
ASKED = {"FENCE_TRUSTED": ROUTER, "FENCE_TAILNET_ROUTER": ROUTER}
STANDING = f"100.64.0.0/10 via {ROUTER} dev {BRIDGE}"


@dataclass(frozen=True)
class Lan:
    """``machine`` has the bridge, with the router and a container on it, and a tailnet is behind it."""

    machine: Host
    container: Host

    def make_bridge(self) -> None:
        self.machine.ip("link", "add", BRIDGE, "type", "bridge")
        self.machine.ip("addr", "add", f"{SUBNET[1]}/{SUBNET.prefixlen}", "dev", BRIDGE)
        self.machine.ip("link", "set", BRIDGE, "up")

    def routes(self) -> list[str]:
        return [" ".join(line.split()) for line in self.machine.run("ip", "-4", "route").splitlines()]


@pytest.fixture(params=["iproute2", "busybox"])
def verb_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """PATH with the host's `ip`, or with that of the project's image before it."""
    path = os.environ["PATH"]
    if request.param == "iproute2":
        return path
    if found("busybox") is None:
        debian.install(("busybox-static",), why="what the project's image has of programs")
    busybox = found("busybox")
    assert busybox is not None
    folder = tmp_path / "busybox"
    folder.mkdir()
    (folder / "ip").symlink_to(busybox)
    return f"{folder}:{path}"


@pytest.fixture
def lan() -> Iterator[Lan]:
    with ExitStack() as ends:
        machine, router, container, far = (ends.enter_context(host()) for _ in range(4))
        made = Lan(machine, container)
        made.make_bridge()
        machine.forward()
        _plug(machine, router, f"{ROUTER}/{SUBNET.prefixlen}")
        _plug(machine, container, f"{CONTAINER}/{SUBNET.prefixlen}")
        container.ip("route", "add", "default", "via", str(SUBNET[1]))
        link(router, f"{TAILNET_HERE}/30", far, f"{TAILNET}/30")
        router.forward()
        far.ip("route", "add", "default", "via", TAILNET_HERE)
        far.serve(PORT)
        yield made


def _plug(machine: Host, one: Host, address: str) -> None:
    mine, theirs = f"{one.name}c", f"{one.name}d"
    machine.ip("link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", one.name)
    machine.ip("link", "set", mine, "master", BRIDGE, "up")
    one.ip("addr", "add", address, "dev", theirs)
    one.ip("link", "set", theirs, "up")


def test_it_is_set_checked_and_removed_and_containers_get_none(
    lan: Lan, tmp_path: Path, verb_path: str
) -> None:
    asked = {**ASKED, "PATH": verb_path}
    there = f"http://{TAILNET}:{PORT}/"
    lan.machine.ip("route", "add", "100.64.0.0/10", "via", ROUTER)
    assert lan.container.get(there) == "outside", "without a fence"
    lan.machine.ip("route", "del", "100.64.0.0/10")
    for _ in range(2):
        done = run_verb(lan.machine, tmp_path, **asked)
        assert (done.returncode, done.stderr) == (0, "")
        assert STANDING in lan.routes()
    assert lan.machine.get(there) == "outside"
    assert lan.container.get(there) == "", "it has a way to the host, and the fence keeps it from this one"
    assert run_verb(lan.machine, tmp_path, "--check", **asked).returncode == 0
    lan.machine.ip("route", "del", "100.64.0.0/10")
    missing = run_verb(lan.machine, tmp_path, "--check", **asked)
    assert missing.returncode == 1
    assert "the host has no route to the tailnet (100.64.0.0/10)" in missing.stderr
    assert run_verb(lan.machine, tmp_path, **asked).returncode == 0
    for _ in range(2):
        assert run_verb(lan.machine, tmp_path, "--remove", **asked).returncode == 0
        assert not any("100.64.0.0/10" in one for one in lan.routes())


def test_one_that_leads_elsewhere_is_replaced_and_not_removed(lan: Lan, tmp_path: Path) -> None:
    lan.machine.ip("route", "add", "100.64.0.0/10", "via", CONTAINER)
    wrong = run_verb(lan.machine, tmp_path, "--remove", **ASKED)
    assert wrong.returncode == 0
    assert any(f"via {CONTAINER}" in one for one in lan.routes()), "whoever set it may need it"
    assert run_verb(lan.machine, tmp_path, **ASKED).returncode == 0
    assert [one for one in lan.routes() if "100.64" in one] == [STANDING]


def test_whoever_keeps_the_fence_sets_it_again(lan: Lan, tmp_path: Path) -> None:
    """As when the network is made anew, with its bridge."""
    with kept(lan.machine, tmp_path, **ASKED):
        until(lambda: STANDING in lan.routes(), "the route is set")
        lan.machine.ip("link", "del", BRIDGE)
        assert not any("100.64" in one for one in lan.routes())
        lan.make_bridge()
        until(lambda: STANDING in lan.routes(), "the route is set again", MENDED_S_MAX)


def test_without_the_routers_network_the_setting_is_named(tmp_path: Path) -> None:
    with host() as machine:
        failed = run_verb(machine, tmp_path, **ASKED)
    assert failed.returncode == 1
    assert f"FENCE_TAILNET_ROUTER={ROUTER}" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_router_that_is_not_trusted_is_refused(tmp_path: Path) -> None:
    """Whoever could be a container would get what this host sends to the tailnet."""
    env = tmp_path / ".env"
    env.write_text(f"CONTAINER_ADDRESSING=network\nFENCE_TAILNET_ROUTER={ROUTER}\n")
    with pytest.raises(SettingsError, match=rf"FENCE_TAILNET_ROUTER={ROUTER} is none of FENCE_TRUSTED"):
        load_settings(ReconcilerSettings, env_file=env)


def test_routes_are_read_as_the_kernel_writes_them() -> None:
    """Source: Linux 6.18, of this very route; proc(5)."""
    head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    default = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    tailnet = "br-x\t00004064\t0407D30A\t0003\t0\t0\t0\t0000C0FF\t0\t0\t0\n"
    narrower = "br-x\t00004064\t0507D30A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    assert router_of(head + default + narrower + tailnet) == IPv4Address(ROUTER)
    assert router_of(head + default + narrower) is None
    assert router_of("") is None
